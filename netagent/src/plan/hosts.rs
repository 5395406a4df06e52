//! The node's own interfaces: VLANs of the bridge itself, VLAN interfaces, addresses.

use std::collections::BTreeMap;

use netagent_common::vlan::Vid;

use super::{Plan, Unit, View};
use crate::{
    change::LinkChange,
    names::IfName,
    state::{Host, Kind, Link, Part, UnitId, VlanFlags},
};

pub fn plan(view: &View<'_>, plan: &mut Plan) {
    for (name, bridge) in &view.desired.bridges {
        if view.filtering(name, bridge) == Some(true) && view.refuses_bridge(name).is_none() {
            self_vids(view, name, plan);
        }
    }
    for (name, host) in &view.desired.hosts {
        let mut unit =
            Unit::new(UnitId::new(Part::Host, name), view.desired.segment_of(&host.bridge));
        match view.refuses_bridge(&host.bridge) {
            Some(reason) => unit.refuse(format!("{name}: {reason}"), ""),
            None if host.tagged => vlan_interface(view, name, host, &mut unit),
            None => {}
        }
        if unit.findings.is_empty() {
            addresses(view, name, host, &mut unit);
        }
        plan.push(unit);
    }
}

/// Sets the VLANs of the bridge itself, which is the node's own port.
fn self_vids(view: &View<'_>, bridge: &IfName, plan: &mut Plan) {
    let on_bridge = view.desired.hosts.values().filter(|host| host.bridge == *bridge);
    let wanted: BTreeMap<Vid, VlanFlags> = on_bridge
        .map(|host| (host.vid, VlanFlags { pvid: !host.tagged, untagged: !host.tagged }))
        .collect();
    let link = view.observed.link(bridge);
    let found = link.map(|link| link.vlans.clone()).unwrap_or_default();
    let mut unit = Unit::new(UnitId::new(Part::OwnVlans, bridge), view.desired.segment_of(bridge));
    for vid in found.keys().filter(|vid| !wanted.contains_key(vid)) {
        // A bridge that somebody else created may serve interfaces of somebody else.
        if link.is_some_and(Link::is_owned) {
            unit.link(view, LinkChange::RemoveSelfVid(bridge.clone(), *vid));
        }
    }
    for (vid, flags) in wanted.iter().filter(|(vid, flags)| found.get(vid) != Some(flags)) {
        unit.link(view, LinkChange::AddSelfVid(bridge.clone(), *vid, *flags));
    }
    plan.push(unit);
}

fn vlan_interface(view: &View<'_>, name: &IfName, host: &Host, unit: &mut Unit) {
    let Some(link) = view.observed.link(name) else {
        if view.observed.kernel.vlan_devices {
            unit.link(view, LinkChange::AddVlan(name.clone(), host.bridge.clone(), host.vid));
        } else {
            unit.refuse(
                format!("{name}: this kernel has no VLAN interfaces (CONFIG_VLAN_8021Q)"),
                "load the module, or use an untagged host",
            );
        }
        return;
    };
    match &link.kind {
        Kind::Vlan { parent: Some(parent), vid } if *parent == host.bridge && *vid == host.vid => {
            if !link.up {
                unit.link(view, LinkChange::SetUp(name.clone()));
            }
        }
        _ => unit.refuse(
            format!("{name} exists and is not VLAN {} on {}", host.vid, host.bridge),
            format!("rename it, or ip link delete {name}"),
        ),
    }
}

fn addresses(view: &View<'_>, name: &IfName, host: &Host, unit: &mut Unit) {
    let link = view.observed.link(name);
    let found = link.map(|link| link.addresses.clone()).unwrap_or_default();
    for address in host.addresses.difference(&found) {
        unit.link(view, LinkChange::AddAddress(name.clone(), *address));
    }
    if link.is_some_and(Link::is_owned) {
        for address in found.difference(&host.addresses) {
            unit.link(view, LinkChange::RemoveAddress(name.clone(), *address));
        }
    }
}
