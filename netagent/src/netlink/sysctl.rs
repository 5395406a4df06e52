//! Settings of links that netlink shows and does not change.

use std::{fs, io};

use super::Failure;
use crate::names::IfName;

/// Whether rules of iptables and nftables see the frames of bridges in this thread's network
/// namespace (`net.bridge.bridge-nf-call-iptables` and others).
pub(super) fn bridge_netfilter() -> bool {
    let is_on = |table: &str| {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{table}");
        fs::read_to_string(path).is_ok_and(|value| value.trim() != "0")
    };
    ["iptables", "ip6tables", "arptables"].into_iter().any(is_on)
}

/// `sysctl -w net/ipv6/conf/NAME/accept_ra=VALUE`. The file is that of this thread's network
/// namespace.
pub(super) fn set_accept_ra(name: &IfName, value: u32) -> Result<(), Failure> {
    let path = format!("/proc/sys/net/ipv6/conf/{name}/accept_ra");
    fs::write(&path, value.to_string()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::NoIpv6(name.clone()),
        _ => Failure::Sysctl(path, error),
    })
}
