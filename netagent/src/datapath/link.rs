//! A pinned BPF link's own account of itself: which device, which program.
//!
//! Read from `/proc/self/fdinfo`, which has the interface index that aya's `LinkInfo` leaves out,
//! and which needs no CAP_SYS_ADMIN.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

/// What a link is attached to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Interface index; 0 once the device is gone.
    pub ifindex: u32,
    /// Id of the program.
    pub program: u32,
}

/// `BPF_OBJ_GET` (include/uapi/linux/bpf.h).
const BPF_OBJ_GET: libc::c_long = 7;

/// The head of `union bpf_attr` that BPF_OBJ_GET reads.
#[repr(C)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Reads a pinned link; `None` if nothing is pinned there.
pub fn read(path: &Path) -> io::Result<Option<LinkState>> {
    let name = CString::new(path.as_os_str().as_encoded_bytes())?;
    let attr = ObjGet { pathname: name.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: the attribute and the path outlive the call, which reads no more than the size given.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw const attr, size_of::<ObjGet>()) };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) };
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: a new descriptor that nobody else has.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    };
    Ok(Some(LinkState { ifindex: field("ifindex:"), program: field("prog_id:") }))
}
