//! The targets of a bond's ARP check: whether the kernel can ask for them so that they answer.
//!
//! It asks over the route to a target (`bond_arp_send_all`, `bond_ns_send_all` in
//! drivers/net/bonding/bond_main.c): on the link of an interface above the bond, in the VLAN of
//! that interface, and from its address. Without a route it asks untagged, from no address. An
//! answer to that is not to an address of the node, so that `arp_validate` ignores it
//! (`bond_validate_arp`; an advertisement to all nodes counts, `bond_validate_na`).

use std::net::IpAddr;

use super::{
    items::{BondIntent, HostIntent, Native, UplinkIntent},
    problem::Problem,
};
use crate::{bond::ArpValidate, names::Family};

/// Refuses targets that cannot answer. `hosts` are the node's interfaces on the cluster network.
pub fn check(uplink: &UplinkIntent, hosts: &[&HostIntent]) -> Result<(), Problem> {
    targets(&uplink.bond).try_for_each(|(key, target)| {
        let answers = check_target(uplink, hosts, target);
        answers.map_err(|text| Problem::new(format!("uplink.bond.{key}"), text))
    })
}

/// The targets with their keys.
fn targets(bond: &BondIntent) -> impl Iterator<Item = (String, IpAddr)> {
    let arp = bond.arp_targets.iter().flatten().enumerate();
    let arp = arp.map(|(index, target)| (format!("arpTargets[{index}]"), IpAddr::V4(*target)));
    let ns = bond.ns_targets.iter().flatten().enumerate();
    arp.chain(ns.map(|(index, target)| (format!("nsTargets[{index}]"), IpAddr::V6(*target))))
}

fn check_target(
    uplink: &UplinkIntent,
    hosts: &[&HostIntent],
    target: IpAddr,
) -> Result<(), String> {
    let mut own = hosts.iter().flat_map(|host| &host.addresses);
    if own.any(|cidr| cidr.address == target) {
        return Err(format!("{target} is an address of the node itself; name another station"));
    }
    if hosts.iter().any(|host| may_reach(host, target)) {
        return Ok(());
    }
    let which = uplink.bond.arp_validate.unwrap_or(ArpValidate::None);
    let why = if uplink.native == Some(Native(None)) {
        "the kernel asks for it untagged, and native is none"
    } else if which != ArpValidate::None && target.is_ipv4() {
        "arpValidate ignores its answers"
    } else {
        return Ok(());
    };
    Err(format!(
        "no host interface of this cluster network has an address in the subnet of {target}, so \
         {why}; add one in its VLAN"
    ))
}

/// Whether a target is on the link of an interface, or may be: some addresses come from others.
fn may_reach(host: &HostIntent, target: IpAddr) -> bool {
    let is_unknown = match Family::of(target) {
        Family::V4 => host.dhcp.contains(&Family::V4) || host.addresses.is_empty(),
        // Router advertisements, and the link-local address.
        Family::V6 => true,
    };
    let mut on_link = host.routes.iter().filter(|route| route.via.is_none());
    is_unknown
        || host.addresses.iter().any(|cidr| cidr.contains(target))
        || on_link.any(|route| route.to.0.contains(target))
}
