//! What the node lives on: links with addresses or routes, what they give to the interface that
//! takes their place, and when.

use std::{collections::BTreeSet, net::IpAddr};

use netagent_common::vlan::Vid;

use super::View;
use crate::{
    names::{Cidr, IfName},
    state::{Host, Kind, Link, Neighbour, Port, Role, Route},
};

/// What one link gives to an interface of the node.
pub struct Move<'a> {
    pub from: &'a IfName,
    pub to: &'a IfName,
    pub addresses: Vec<Cidr>,
    pub routes: Vec<&'a Route>,
    pub neighbours: Vec<&'a Neighbour>,
    /// Whether the link goes: a VLAN interface on a NIC takes the frames of its VLAN before the
    /// bridge can (`vlan_do_receive` in net/8021q/vlan_core.c).
    pub delete: bool,
}

/// What a NIC, and the VLAN interfaces on it, give to the interfaces of the node on a bridge. All
/// of it where the VLAN stays; otherwise only the addresses that the file has.
pub fn moves<'a>(view: &View<'a>, nic: &'a IfName, bridge: &IfName) -> Vec<Move<'a>> {
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
            let moves_along =
                |route: &&Route| reaches(&addresses, route) || same_vlan && is_on_link(route);
            let routes: Vec<_> = view.observed.routes_of(from).filter(moves_along).collect();
            let near = |neighbour: &&Neighbour| {
                same_vlan || addresses.iter().any(|own| own.contains(neighbour.address))
            };
            let neighbours: Vec<_> = view.observed.neighbours_of(from).filter(near).collect();
            let delete = from != nic && same_vlan;
            if !addresses.is_empty() || !routes.is_empty() || delete {
                let mut addresses: Vec<Cidr> = addresses.into_iter().collect();
                addresses.sort_by_key(|address| link.addresses[address].secondary);
                moves.push(Move { from, to, addresses, routes, neighbours, delete });
            }
        }
    }
    moves
}

/// Whether the gateway of a route is a neighbour of an address.
pub fn reaches(addresses: &BTreeSet<Cidr>, route: &Route) -> bool {
    route.via.is_some_and(|via| addresses.iter().any(|address| address.contains(via)))
}

/// Whether a route needs no address of its own: it has no gateway, or one that is known by its
/// link.
pub fn is_on_link(route: &Route) -> bool {
    let is_link_local = |via| matches!(via, IpAddr::V6(via) if via.is_unicast_link_local());
    route.via.is_none_or(is_link_local)
}

impl<'a> View<'a> {
    /// The uplink of a bridge.
    fn uplink_of(&self, bridge: &IfName) -> Option<(&'a IfName, &'a Port)> {
        let mut uplinks = self.desired.ports.iter().filter(|(_, port)| port.bridge == *bridge);
        uplinks.find(|(_, port)| matches!(port.role, Role::Uplink { .. }))
    }

    /// The node's own interfaces on a bridge.
    pub fn hosts_on(&self, bridge: &IfName) -> impl Iterator<Item = (&'a IfName, &'a Host)> {
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
        self.observed.is_lived_on(name)
    }

    /// The addresses on a NIC, or on a VLAN interface on it, that an interface of its segment
    /// takes.
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

    /// Whether a link belongs to this bond or bridge.
    pub fn is_in(&self, name: &IfName, controller: &IfName) -> bool {
        let link = self.observed.link(name);
        link.is_some_and(|link| link.controller.as_ref() == Some(controller))
    }

    /// The NIC, or the bond that exists, with whose takeover an interface of the node gets its
    /// addresses: the one that has most of them.
    pub fn carrier_of(&self, to: &IfName) -> Option<&'a IfName> {
        let host = self.desired.hosts.get(to)?;
        let (uplink, port) = self.uplink_of(&host.bridge)?;
        let Role::Uplink { nics, .. } = &port.role else { return None };
        let controller =
            if self.desired.bonds.contains_key(uplink) { uplink } else { &port.bridge };
        let taken = nics.iter().filter(|nic| self.is_taken_over(nic, controller));
        let bond = [uplink].into_iter().filter(|bond| self.desired.bonds.contains_key(*bond));
        let bond = bond.filter(|bond| self.is_taken_over(bond, &port.bridge));
        let given = |nic: &&IfName| {
            let moves = moves(self, nic, &host.bridge);
            let to_this = moves.iter().filter(|it| it.to == to);
            to_this.map(|it| it.addresses.len() + it.routes.len()).sum::<usize>()
        };
        bond.chain(taken.rev()).max_by_key(given)
    }

    /// Whether an interface of the node has a route that leads as another one does.
    pub fn has_route(&self, to: &IfName, route: &Route) -> bool {
        self.observed
            .routes_of(to)
            .any(|there| there.leads_as(route) && there.metric == route.metric)
    }

    /// The interfaces on the same bridge that have addresses of this one, and that no source wants.
    pub fn replaced_by(&self, to: &IfName, host: &Host) -> Vec<&'a IfName> {
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
    pub fn is_former(&self, name: &IfName) -> bool {
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
