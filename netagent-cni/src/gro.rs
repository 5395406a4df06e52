//! Generic receive offload. A veth supports XDP_REDIRECT while its peer polls, which GRO makes it
//! do (`veth_set_features` in drivers/net/veth.c, since Linux 5.13).

use std::{io, mem, os::fd::AsRawFd as _, os::unix::net::UnixDatagram};

/// `ETHTOOL_SGRO` (include/uapi/linux/ethtool.h)
const SET_GRO: u32 = 0x2c;
/// `SIOCETHTOOL`
const ETHTOOL: libc::Ioctl = 0x8946;

/// `struct ethtool_value`
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Switches GRO on for a device of the calling thread's namespace.
pub fn switch_on(name: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    let mut value = Value { command: SET_GRO, data: 1 };
    // SAFETY: all zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request and the value that it points to live until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), ETHTOOL, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
