//! Pinned BPF links: their device and program, and how they are detached.
//!
//! The former is read from `/proc/self/fdinfo`, which has the interface index that aya's `LinkInfo`
//! leaves out, and which needs no CAP_SYS_ADMIN.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

/// The device and the program of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkState {
    /// Interface index; 0 once the device is gone.
    pub ifindex: u32,
    /// Id of the program.
    pub program: u32,
}

/// `BPF_OBJ_GET` (include/uapi/linux/bpf.h).
const BPF_OBJ_GET: libc::c_long = 7;

/// The part of `union bpf_attr` for BPF_OBJ_GET.
#[repr(C)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `BPF_LINK_DETACH`, since 5.8.
const BPF_LINK_DETACH: libc::c_long = 34;

/// The part of `union bpf_attr` for BPF_LINK_DETACH.
#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

/// `BPF_LINK_GET_FD_BY_ID`, since 5.8. Needs CAP_SYS_ADMIN.
const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;

/// The part of `union bpf_attr` for BPF_LINK_GET_FD_BY_ID.
#[repr(C)]
struct GetById {
    link_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Detaches the program of a link that no pin leads to.
pub fn detach_by_id(id: u32) -> io::Result<()> {
    let attr = GetById { link_id: id, next_id: 0, open_flags: 0 };
    // SAFETY: the attribute outlives the call, which reads the given size.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_GET_FD_BY_ID, &raw const attr, size_of::<GetById>())
    };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) };
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: a new descriptor.
    detach_link(&unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Detaches the program of a pinned link, and returns when it does not run any more. Removing the
/// pin alone detaches it some milliseconds later, and meanwhile it may find no policy. Nothing to
/// do if the pin or the device does not exist.
pub fn detach(path: &Path) -> io::Result<()> {
    open(path)?.map_or(Ok(()), |fd| detach_link(&fd))
}

fn detach_link(fd: &OwnedFd) -> io::Result<()> {
    let attr = LinkDetach { link_fd: fd.as_raw_fd().cast_unsigned() };
    // SAFETY: the attribute outlives the call, which reads the given size.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_DETACH, &raw const attr, size_of::<LinkDetach>())
    };
    let error = io::Error::last_os_error();
    if result < 0 && error.raw_os_error() != Some(libc::ENOLINK) { Err(error) } else { Ok(()) }
}

/// Reads a pinned link; `None` if the pin does not exist.
pub fn read(path: &Path) -> io::Result<Option<LinkState>> {
    let Some(fd) = open(path)? else { return Ok(None) };
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    };
    Ok(Some(LinkState { ifindex: field("ifindex:"), program: field("prog_id:") }))
}

/// Opens a pinned link; `None` if the pin does not exist.
fn open(path: &Path) -> io::Result<Option<OwnedFd>> {
    let name = CString::new(path.as_os_str().as_encoded_bytes())?;
    let attr = ObjGet { pathname: name.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: the attribute and the path outlive the call, which reads the given size.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw const attr, size_of::<ObjGet>()) };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) };
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: a new descriptor.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}
