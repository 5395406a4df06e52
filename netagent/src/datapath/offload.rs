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

/// Whether the NIC strips the VLAN tag of received frames.
pub fn rx_vlan(device: &IfName) -> Result<bool> {
    let flags = ethtool(device, ETHTOOL_GFLAGS, 0)
        .with_context(|| format!("{device}: read the offload flags"))?;
    Ok(flags & ETH_FLAG_RXVLAN != 0)
}

/// `ethtool -K DEV rxvlan on` or `off`, and verifies it.
pub fn set_rx_vlan(device: &IfName, on: bool) -> Result<()> {
    let flags = ethtool(device, ETHTOOL_GFLAGS, 0)
        .with_context(|| format!("{device}: read the offload flags"))?;
    let flags = if on { flags | ETH_FLAG_RXVLAN } else { flags & !ETH_FLAG_RXVLAN };
    ethtool(device, ETHTOOL_SFLAGS, flags)
        .with_context(|| format!("{device}: switch rx-vlan-offload"))?;
    match (rx_vlan(device)?, on) {
        (true, false) => {
            bail!("{device}: rx-vlan-offload stays on: set `xdp: off` on this uplink")
        }
        (false, true) => {
            bail!("{device}: rx-vlan-offload stays off: ethtool -K {device} rxvlan on")
        }
        (true, true) | (false, false) => Ok(()),
    }
}

fn ethtool(device: &IfName, cmd: u32, data: u32) -> io::Result<u32> {
    let mut value = EthtoolValue { cmd, data };
    let mut name = [0; libc::IF_NAMESIZE];
    for (to, from) in name.iter_mut().zip(device.as_str().bytes()) {
        *to = from.cast_signed();
    }
    let data = libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() };
    let mut request = libc::ifreq { ifr_name: name, ifr_ifru: data };
    let socket = UnixDatagram::unbound()?;
    // SAFETY: the request names a device and points to a value that outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data) }
}
