//! The programs on one side of a device, in the order in which they run (TCX, since 6.6).

use std::io;

use crate::state::ClsactSide;

/// `BPF_PROG_QUERY` (include/uapi/linux/bpf.h).
const BPF_PROG_QUERY: libc::c_long = 16;
/// `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS`
const fn attach_type(side: ClsactSide) -> u32 {
    match side {
        ClsactSide::Ingress => 46,
        ClsactSide::Egress => 47,
    }
}
/// `BPF_MPROG_MAX`
const MOST: usize = 64;

/// The part of `union bpf_attr` for BPF_PROG_QUERY.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    _padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// The IDs of the programs; none if the device does not exist.
pub fn programs(ifindex: u32, side: ClsactSide) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MOST];
    let mut query = Query {
        target_ifindex: ifindex,
        attach_type: attach_type(side),
        prog_ids: ids.as_mut_ptr() as u64,
        count: 64,
        ..Query::default()
    };
    // SAFETY: the attribute and the IDs outlive the call, which reads and writes the given sizes.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Query>()) };
    if result < 0 {
        let error = io::Error::last_os_error();
        let is_gone = error.raw_os_error() == Some(libc::ENODEV);
        return if is_gone { Ok(Vec::new()) } else { Err(error) };
    }
    let count = usize::try_from(query.count).unwrap_or_default();
    Ok(ids.into_iter().take(count).collect())
}
