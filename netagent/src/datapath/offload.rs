//! VLAN receive offload of a NIC: `ethtool -k DEV`, rx-vlan-offload.

use std::{
    io,
    os::{fd::AsRawFd as _, unix::net::UnixDatagram},
};

use anyhow::{Context as _, Result, bail};

use crate::names::IfName;

/// From include/uapi/linux/ethtool.h.
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// Whether the NIC moves the tag of a received frame into the metadata.
pub fn rx_vlan(device: &IfName) -> Result<bool> {
    let flags = ethtool(device, ETHTOOL_GFLAGS, 0)
        .with_context(|| format!("{device}: read the offload flags"))?;
    Ok(flags & ETH_FLAG_RXVLAN != 0)
}

/// `ethtool -K DEV rxvlan off`, and verifies it.
pub fn rx_vlan_off(device: &IfName) -> Result<()> {
    let flags = ethtool(device, ETHTOOL_GFLAGS, 0)
        .with_context(|| format!("{device}: read the offload flags"))?;
    ethtool(device, ETHTOOL_SFLAGS, flags & !ETH_FLAG_RXVLAN)
        .with_context(|| format!("{device}: switch rx-vlan-offload off"))?;
    if rx_vlan(device)? {
        bail!("{device}: rx-vlan-offload stays on: set `xdp: off` on this uplink");
    }
    Ok(())
}

fn ethtool(device: &IfName, cmd: u32, data: u32) -> io::Result<u32> {
    let mut value = EthtoolValue { cmd, data };
    // SAFETY: all zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.as_str().bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    let socket = UnixDatagram::unbound()?;
    // SAFETY: the request names a device and points to a value that outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data) }
}
