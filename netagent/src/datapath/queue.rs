//! The programs on one side of a device, in the order in which they run (TCX, since 6.6).

use std::{ffi::CStr, io};

use crate::{names::IfName, state::ClsactSide};

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
struct Request {
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

/// The names and interface indexes of all devices of this network namespace.
pub fn devices() -> io::Result<Vec<(u32, IfName)>> {
    let mut devices = Vec::new();
    // SAFETY: the kernel's list ends with an index of 0; it is freed once, after its last use.
    unsafe {
        let list = libc::if_nameindex();
        if list.is_null() {
            return Err(io::Error::last_os_error());
        }
        let mut entry = list;
        while (*entry).if_index != 0 {
            let name = CStr::from_ptr((*entry).if_name).to_str();
            let name = name.ok().and_then(|name| name.parse().ok());
            devices.extend(name.map(|name| ((*entry).if_index, name)));
            entry = entry.add(1);
        }
        libc::if_freenameindex(list);
    }
    Ok(devices)
}

/// The IDs of the programs; none if the device does not exist.
pub fn programs(ifindex: u32, side: ClsactSide) -> io::Result<Vec<u32>> {
    Ok(links(ifindex, side)?.into_iter().map(|(program, _)| program).collect())
}

/// The IDs of the programs and of their links; 0 for a program without a link.
pub fn links(ifindex: u32, side: ClsactSide) -> io::Result<Vec<(u32, u32)>> {
    let (mut ids, mut links) = ([0_u32; MOST], [0_u32; MOST]);
    let mut query = Request {
        target_ifindex: ifindex,
        attach_type: attach_type(side),
        prog_ids: ids.as_mut_ptr() as u64,
        count: 64,
        link_ids: links.as_mut_ptr() as u64,
        ..Request::default()
    };
    // SAFETY: the attribute and the IDs outlive the call, which reads and writes the given sizes.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Request>())
    };
    if result < 0 {
        let error = io::Error::last_os_error();
        let is_gone = error.raw_os_error() == Some(libc::ENODEV);
        return if is_gone { Ok(Vec::new()) } else { Err(error) };
    }
    let count = usize::try_from(query.count).unwrap_or_default();
    Ok(ids.into_iter().zip(links).take(count).collect())
}
