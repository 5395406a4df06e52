//! Gives addresses and routes back to the NIC that the node lived on, when the bridge that took
//! them is deleted.

use std::collections::BTreeSet;

use super::{Unit, View, lived_on::reaches, takeover};
use crate::{
    change::LinkChange,
    names::{Cidr, IfName},
    state::{Kind, Link, PROTOCOL, Route},
};

/// Moves what the node lives on from a bridge that goes to its NIC, if the NIC had addresses when
/// it was found: all but the addresses that a file had added. Says what is lost otherwise.
pub fn addresses(view: &View<'_>, name: &IfName, link: &Link, unit: &mut Unit) {
    let heir = matches!(link.kind, Kind::Bridge(_)).then(|| view.heir_of(name)).flatten();
    let had = heir.and_then(|nic| view.original(nic)).map(|original| &original.addresses);
    let is_of_nic =
        |cidr: &&Cidr| had.is_some_and(|had| had.contains(cidr) || !link.addresses[*cidr].owned);
    let (mut moved, lost): (Vec<Cidr>, Vec<Cidr>) =
        link.addresses.keys().partition(|cidr| is_of_nic(cidr));
    unit.impact.extend(lost.iter().map(|address| format!("{address} on {name} stops to work")));
    let Some(nic) = heir.filter(|_| !moved.is_empty()) else { return };
    moved.sort_by_key(|address| link.addresses[address].secondary);
    let reached: BTreeSet<Cidr> = moved.iter().copied().collect();
    let is_moved = |route: &&Route| {
        reaches(&reached, route) || route.via.is_none() && route.protocol != PROTOCOL
    };
    let routes: Vec<&Route> = view.observed.routes_of(name).filter(is_moved).collect();
    let things = routes.iter().map(|route| format!("route {}", route.over(nic)));
    let things = moved.iter().map(ToString::to_string).chain(things);
    unit.impact.extend(things.map(|thing| format!("{name} → {nic}: {thing} moves back")));
    unit.is_whole = true;
    if view.bond_of(nic).is_some() {
        // A bond sets a member down when it releases it.
        unit.link(view, LinkChange::Release(nic.clone()));
    }
    for address in &moved {
        unit.link(view, LinkChange::CopyAddress(name.clone(), nic.clone(), *address));
    }
    takeover::take_routes(view, nic, &routes, unit);
    takeover::give_up(view, name, nic, &routes, unit);
    let gateways: BTreeSet<_> =
        routes.iter().filter(|route| route.is_default()).filter_map(|route| route.via).collect();
    for gateway in gateways {
        unit.link(view, LinkChange::Resolve(nic.clone(), gateway));
    }
}

impl<'a> View<'a> {
    /// The NIC of a bridge on which the node lived when it was found: the uplink, or a member of
    /// it.
    fn heir_of(&self, bridge: &IfName) -> Option<&'a IfName> {
        let mut uplinks = self.datapath.ports.iter().filter(|(_, port)| {
            port.policy.mode() == "uplink" && port.policy.bridge.as_ref() == Some(bridge)
        });
        let (uplink, _) = uplinks.next()?;
        let members = self.observed.ports_of(uplink).map(|(nic, _)| nic);
        let lived_on = |nic: &&IfName| {
            self.original(nic).is_some_and(|original| !original.addresses.is_empty())
        };
        [uplink].into_iter().chain(members).find(lived_on)
    }
}
