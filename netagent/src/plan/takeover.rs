//! Takes over links that the node lives on. When a NIC with addresses or routes joins a segment,
//! or when the node's interface changes its VLAN, the addresses and routes move to the interface of
//! the segment, in an order that keeps the node reachable:
//!
//! 1. The bond, the bridge, its port and the new interface exist; the bond's other NICs carry it.
//! 2. The new interface gets the addresses, and the routes behind those of the NIC.
//! 3. The NIC joins. A bond needs it down, so the kernel removes its routes: the new ones are used.
//! 4. The NIC loses its addresses. Otherwise its connected routes would come first again.

use std::collections::BTreeSet;

use super::{
    Plan, Unit, View, hosts,
    lived_on::{Move, moves, reaches},
};
use crate::{
    bond::BondOption,
    change::LinkChange,
    names::{Cidr, IfName},
    state::{Host, Neighbour, Part, Route, UnitId},
};

/// Plans the NICs that the node lives on and that join a bond: after everything else of their
/// segment exists.
pub fn plan(view: &View<'_>, plan: &mut Plan) {
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

/// Gives the MAC address of the first NIC that the node lives on to the bond and its bridge, so
/// that the node keeps its address. Not earlier: until the NIC joins, frames with its address from
/// the bond's other NICs would tell the switch that the node is there.
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
    unit.needs.extend([Part::Bridge, Part::OwnVlans].map(|part| UnitId::new(part, bridge)));
    unit.needs.extend(view.hosts_on(bridge).map(|(to, _)| UnitId::new(Part::Host, to)));
    let moves = moves(view, nic, bridge);
    for Move { from, to, addresses, routes, .. } in &moves {
        let routes = routes.iter().map(|route| format!("route {}", route.over(to)));
        let things = addresses.iter().map(ToString::to_string).chain(routes);
        unit.impact.extend(things.map(|thing| format!("{from} → {to}: {thing} moves")));
    }
    let lost = view.lost_with(nic).into_iter().map(|address| format!("{address} stops working"));
    unit.impact.extend(lost);
    unit.impact.extend(left_behind(view, nic));
    for (to, host) in view.hosts_on(bridge).filter(|(to, _)| view.carrier_of(to) == Some(nic)) {
        hosts::addresses(view, to, host, unit);
    }
    for Move { from, to, addresses, routes, neighbours, .. } in moves {
        let (there, host) = (view.observed.link(to), &view.desired.hosts[to]);
        for address in addresses {
            let is_there = there.is_some_and(|link| link.addresses.contains_key(&address));
            if !is_there && !host.addresses.contains(&address) {
                unit.link(view, LinkChange::CopyAddress(from.clone(), to.clone(), address));
            }
        }
        take_routes(view, to, &routes, unit);
        take_neighbours(view, to, &neighbours, unit);
    }
}

/// What netagent does not move from a NIC and the links above it.
fn left_behind(view: &View<'_>, nic: &IfName) -> Vec<String> {
    let observed = view.observed;
    let links = || observed.above(nic).into_iter().chain([nic]);
    let rules = links().filter(|name| observed.rule_devices.contains(*name));
    let rules = rules.map(|name| {
        format!(
            "policy rules with iif or oif {name} do not match the segment: change them yourself"
        )
    });
    let routes = links().filter(|name| observed.multipath.contains(*name));
    let routes = routes.map(|name| {
        format!("multipath routes over {name} do not move: replace them by routes in the file")
    });
    rules.chain(routes).collect()
}

/// Adds the neighbours of another link.
pub fn take_neighbours(view: &View<'_>, to: &IfName, neighbours: &[&Neighbour], unit: &mut Unit) {
    let is_there = |neighbour: &&&Neighbour| view.observed.neighbours.contains(&neighbour.over(to));
    for neighbour in neighbours.iter().filter(|neighbour| !is_there(neighbour)) {
        unit.link(view, LinkChange::AddNeighbour(neighbour.over(to)));
    }
}

/// Adds the routes of another link behind those that are there.
pub fn take_routes(view: &View<'_>, to: &IfName, routes: &[&Route], unit: &mut Unit) {
    for route in routes.iter().filter(|route| !view.has_route(to, route)) {
        unit.link(view, LinkChange::AddRoute(behind(&route.over(to))));
    }
}

/// What goes when a NIC has joined, and routes that could not be there before.
pub fn after(view: &View<'_>, nic: &IfName, bridge: &IfName, unit: &mut Unit) {
    let moves = moves(view, nic, bridge);
    for it in &moves {
        let_go(view, it, unit);
    }
    for (to, host) in view.hosts_on(bridge).filter(|(to, _)| view.carrier_of(to) == Some(nic)) {
        let here = moves.iter().filter(|it| it.to == to).flat_map(|it| it.routes.iter().copied());
        hosts::routes(view, to, host, &here.collect::<Vec<_>>(), unit);
        announce(view, to, host, unit);
    }
}

/// Removes what another link has taken.
fn let_go(view: &View<'_>, moved: &Move<'_>, unit: &mut Unit) {
    let Move { from, to, addresses, routes, neighbours, delete } = moved;
    give_up(view, from, to, routes, unit);
    if *delete {
        unit.link(view, LinkChange::Delete((*from).clone()));
        return;
    }
    for neighbour in neighbours {
        unit.link(view, LinkChange::RemoveNeighbour((*neighbour).clone()));
    }
    // Secondary addresses first: the kernel removes them with the first one.
    for address in addresses.iter().rev() {
        unit.link(view, LinkChange::RemoveAddress((*from).clone(), *address));
    }
}

/// Removes routes that another link has taken, and gives the new ones their metric.
pub fn give_up(view: &View<'_>, from: &IfName, to: &IfName, routes: &[&Route], unit: &mut Unit) {
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
    for (to, _) in view.hosts_on(bridge) {
        for route in view.observed.routes_of(to).filter(|route| view.is_left_behind(route)) {
            unit.link(view, LinkChange::RemoveRoute(route.clone()));
        }
    }
    for Move { from, to, addresses, routes, neighbours, delete } in moves(view, nic, bridge) {
        let there = view.observed.link(to);
        let is_at_both =
            |address: &Cidr| there.is_some_and(|link| link.addresses.contains_key(address));
        let has_taken = |it: &&&Neighbour| view.observed.neighbours.contains(&it.over(to));
        for neighbour in neighbours.iter().filter(has_taken) {
            unit.link(view, LinkChange::RemoveNeighbour((*neighbour).clone()));
        }
        let is_there = |route: &&Route| {
            view.has_route(to, route) || view.has_route(to, &behind(&route.over(to)))
        };
        let routes: Vec<_> = routes.into_iter().filter(is_there).collect();
        give_up(view, from, to, &routes, unit);
        if delete && !addresses.is_empty() && addresses.iter().all(is_at_both) {
            // It would go on receiving the frames of its VLAN in place of the bridge.
            unit.link(view, LinkChange::Delete(from.clone()));
            continue;
        }
        for address in addresses.into_iter().filter(is_at_both) {
            unit.link(view, LinkChange::RemoveAddress(from.clone(), address));
        }
    }
}

/// The interfaces of the node that a host interface of the same bridge replaces: the bridge itself,
/// or the interface of another VLAN. Returns the routes that move.
pub fn former_interfaces<'a>(
    view: &View<'a>,
    to: &'a IfName,
    host: &Host,
    unit: &mut Unit,
) -> Vec<&'a Route> {
    let mut moved = Vec::new();
    for from in view.replaced_by(to, host) {
        unit.is_whole = true;
        let parts = [Part::Bridge, Part::OwnVlans];
        unit.needs.extend(parts.map(|part| UnitId::new(part, &host.bridge)));
        let link = &view.observed.links[from];
        let addresses: BTreeSet<Cidr> =
            link.addresses.keys().filter(|it| host.addresses.contains(it)).copied().collect();
        let routes: Vec<&Route> =
            view.observed.routes_of(from).filter(|route| reaches(&addresses, route)).collect();
        take_routes(view, to, &routes, unit);
        let near = |it: &&Neighbour| addresses.iter().any(|own| own.contains(it.address));
        let neighbours: Vec<_> = view.observed.neighbours_of(from).filter(near).collect();
        take_neighbours(view, to, &neighbours, unit);
        let addresses = addresses.into_iter().collect();
        let former = Move { from, to, addresses, routes, neighbours, delete: view.is_former(from) };
        let_go(view, &former, unit);
        moved.extend(former.routes);
    }
    moved
}

impl View<'_> {
    /// Whether a route has waited behind one that is there now.
    pub fn is_left_behind(&self, route: &Route) -> bool {
        let mut others = self.observed.routes_of(&route.device);
        others.any(|other| {
            other != route
                && behind(other).metric == route.metric
                && other.metric != route.metric
                && other.leads_as(route)
                && other.protocol == route.protocol
        })
    }
}

/// A route that is not used while the old one is there. An IPv4 route is appended behind it. Of
/// IPv6 routes with one destination and metric, the kernel makes a multipath route
/// (`fib6_add_rt2node` in net/ipv6/ip6_fib.c), so it gets the next metric meanwhile.
fn behind(route: &Route) -> Route {
    let metric = if route.to.address.is_ipv6() { route.metric + 1 } else { route.metric };
    Route { metric, ..route.clone() }
}
