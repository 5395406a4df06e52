//! What an operator should know about a bond's options: those that harm VMs, and targets of the ARP
//! check that may not answer.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Unit, View};
use crate::{
    bond::{BondOption, REWRITING_MODES},
    names::IfName,
    state::{Bond, Code},
};

/// Adds the warnings to the bond's unit.
pub fn add(view: &View<'_>, name: &IfName, bond: &Bond, unit: &mut Unit) {
    let Some(port) = view.desired.ports.get(name) else { return };
    rewritten_macs(view, name, bond, &port.bridge, unit);
    let interfaces = view.above_bridge(&port.bridge);
    for target in bond.options.iter().flat_map(targets) {
        if view.is_near(target, &port.bridge, &interfaces) {
            continue;
        }
        let text = match view.elsewhere(target, &interfaces) {
            Some(other) => format!(
                "{name}: the route to {target} is over {other}: the kernel does not ask for it"
            ),
            None => format!(
                "{name}: no interface of the node on {} has an address in the subnet of {target}: \
                 the kernel asks for it untagged",
                port.bridge
            ),
        };
        unit.finding(Code::ArpTarget, text, "give the node an address in its VLAN".to_owned());
    }
}

/// Warns where ports of VMs are behind a bond that replaces the source MAC address of their frames.
fn rewritten_macs(view: &View<'_>, name: &IfName, bond: &Bond, bridge: &IfName, unit: &mut Unit) {
    let rewriting = bond.options.iter().find_map(|option| match option {
        BondOption::Mode(mode) => Some(*mode).filter(|mode| REWRITING_MODES.contains(mode)),
        _ => None,
    });
    let Some(mode) = rewriting else { return };
    let wanted = view.desired.ports.iter().filter(|(_, port)| port.bridge == *bridge);
    let present = view.observed.ports_of(bridge);
    let mut ports = wanted.map(|(device, _)| device).chain(present.map(|(device, _)| device));
    if ports.any(|device| device != name) {
        unit.finding(
            Code::MacRewrite,
            format!("{name}: mode {mode} replaces the source MAC address of VMs' frames"),
            "use active-backup, or 802.3ad with a switch that has LACP".to_owned(),
        );
    }
}

fn targets(option: &BondOption) -> Vec<IpAddr> {
    match option {
        BondOption::ArpTargets(targets) => targets.iter().copied().map(IpAddr::V4).collect(),
        BondOption::NsTargets(targets) => targets.iter().copied().map(IpAddr::V6).collect(),
        _ => vec![],
    }
}

impl View<'_> {
    /// The bridge and the interfaces above it.
    fn above_bridge<'b>(&'b self, bridge: &'b IfName) -> BTreeSet<&'b IfName> {
        let mut interfaces = self.observed.above(bridge);
        interfaces.insert(bridge);
        interfaces
    }

    /// Whether a target is on the link of one of these interfaces, now or as desired.
    fn is_near(&self, target: IpAddr, bridge: &IfName, interfaces: &BTreeSet<&IfName>) -> bool {
        // A link-local address is on every link.
        let is_local = matches!(target, IpAddr::V6(target) if target.is_unicast_link_local());
        let mut desired = self.hosts_on(bridge).flat_map(|(_, host)| &host.addresses);
        is_local
            || desired.any(|cidr| cidr.contains(target))
            || interfaces.iter().any(|name| self.is_on_link(target, name))
    }

    /// An interface that is none of these, and on whose link a target is.
    fn elsewhere(&self, target: IpAddr, interfaces: &BTreeSet<&IfName>) -> Option<&IfName> {
        let mut others = self.observed.links.keys().filter(|name| !interfaces.contains(name));
        others.find(|name| self.is_on_link(target, name))
    }

    fn is_on_link(&self, target: IpAddr, name: &IfName) -> bool {
        let link = self.observed.link(name);
        let mut routes = self.observed.routes_of(name).filter(|route| route.via.is_none());
        link.is_some_and(|link| link.addresses.keys().any(|cidr| cidr.contains(target)))
            || routes.any(|route| route.to.contains(target))
    }
}
