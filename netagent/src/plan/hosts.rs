//! The node's own interfaces: VLANs of the bridge itself, VLAN interfaces, addresses.

use std::collections::BTreeMap;

use netagent_common::vlan::Vid;

use super::{Plan, Unit, View, mtu, takeover};
use crate::{
    change::LinkChange,
    names::IfName,
    state::{Dhcp, Host, Kind, PROTOCOL, Part, Route, UnitId, VlanFlags},
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
        // Otherwise it gets them together with the NIC that has them now.
        if unit.findings.is_empty() && view.carrier_of(name).is_none() {
            accept_ra(view, name, host, &mut unit);
            addresses(view, name, host, &mut unit);
            let moved = takeover::former_interfaces(view, name, host, &mut unit);
            routes(view, name, host, &moved, &mut unit);
        }
        plan.push(unit);
    }
}

/// Adds the VLANs of the bridge itself, which is the node's own port.
fn self_vids(view: &View<'_>, bridge: &IfName, plan: &mut Plan) {
    let on_bridge = view.desired.hosts.values().filter(|host| host.bridge == *bridge);
    let wanted: BTreeMap<Vid, VlanFlags> = on_bridge
        .map(|host| (host.vid, VlanFlags { pvid: !host.tagged, untagged: !host.tagged }))
        .collect();
    let link = view.observed.link(bridge);
    let found = link.map(|link| link.vlans.clone()).unwrap_or_default();
    let mut unit = Unit::new(UnitId::new(Part::OwnVlans, bridge), view.desired.segment_of(bridge));
    for (vid, flags) in wanted.iter().filter(|(vid, flags)| found.get(vid) != Some(flags)) {
        unit.link(view, LinkChange::AddSelfVid(bridge.clone(), *vid, *flags));
    }
    plan.push(unit);
}

/// Removes the VLANs of the bridge itself that no interface needs any more. A bridge that somebody
/// else created may serve interfaces of somebody else.
pub fn former_vids(view: &View<'_>, plan: &mut Plan) {
    for (name, bridge) in &view.desired.bridges {
        let Some(link) = view.observed.link(name).filter(|link| link.is_owned()) else { continue };
        if view.filtering(name, bridge) != Some(true) || view.refuses_bridge(name).is_some() {
            continue;
        }
        let wanted = view.vids_of_hosts(name);
        let mut unit =
            Unit::new(UnitId::new(Part::FormerVlans, name), view.desired.segment_of(name));
        for vid in link.vlans.keys().filter(|vid| !wanted.contains(vid)) {
            unit.link(view, LinkChange::RemoveSelfVid(name.clone(), *vid));
        }
        plan.push(unit);
    }
}

fn vlan_interface(view: &View<'_>, name: &IfName, host: &Host, unit: &mut Unit) {
    let Some(link) = view.observed.link(name) else {
        if let Some(device) = view.observed.of_altname(name) {
            unit.refuse_altname(name, device);
        } else if view.observed.kernel.vlan_devices {
            unit.link(view, LinkChange::AddVlan(name.clone(), host.bridge.clone(), host.vid));
            mtu::of_host(view, name, host, unit);
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
            mtu::of_host(view, name, host, unit);
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

/// The value with which a node accepts router advertisements though it forwards IPv6.
const ALWAYS: u32 = 2;

fn accept_ra(view: &View<'_>, name: &IfName, host: &Host, unit: &mut Unit) {
    let Some(wanted) = host.accept_ra else { return };
    let wanted = if wanted { ALWAYS } else { 0 };
    let found = view.observed.link(name).and_then(|link| link.accept_ra);
    if found != Some(wanted) {
        unit.link(view, LinkChange::SetAcceptRa(name.clone(), wanted));
    }
}

/// Adds the addresses that are missing, and removes those that the agent added for an earlier file.
/// With `keepForeign: false`, those of others as well, unless they expire by themselves. See
/// `leases` for addresses from DHCP.
pub fn addresses(view: &View<'_>, name: &IfName, host: &Host, unit: &mut Unit) {
    let found = view.observed.link(name).map(|link| link.addresses.clone()).unwrap_or_default();
    for address in host.addresses.iter().filter(|address| !found.contains_key(address)) {
        unit.link(view, LinkChange::AddAddress(name.clone(), *address));
    }
    let mut others: Vec<_> =
        found.iter().filter(|(cidr, _)| !host.addresses.contains(cidr)).collect();
    // The first one of a subnet goes last, so that an undo restores it first.
    others.sort_by_key(|(_, address)| !address.secondary);
    for (cidr, address) in others {
        let foreign = host.keep_foreign || address.expires() && cidr.address.is_ipv6();
        // A fixed address of an earlier file stays until there is a lease, perhaps of this address.
        let stays = match host.dhcp.get(&cidr.family()) {
            None => false,
            Some(Dhcp::Unknown) => address.owned || address.expires(),
            Some(Dhcp::Leased(lease)) => address.expires() || lease.address == *cidr,
            Some(Dhcp::Ended { .. }) => address.expires(),
        };
        if stays {
            continue;
        }
        if address.owned || !foreign {
            unit.link(view, LinkChange::RemoveAddress(name.clone(), *cidr));
        }
    }
}

/// Adds the routes that are missing, and removes those that the agent added for an earlier file.
/// Routes of others stay. `moved` are the routes that another link gives to this one.
pub fn routes(view: &View<'_>, name: &IfName, host: &Host, moved: &[&Route], unit: &mut Unit) {
    let found: Vec<&Route> = view.observed.routes_of(name).collect();
    let is = |there: &Route, wanted: &Route| {
        let same_metric = there.metric == wanted.metric;
        there.leads_as(wanted) && (same_metric || !wanted.is_default() || host.metric.is_none())
    };
    for route in &host.routes {
        if !found.iter().chain(moved).any(|there| is(there, route)) {
            unit.link(view, LinkChange::AddRoute(route.clone()));
        }
    }
    for route in found.into_iter().filter(|route| route.protocol == PROTOCOL) {
        if !host.routes.iter().any(|wanted| is(route, wanted)) {
            unit.link(view, LinkChange::RemoveRoute(route.clone()));
        }
    }
}
