//! Gives addresses and routes back to the devices that the node lived on, when the bridge that took
//! them is deleted:
//!
//! 1. The NIC leaves its bond, and its VLAN interfaces are made again.
//! 2. They get the addresses that they had, and the routes behind those of the bridge.
//! 3. The NIC leaves the bridge.
//! 4. The bridge and its VLAN interfaces lose the addresses. Otherwise their connected routes would
//!    come first.

use std::collections::BTreeSet;

use netagent_common::vlan::Vid;

use super::{
    Unit, View,
    lived_on::{is_on_link, reaches},
    takeover,
};
use crate::{
    change::LinkChange,
    names::{Cidr, IfName},
    state::{Kind, Link, Neighbour, Original, PROTOCOL, Part, Route, UnitId},
};

/// A device that the node lived on when it was found: an uplink, a member of it, or a VLAN
/// interface on one of these, which may not exist.
#[derive(Clone, Copy)]
struct Heir<'a> {
    name: &'a IfName,
    original: &'a Original,
    /// The NIC, or the bond.
    nic: &'a IfName,
    /// `None`: the NIC itself.
    vid: Option<Vid>,
}

/// What one interface of the node gives back to a device.
struct Back<'a> {
    from: &'a IfName,
    link: &'a Link,
    heir: Heir<'a>,
    addresses: Vec<Cidr>,
    routes: Vec<&'a Route>,
    neighbours: Vec<&'a Neighbour>,
}

/// Everything that goes back over one uplink.
pub struct HandBack<'a> {
    heirs: Vec<Heir<'a>>,
    backs: Vec<Back<'a>>,
}

impl<'a> HandBack<'a> {
    /// What an uplink's bridge gives back that is not desired any more and is deleted.
    pub fn over(view: &View<'a>, uplink: &IfName) -> Self {
        let nothing = Self { heirs: vec![], backs: vec![] };
        let Some((bridge, uplink)) = view.bridge_that_goes(uplink) else { return nothing };
        let heirs = view.heirs(uplink);
        let interfaces = view.observed.links.iter().filter_map(|(name, link)| match &link.kind {
            Kind::Bridge(_) if name == bridge => Some((name, link, None)),
            Kind::Vlan { parent: Some(parent), vid } if parent == bridge && link.is_owned() => {
                Some((name, link, Some(*vid)))
            }
            _ => None,
        });
        let backs = interfaces
            .flat_map(|(from, link, vid)| {
                let heirs = heirs.iter();
                heirs.map(move |heir| (from, link, vid, *heir))
            })
            .filter_map(|(from, link, vid, heir)| back(view, from, link, vid, heir, &heirs));
        Self { backs: backs.collect(), heirs }
    }

    /// Before the uplink leaves the bridge.
    pub fn before(&self, view: &View<'_>, unit: &mut Unit) {
        for Back { from, heir, addresses, routes, .. } in &self.backs {
            let routes = routes.iter().map(|route| format!("route {}", route.over(heir.name)));
            let things = addresses.iter().map(ToString::to_string).chain(routes);
            unit.impact.extend(things.map(|it| format!("{from} → {}: {it} moves back", heir.name)));
        }
        let missing = |heir: &&Heir<'_>| view.observed.link(heir.name).is_none();
        let taking = self.backs.iter().map(|back| back.heir);
        let taking = taking.chain(self.heirs.iter().filter(missing).copied());
        let members: BTreeSet<&IfName> =
            taking.map(|heir| heir.nic).filter(|nic| view.bond_of(nic).is_some()).collect();
        for nic in members {
            // A bond sets a member down when it releases it.
            unit.link(view, LinkChange::Release(nic.clone()));
        }
        for heir in &self.heirs {
            heir.create(view, unit);
        }
        for back in &self.backs {
            unit.is_whole = true;
            back.give(view, unit);
        }
    }

    /// After the uplink has left the bridge.
    pub fn after(&self, view: &View<'_>, unit: &mut Unit) {
        for Back { from, heir, addresses, routes, .. } in &self.backs {
            takeover::give_up(view, from, heir.name, routes, unit);
            for address in addresses.iter().rev() {
                unit.link(view, LinkChange::RemoveAddress((*from).clone(), *address));
            }
        }
        for Back { heir, routes, .. } in &self.backs {
            let defaults = routes.iter().filter(|route| route.is_default());
            let gateways: BTreeSet<_> = defaults.filter_map(|route| route.via).collect();
            for gateway in gateways {
                unit.link(view, LinkChange::Resolve(heir.name.clone(), gateway));
            }
        }
    }
}

impl Heir<'_> {
    /// Makes a VLAN interface again. It takes the frames of its VLAN before the bridge can.
    fn create(&self, view: &View<'_>, unit: &mut Unit) {
        let Some(vid) = self.vid else { return };
        let name = self.name;
        match view.observed.link(name) {
            None => unit.link(view, LinkChange::AddVlan(name.clone(), self.nic.clone(), vid)),
            // An agent that was killed has made it.
            Some(link) if link.is_owned() => {}
            Some(_) => return,
        }
        let alias = self.original.alias.clone().unwrap_or_default();
        unit.link(view, LinkChange::SetAlias(name.clone(), alias));
        let mtu = self.original.mtu;
        if view.observed.link(self.nic).is_some_and(|nic| nic.mtu != mtu) {
            unit.link(view, LinkChange::SetMtu(name.clone(), mtu));
        }
    }
}

impl Back<'_> {
    /// Adds the addresses, as they were where they have not changed since, and the routes.
    fn give(&self, view: &View<'_>, unit: &mut Unit) {
        let Self { from, link, heir, addresses, routes, neighbours } = self;
        for cidr in addresses {
            let known = heir.original.address(cidr).filter(|known| !known.expires());
            unit.link(
                view,
                match known.filter(|_| !link.addresses[cidr].expires()) {
                    Some(known) => {
                        LinkChange::RestoreAddress(heir.name.clone(), *cidr, known.clone())
                    }
                    None => LinkChange::CopyAddress((*from).clone(), heir.name.clone(), *cidr),
                },
            );
        }
        takeover::take_routes(view, heir.name, routes, unit);
        takeover::take_neighbours(view, heir.name, neighbours, unit);
    }
}

/// What an interface gives back to one of the devices, which get the addresses that they had, and
/// those of others in their VLAN.
fn back<'a>(
    view: &View<'a>,
    from: &'a IfName,
    link: &'a Link,
    vid: Option<Vid>,
    heir: Heir<'a>,
    heirs: &[Heir<'a>],
) -> Option<Back<'a>> {
    let had = |heir: &Heir<'_>, cidr: &Cidr| heir.original.address(cidr).is_some();
    let lived = |heir: &&Heir<'_>| !heir.original.addresses.is_empty();
    let first = heirs.iter().filter(lived).find(|other| other.vid == vid);
    let is_first = first.is_some_and(|first| first.name == heir.name);
    let goes = |cidr: &&Cidr| {
        let of_others = !link.addresses[*cidr].owned && !heirs.iter().any(|heir| had(heir, cidr));
        had(&heir, cidr) || of_others && is_first
    };
    let mut addresses: Vec<Cidr> = link.addresses.keys().filter(goes).copied().collect();
    addresses.sort_by_key(|address| link.addresses[address].secondary);
    let reached: BTreeSet<Cidr> = addresses.iter().copied().collect();
    // Of the routes that the agent added for a file, only those that were there before.
    let is_of_file = |route: &Route| {
        let was_there = heir.original.routes.iter().any(|found| found.leads_as(route));
        route.protocol == PROTOCOL && !route.is_default() && !was_there
    };
    let routes = view.observed.routes_of(from).filter(|route| {
        !is_of_file(route) && (reaches(&reached, route) || is_first && is_on_link(route))
    });
    let routes: Vec<&Route> = routes.collect();
    let near = |it: &&Neighbour| is_first || reached.iter().any(|own| own.contains(it.address));
    let neighbours = view.observed.neighbours_of(from).filter(near).collect();
    let is_empty = addresses.is_empty() && routes.is_empty();
    (!is_empty).then_some(Back { from, link, heir, addresses, routes, neighbours })
}

/// Says which addresses of a link that is deleted stop to work. The others have gone back before.
pub fn lost(view: &View<'_>, name: &IfName, link: &Link, unit: &mut Unit) {
    let bridge = match &link.kind {
        Kind::Bridge(_) => Some(name),
        Kind::Vlan { parent, .. } => parent.as_ref(),
        Kind::Bond(_) | Kind::Other(_) => None,
    };
    let uplinks = view.datapath.ports.iter().filter(|(_, port)| {
        port.policy.mode() == "uplink" && bridge.is_some() && port.policy.bridge.as_ref() == bridge
    });
    let mut lost: BTreeSet<Cidr> = link.addresses.keys().copied().collect();
    for (uplink, _) in uplinks {
        let back = HandBack::over(view, uplink);
        for back in back.backs.iter().filter(|back| back.from == name) {
            unit.is_whole = true;
            unit.needs.insert(UnitId::new(Part::FormerPort, uplink));
            lost.retain(|cidr| !back.addresses.contains(cidr));
        }
    }
    unit.impact.extend(lost.iter().map(|address| format!("{address} on {name} stops working")));
}

impl<'a> View<'a> {
    /// The bridge of an uplink, if it is deleted.
    fn bridge_that_goes(&self, uplink: &IfName) -> Option<(&'a IfName, &'a IfName)> {
        let (uplink, port) = self.datapath.ports.get_key_value(uplink)?;
        let bridge = port.policy.bridge.as_ref().filter(|_| port.policy.mode() == "uplink")?;
        let link = self.observed.link(bridge)?;
        let goes = link.is_owned() && !self.desired.bridges.contains_key(bridge);
        goes.then_some((bridge, uplink))
    }

    /// The devices that the node may have lived on when they were found.
    fn heirs(&self, uplink: &'a IfName) -> Vec<Heir<'a>> {
        let members = self.observed.ports_of(uplink).map(|(nic, _)| nic);
        let nics: Vec<&IfName> = [uplink].into_iter().chain(members).collect();
        let own = nics.iter().filter_map(|nic| {
            let (name, _) = self.observed.originals.get_key_value(*nic)?;
            Some(Heir { name, original: self.found(nic)?, nic: name, vid: None })
        });
        let tagged = self.observed.originals.iter().filter_map(|(name, original)| {
            let (parent, vid) = original.vlan.as_ref()?;
            let vid = Vid::new(*vid)?;
            let is_on_nic = nics.contains(&parent);
            is_on_nic.then_some(Heir { name, original, nic: parent, vid: Some(vid) })
        });
        own.chain(tagged.collect::<Vec<_>>()).collect()
    }

    /// A device as it was found, if it is still the same one.
    fn found(&self, name: &IfName) -> Option<&'a Original> {
        let link = self.observed.link(name).filter(|link| !link.is_owned())?;
        self.observed.originals.get(name).filter(|original| original.index == link.index)
    }
}
