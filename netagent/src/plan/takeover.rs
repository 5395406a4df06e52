//! Takes over links that the node lives on. When a NIC with addresses or routes joins a segment,
//! or when the node's interface changes its VLAN, the addresses and routes move to the interface of
//! the segment, in an order that keeps the node reachable:
//!
//! 1. The bond, the bridge, its port and the new interface exist; the bond's other NICs carry it.
//! 2. The new interface gets the addresses, and the routes behind those of the NIC.
//! 3. The NIC joins. A bond needs it down, so the kernel removes its routes: the new ones are used.
//! 4. The NIC loses its addresses. Otherwise its connected routes would come first again.

use std::collections::BTreeSet;

use netagent_common::vlan::Vid;

use super::{Unit, View};
use crate::{
    bond::BondOption,
    change::LinkChange,
    names::{Cidr, IfName},
    state::{Host, Kind, Link, Part, Port, Role, Route, UnitId},
};

/// What one link gives to an interface of the node.
struct Move<'a> {
    from: &'a IfName,
    to: &'a IfName,
    addresses: Vec<Cidr>,
    routes: Vec<&'a Route>,
    /// Whether the link goes: a VLAN interface on a NIC takes the frames of its VLAN before the
    /// bridge can (`vlan_do_receive` in net/8021q/vlan_core.c).
    delete: bool,
}

/// Plans the NICs that the node lives on and that join a bond: after everything else of their
/// segment exists.
pub fn plan(view: &View<'_>, plan: &mut super::Plan) {
    for (name, bond) in &view.desired.bonds {
        let Some(port) = view.desired.ports.get(name) else { continue };
        for nic in &bond.members {
            let mut unit = Unit::new(UnitId::new(Part::Takeover, nic), view.segment_of_bond(name));
            if view.is_taken_over(nic, name) {
                unit.needs.insert(UnitId::new(Part::Bond, name));
                unit.needs.insert(UnitId::new(Part::Port, name));
                if bond.members.len() > 1 {
                    unit.link(view, LinkChange::AwaitCarrier(name.clone()));
                }
                inherit_mac(view, nic, name, &port.bridge, &mut unit);
                before(view, nic, &port.bridge, &mut unit);
                unit.link(view, LinkChange::AddMember(nic.clone(), name.clone()));
                after(view, nic, &port.bridge, &mut unit);
                for option in &bond.options {
                    if matches!(option, BondOption::Primary(Some(primary)) if primary == nic) {
                        let option = LinkChange::SetBondOption(name.clone(), option.clone());
                        unit.link(view, option);
                    }
                }
            } else if view.is_in(nic, name) {
                leftovers(view, nic, &port.bridge, &mut unit);
            }
            plan.push(unit);
        }
    }
}

/// Gives the MAC address of the first NIC that the node lives on to the bond and its bridge, so that
/// the node keeps its address. Not earlier: until the NIC joins, frames with its address from the
/// bond's other NICs would tell the switch that the node is there.
fn inherit_mac(view: &View<'_>, nic: &IfName, bond: &IfName, bridge: &IfName, unit: &mut Unit) {
    let desired = &view.desired.bonds[bond];
    let mut hosts = view.hosts_on(bridge);
    let first = desired.members.iter().find(|nic| view.is_taken_over(nic, bond));
    let in_use = hosts.any(|(to, _)| view.is_lived_on(to)) || view.is_lived_on(bridge);
    let Some(link) = view.observed.link(nic) else { return };
    if desired.mac.is_none() && first == Some(nic) && !in_use && desired.members.len() > 1 {
        unit.link(view, LinkChange::SetMac(bond.clone(), link.mac));
        unit.link(view, LinkChange::CopyMac(bridge.clone(), bond.clone()));
    }
}

/// What must be there before a NIC joins: the addresses and routes on the new interfaces.
pub fn before(view: &View<'_>, nic: &IfName, bridge: &IfName, unit: &mut Unit) {
    unit.is_whole = true;
    for Move { from, to, addresses, routes, .. } in moves(view, nic, bridge) {
        let routes = routes.iter().map(|route| format!("route {}", route.over(to)));
        let things = addresses.iter().map(ToString::to_string).chain(routes);
        let moved = things.map(|thing| format!("{from} → {to}: {thing} moves"));
        unit.impact.extend(moved);
    }
    let lost = view.lost_with(nic).into_iter().map(|address| format!("{address} stops to work"));
    unit.impact.extend(lost);
    for (to, host) in view.hosts_on(bridge).filter(|(to, _)| view.carrier_of(to) == Some(nic)) {
        super::hosts::addresses(view, to, host, unit);
    }
    for Move { from, to, addresses, routes, .. } in moves(view, nic, bridge) {
        let (there, host) = (view.observed.link(to), &view.desired.hosts[to]);
        for address in addresses {
            let is_there = there.is_some_and(|link| link.addresses.contains_key(&address));
            if !is_there && !host.addresses.contains(&address) {
                unit.link(view, LinkChange::CopyAddress(from.clone(), to.clone(), address));
            }
        }
        for route in routes.into_iter().filter(|route| !view.has_route(to, route)) {
            unit.link(view, LinkChange::AddRoute(behind(&route.over(to))));
        }
    }
}

/// What goes when a NIC has joined, and routes that could not be there before.
pub fn after(view: &View<'_>, nic: &IfName, bridge: &IfName, unit: &mut Unit) {
    let moves = moves(view, nic, bridge);
    for Move { from, to, addresses, routes, delete } in &moves {
        give_up(view, from, to, routes, unit);
        if *delete {
            unit.link(view, LinkChange::Delete((*from).clone()));
            continue;
        }
        for address in addresses {
            unit.link(view, LinkChange::RemoveAddress((*from).clone(), *address));
        }
    }
    for (to, host) in view.hosts_on(bridge).filter(|(to, _)| view.carrier_of(to) == Some(nic)) {
        let here = moves.iter().filter(|it| it.to == to).flat_map(|it| it.routes.iter().copied());
        super::hosts::routes(view, to, host, &here.collect::<Vec<_>>(), unit);
        announce(view, to, host, unit);
    }
}

/// Removes routes that another link has taken, and gives the new ones their metric.
fn give_up(view: &View<'_>, from: &IfName, to: &IfName, routes: &[&Route], unit: &mut Unit) {
    for route in routes {
        unit.link(view, LinkChange::RemoveRoute(route.over(from)));
        let moved = route.over(to);
        if behind(&moved) != moved && !view.has_route(to, route) {
            unit.link(view, LinkChange::AddRoute(moved.clone()));
            unit.link(view, LinkChange::RemoveRoute(behind(&moved)));
        }
    }
}

/// Lets the switch and the gateway learn where the node is now: a frame for the gateway needs its
/// address, which a broadcast asks for.
fn announce(view: &View<'_>, to: &IfName, host: &Host, unit: &mut Unit) {
    let desired = host.routes.iter().filter_map(|route| route.via);
    let devices: BTreeSet<&IfName> = view.desired.hosts.keys().collect();
    let moved = view.observed.routes.iter().filter(|route| {
        route.is_default() && !devices.contains(&route.device) && reaches(&host.addresses, route)
    });
    let gateways: BTreeSet<_> = desired.chain(moved.filter_map(|route| route.via)).collect();
    for gateway in gateways {
        unit.link(view, LinkChange::Resolve(to.clone(), gateway));
    }
}

/// What an interrupted takeover has left on a NIC that has joined: what is on the new interface as
/// well. Anything else on it is not ours.
pub fn leftovers(view: &View<'_>, nic: &IfName, bridge: &IfName, unit: &mut Unit) {
    for Move { from, to, addresses, routes, .. } in moves(view, nic, bridge) {
        let there = view.observed.link(to);
        let is_there = |route: &&Route| {
            view.has_route(to, route) || view.has_route(to, &behind(&route.over(to)))
        };
        let routes: Vec<_> = routes.into_iter().filter(is_there).collect();
        give_up(view, from, to, &routes, unit);
        for address in addresses {
            if there.is_some_and(|link| link.addresses.contains_key(&address)) {
                unit.link(view, LinkChange::RemoveAddress(from.clone(), address));
            }
        }
    }
}

/// The interfaces of the node that a host interface of the same bridge replaces: the bridge itself,
/// or the interface of another VLAN. Returns the routes that move.
pub fn former_interfaces<'a>(
    view: &View<'a>,
    to: &IfName,
    host: &Host,
    unit: &mut Unit,
) -> Vec<&'a Route> {
    let mut moved = Vec::new();
    for from in view.replaced_by(to, host) {
        unit.is_whole = true;
        let link = &view.observed.links[from];
        let addresses: BTreeSet<Cidr> =
            link.addresses.keys().filter(|it| host.addresses.contains(it)).copied().collect();
        let routes: Vec<&Route> =
            view.observed.routes_of(from).filter(|route| reaches(&addresses, route)).collect();
        for route in &routes {
            if !view.has_route(to, route) {
                unit.link(view, LinkChange::AddRoute(behind(&route.over(to))));
            }
        }
        give_up(view, from, to, &routes, unit);
        moved.extend(routes);
        if view.is_former(from) {
            unit.link(view, LinkChange::Delete(from.clone()));
            continue;
        }
        for address in addresses {
            unit.link(view, LinkChange::RemoveAddress(from.clone(), address));
        }
    }
    moved
}

/// A route that is not used while the old one is there. An IPv4 route is appended behind it. Of
/// IPv6 routes with one destination and metric, the kernel makes a multipath route
/// (`fib6_add_rt2node` in net/ipv6/ip6_fib.c), so it gets the next metric meanwhile.
fn behind(route: &Route) -> Route {
    let metric = if route.to.address.is_ipv6() { route.metric + 1 } else { route.metric };
    Route { metric, ..route.clone() }
}

/// Whether the gateway of a route is a neighbour of an address.
fn reaches(addresses: &BTreeSet<Cidr>, route: &Route) -> bool {
    route.via.is_some_and(|via| addresses.iter().any(|address| address.contains(via)))
}

/// What a NIC, and the VLAN interfaces on it, give to the interfaces of the node on a bridge. All
/// of it where the VLAN stays; otherwise only the addresses that the file has.
fn moves<'a>(view: &View<'a>, nic: &'a IfName, bridge: &IfName) -> Vec<Move<'a>> {
    let native = view.uplink_of(bridge).and_then(|(_, port)| port.pvid);
    let tagged = view.observed.links.iter().filter_map(|(name, link)| match &link.kind {
        Kind::Vlan { parent: Some(parent), vid } if parent == nic => Some((name, Some(*vid))),
        _ => None,
    });
    let mut moves = Vec::new();
    for (from, vid) in [(nic, native)].into_iter().chain(tagged) {
        let Some(link) = view.observed.link(from) else { continue };
        for (to, host) in view.hosts_on(bridge) {
            let same_vlan = vid == Some(host.vid);
            let addresses: BTreeSet<Cidr> = link
                .addresses
                .keys()
                .filter(|address| same_vlan || host.addresses.contains(address))
                .copied()
                .collect();
            let moves_along = |route: &&Route| {
                let on_link = route.via.is_none_or(
                    |via| matches!(via, std::net::IpAddr::V6(via) if via.is_unicast_link_local()),
                );
                reaches(&addresses, route) || same_vlan && on_link
            };
            let routes: Vec<_> = view.observed.routes_of(from).filter(moves_along).collect();
            let delete = from != nic && same_vlan;
            if !addresses.is_empty() || !routes.is_empty() || delete {
                let addresses = addresses.into_iter().collect();
                moves.push(Move { from, to, addresses, routes, delete });
            }
        }
    }
    moves
}

impl<'a> View<'a> {
    /// The uplink of a bridge.
    fn uplink_of(&self, bridge: &IfName) -> Option<(&'a IfName, &'a Port)> {
        let mut uplinks = self.desired.ports.iter().filter(|(_, port)| port.bridge == *bridge);
        uplinks.find(|(_, port)| matches!(port.role, Role::Uplink { .. }))
    }

    /// The node's own interfaces on a bridge.
    fn hosts_on(&self, bridge: &IfName) -> impl Iterator<Item = (&'a IfName, &'a Host)> {
        let bridge = bridge.clone();
        self.desired.hosts.iter().filter(move |(_, host)| host.bridge == bridge)
    }

    /// Whether a NIC that is to join a bond or bridge has addresses or routes, itself or on links
    /// above it, and an interface of the node on the bridge takes its place.
    pub fn is_taken_over(&self, nic: &IfName, controller: &IfName) -> bool {
        let Some((nic, _)) = self.observed.links.get_key_value(nic) else { return false };
        let bridge = match self.desired.ports.get(controller) {
            Some(port) => &port.bridge,
            None => controller,
        };
        !self.is_in(nic, controller)
            && self.in_use(nic, controller).is_none()
            && self.hosts_on(bridge).next().is_some()
            && self.is_lived_on(nic)
    }

    /// Whether a link, or a link above it, has an address or a route.
    pub fn is_lived_on(&self, name: &IfName) -> bool {
        let mut links = self.observed.above(name);
        links.extend(self.observed.links.get_key_value(name).map(|(name, _)| name));
        links.into_iter().any(|name| {
            !self.observed.links[name].addresses.is_empty()
                || self.observed.routes_of(name).next().is_some()
                || self.observed.multipath.contains(name)
        })
    }

    /// The addresses on a NIC, or on a VLAN interface on it, that an interface of its segment takes.
    pub fn taken_from(&self, nic: &IfName) -> BTreeSet<(IfName, Cidr)> {
        let Some((nic, _)) = self.observed.links.get_key_value(nic) else { return BTreeSet::new() };
        let mut uplinks = self.desired.ports.values();
        let port = uplinks.find(|port| match &port.role {
            Role::Uplink { nics, .. } => nics.contains(nic),
            Role::Access | Role::Trunk | Role::Tunnel => false,
        });
        let moves = port.map(|port| moves(self, nic, &port.bridge)).unwrap_or_default();
        let taken =
            moves.iter().flat_map(|it| it.addresses.iter().map(|at| (it.from.clone(), *at)));
        taken.collect()
    }

    fn is_in(&self, name: &IfName, controller: &IfName) -> bool {
        let link = self.observed.link(name);
        link.is_some_and(|link| link.controller.as_ref() == Some(controller))
    }

    /// The NIC with whose takeover an interface of the node gets its addresses: the one that has
    /// most of them.
    pub fn carrier_of(&self, to: &IfName) -> Option<&'a IfName> {
        let host = self.desired.hosts.get(to)?;
        let (uplink, port) = self.uplink_of(&host.bridge)?;
        let Role::Uplink { nics, .. } = &port.role else { return None };
        let controller =
            if self.desired.bonds.contains_key(uplink) { uplink } else { &port.bridge };
        let taken = nics.iter().filter(|nic| self.is_taken_over(nic, controller));
        let given = |nic: &&IfName| {
            let moves = moves(self, nic, &host.bridge);
            let to_this = moves.iter().filter(|it| it.to == to);
            to_this.map(|it| it.addresses.len() + it.routes.len()).sum::<usize>()
        };
        taken.rev().max_by_key(given)
    }

    /// Whether an interface of the node has a route that leads as another one does.
    fn has_route(&self, to: &IfName, route: &Route) -> bool {
        self.observed
            .routes_of(to)
            .any(|there| there.leads_as(route) && there.metric == route.metric)
    }

    /// The interfaces on the same bridge that have addresses of this one, and that no source wants.
    fn replaced_by(&self, to: &IfName, host: &Host) -> Vec<&'a IfName> {
        let is_on_bridge = |name: &IfName, link: &Link| match &link.kind {
            Kind::Vlan { parent: Some(parent), .. } => *parent == host.bridge,
            _ => *name == host.bridge,
        };
        let links = self.observed.links.iter().filter(|(name, link)| {
            *name != to
                && !self.desired.hosts.contains_key(*name)
                && is_on_bridge(name, link)
                && host.addresses.iter().any(|address| link.addresses.contains_key(address))
        });
        links.map(|(name, _)| name).collect()
    }

    /// Whether a link is a VLAN interface of the agent that is not desired any more.
    fn is_former(&self, name: &IfName) -> bool {
        let link = self.observed.link(name);
        link.is_some_and(|link| link.is_owned() && matches!(link.kind, Kind::Vlan { .. }))
            && !self.desired.hosts.contains_key(name)
    }

    /// Whether an interface of the node is deleted by the unit of the interface that replaces it.
    pub fn is_replaced(&self, name: &IfName) -> bool {
        let mut hosts = self.desired.hosts.iter();
        self.is_former(name) && hosts.any(|(to, host)| self.replaced_by(to, host).contains(&name))
    }

    /// The VIDs that the interfaces of the node on a bridge have.
    pub fn vids_of_hosts(&self, bridge: &IfName) -> BTreeSet<Vid> {
        self.hosts_on(bridge).map(|(_, host)| host.vid).collect()
    }
}
