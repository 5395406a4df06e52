//! The inverse of a change, which restores the previous state.

use netagent_common::vlan::Vid;

use super::{Change, DatapathChange, LinkChange};
use crate::{
    bond::BondOption,
    names::{Cidr, IfName},
    state::{Kind, Lifetime, Link, Observed, ObservedDatapath, Route, VlanFlags},
};

/// The changes that restore the state before a change of links; empty if nothing needs to be
/// restored.
///
/// A deleted link is created again without its members: their own units restore them.
pub fn of_link(change: &LinkChange, observed: &Observed) -> Vec<Change> {
    let link = |name: &IfName| observed.link(name);
    let back = match change {
        LinkChange::AddBond(name, _)
        | LinkChange::AddBridge(name, _)
        | LinkChange::AddVlan(name, ..) => vec![LinkChange::Delete(name.clone())],
        LinkChange::Delete(name) => {
            link(name).map_or_else(Vec::new, |link| create(name, link, observed))
        }
        LinkChange::SetBondOption(name, option) => {
            link(name).map_or_else(Vec::new, |link| bond_option(name, option, link))
        }
        LinkChange::SetMtu(name, _) => {
            let back = one(link(name), |link| LinkChange::SetMtu(name.clone(), link.mtu));
            back.into_iter().chain(mtus_above(name, observed)).collect()
        }
        LinkChange::SetTxqlen(name, _) => {
            one(link(name), |link| LinkChange::SetTxqlen(name.clone(), link.txqlen))
        }
        LinkChange::SetAcceptRa(name, _) => {
            let known = link(name).and_then(|link| link.accept_ra);
            known.map(|value| LinkChange::SetAcceptRa(name.clone(), value)).into_iter().collect()
        }
        LinkChange::SetMac(name, _) | LinkChange::CopyMac(name, _) => {
            one(link(name), |link| LinkChange::SetMac(name.clone(), link.mac))
        }
        LinkChange::SetAlias(name, _) => one(link(name), |link| {
            LinkChange::SetAlias(name.clone(), link.alias.clone().unwrap_or_default())
        }),
        LinkChange::SetUp(name) => {
            one(link(name).filter(|link| !link.up), |_| LinkChange::SetDown(name.clone()))
        }
        LinkChange::SetDown(name) => {
            one(link(name).filter(|link| link.up), |_| LinkChange::SetUp(name.clone()))
        }
        LinkChange::AddMember(name, _) => no_member(name, observed),
        LinkChange::AddPort(name, _) | LinkChange::Release(name) => {
            one(link(name), |link| membership(name, link, observed))
        }
        LinkChange::SetPromiscuous(name, on) => vec![LinkChange::SetPromiscuous(name.clone(), !on)],
        LinkChange::SetPortFlag(name, flag, on) => {
            vec![LinkChange::SetPortFlag(name.clone(), *flag, !on)]
        }
        LinkChange::SetGroupForward(name, _) => {
            one(link(name), |link| LinkChange::SetGroupForward(name.clone(), link.group_fwd_mask))
        }
        LinkChange::SetFiltering(name, on) => vec![LinkChange::SetFiltering(name.clone(), !on)],
        LinkChange::SetDefaultPvid(name, _) => {
            link(name).map_or_else(Vec::new, |link| default_pvid(name, link))
        }
        LinkChange::SetSnooping(name, _) => {
            link(name).and_then(|link| snooping(name, link)).into_iter().collect()
        }
        LinkChange::AddVids(name, first, last, _) | LinkChange::RemoveVids(name, first, last) => {
            vids(name, link(name), *first, *last)
        }
        LinkChange::AddSelfVid(name, vid, _) | LinkChange::RemoveSelfVid(name, vid) => {
            let found: Option<VlanFlags> = link(name).and_then(|link| link.vlans.get(vid).copied());
            vec![match found {
                Some(flags) => LinkChange::AddSelfVid(name.clone(), *vid, flags),
                None => LinkChange::RemoveSelfVid(name.clone(), *vid),
            }]
        }
        LinkChange::AddAddress(name, address)
        | LinkChange::RestoreAddress(name, address, _)
        | LinkChange::CopyAddress(_, name, address) => {
            vec![LinkChange::RemoveAddress(name.clone(), *address)]
        }
        LinkChange::Lease(name, address, _) => {
            let known = link(name).and_then(|link| link.addresses.get(address));
            vec![match known {
                Some(known) => match known.until {
                    Some(until) => {
                        LinkChange::Lease(name.clone(), *address, Lifetime::until(until))
                    }
                    None => LinkChange::RestoreAddress(name.clone(), *address, known.clone()),
                },
                None => LinkChange::RemoveAddress(name.clone(), *address),
            }]
        }
        LinkChange::RemoveAddress(name, address) => address_back(name, *address, observed),
        LinkChange::AddRoute(route) => vec![LinkChange::RemoveRoute(route.clone())],
        LinkChange::RemoveRoute(route) => vec![LinkChange::AddRoute(route.clone())],
        LinkChange::AddNeighbour(neighbour) => {
            let mut known = observed.neighbours_of(&neighbour.device);
            let known = known.find(|known| known.address == neighbour.address).cloned();
            let gone = LinkChange::RemoveNeighbour(neighbour.clone());
            vec![known.map_or(gone, LinkChange::AddNeighbour)]
        }
        LinkChange::RemoveNeighbour(neighbour) => vec![LinkChange::AddNeighbour(neighbour.clone())],
        LinkChange::HoldMtu(..) | LinkChange::AwaitCarrier(_) | LinkChange::Resolve(..) => vec![],
    };
    back.into_iter().map(Change::Link).collect()
}

/// The kernel removes routes with the address: those that prefer it as source, or all of the link
/// with its last address, and then the neighbours as well.
fn address_back(name: &IfName, address: Cidr, observed: &Observed) -> Vec<LinkChange> {
    let known = observed.link(name).and_then(|link| link.addresses.get(&address));
    let back = known.map(|known| LinkChange::RestoreAddress(name.clone(), address, known.clone()));
    let is_of_family = |route: &&Route| route.to.address.is_ipv4() == address.address.is_ipv4();
    let routes = observed.routes_of(name).filter(is_of_family).cloned();
    let back = back.into_iter().chain(routes.map(LinkChange::AddRoute));
    back.chain(neighbours(name, observed)).collect()
}

fn default_pvid(name: &IfName, link: &Link) -> Vec<LinkChange> {
    let Kind::Bridge(state) = &link.kind else { return vec![] };
    let pvid = state.default_pvid;
    pvid.map(|pvid| LinkChange::SetDefaultPvid(name.clone(), pvid)).into_iter().collect()
}

fn snooping(name: &IfName, link: &Link) -> Option<LinkChange> {
    let Kind::Bridge(state) = &link.kind else { return None };
    state.snooping.map(|snooping| LinkChange::SetSnooping(name.clone(), snooping))
}

/// The changes that restore the state before a change of the datapath.
pub fn of_datapath(change: &DatapathChange, datapath: &ObservedDatapath) -> Vec<Change> {
    let back = match change {
        DatapathChange::SetPolicy(name, _) => match datapath.ports.get(name) {
            Some(port) => {
                vec![DatapathChange::SetPolicy(name.clone(), Box::new(port.policy.clone()))]
            }
            None => vec![DatapathChange::Forget(name.clone())],
        },
        DatapathChange::Forget(name) => datapath.ports.get(name).map_or_else(Vec::new, |port| {
            let policy = DatapathChange::SetPolicy(name.clone(), Box::new(port.policy.clone()));
            let flags = port.policy.flags;
            let attach = port
                .attached
                .iter()
                .map(|hook| DatapathChange::Attach(name.clone(), *hook, hook.optional(flags)));
            [policy].into_iter().chain(attach).collect()
        }),
        // What it drops meanwhile is not to be undone.
        DatapathChange::MoveToFront(..) => Vec::new(),
        DatapathChange::Attach(name, hook, _) | DatapathChange::Detach(name, hook) => {
            let port = datapath.ports.get(name);
            match port.filter(|port| port.attached.contains(hook)) {
                Some(port) => {
                    let flags = hook.optional(port.policy.flags);
                    vec![DatapathChange::Attach(name.clone(), *hook, flags)]
                }
                None => vec![DatapathChange::Detach(name.clone(), *hook)],
            }
        }
        DatapathChange::RxVlanOff(_, nic, tags) => {
            vec![DatapathChange::RxVlanOn(nic.clone(), *tags)]
        }
        DatapathChange::RxVlanOn(nic, tags) => {
            vec![DatapathChange::RxVlanOff(nic.clone(), nic.clone(), *tags)]
        }
    };
    back.into_iter().map(Change::Datapath).collect()
}

fn one(link: Option<&Link>, change: impl FnOnce(&Link) -> LinkChange) -> Vec<LinkChange> {
    link.map(change).into_iter().collect()
}

/// The previous VIDs of a range, in ranges with equal flags.
fn vids(name: &IfName, link: Option<&Link>, first: Vid, last: Vid) -> Vec<LinkChange> {
    let found = |vid: &Vid| link.and_then(|link| link.vlans.get(vid).copied());
    let vids: Vec<Vid> = (first.get()..=last.get()).filter_map(Vid::new).collect();
    let ranges = vids.chunk_by(|one, next| found(one) == found(next));
    ranges
        .filter_map(|range| {
            let (first, last) = (*range.first()?, *range.last()?);
            Some(match found(&first) {
                Some(flags) => LinkChange::AddVids(name.clone(), first, last, flags),
                None => LinkChange::RemoveVids(name.clone(), first, last),
            })
        })
        .collect()
}

fn create(name: &IfName, link: &Link, observed: &Observed) -> Vec<LinkChange> {
    let create = match &link.kind {
        Kind::Bond(state) => LinkChange::AddBond(name.clone(), state.options.clone()),
        Kind::Bridge(state) => {
            // A kernel without the VLAN filter says that it is off.
            let filtering = state.vlan_filtering.filter(|_| observed.kernel.vlan_filtering);
            LinkChange::AddBridge(name.clone(), filtering)
        }
        Kind::Vlan { parent: Some(parent), vid } => {
            LinkChange::AddVlan(name.clone(), parent.clone(), *vid)
        }
        Kind::Vlan { parent: None, .. } | Kind::Other(_) => return vec![],
    };
    let mut changes = vec![create, LinkChange::SetMac(name.clone(), link.mac)];
    if !link.is_owned() {
        // A link of somebody else must not be taken for one of the agent, which it would delete.
        changes.push(LinkChange::SetAlias(name.clone(), link.alias.clone().unwrap_or_default()));
    }
    if link.up {
        changes.push(LinkChange::SetUp(name.clone()));
    }
    changes.extend(snooping(name, link));
    changes.extend(restore(name, link));
    changes.extend(observed.routes_of(name).cloned().map(LinkChange::AddRoute));
    changes.extend(neighbours(name, observed));
    changes
}

/// The MTUs of the VLAN interfaces on a link: the kernel lowers them with that of the link, as a
/// bond does with its members.
fn mtus_above<'a>(
    name: &'a IfName,
    observed: &'a Observed,
) -> impl Iterator<Item = LinkChange> + 'a {
    let above = observed.links.iter().filter(move |(_, link)| {
        matches!(&link.kind, Kind::Vlan { parent: Some(parent), .. } if parent == name)
    });
    above.map(|(name, link)| LinkChange::SetMtu(name.clone(), link.mtu))
}

fn neighbours<'a>(
    name: &'a IfName,
    observed: &'a Observed,
) -> impl Iterator<Item = LinkChange> + 'a {
    observed.neighbours_of(name).cloned().map(LinkChange::AddNeighbour)
}

/// Adds the addresses of a link again, in their order.
fn restore(name: &IfName, link: &Link) -> Vec<LinkChange> {
    let mut addresses: Vec<_> = link.addresses.iter().collect();
    addresses.sort_by_key(|(_, known)| known.secondary);
    let back = addresses
        .into_iter()
        .map(|(address, known)| LinkChange::RestoreAddress(name.clone(), *address, known.clone()));
    back.collect()
}

/// A NIC that is set down to become a member loses its routes and its IPv6 addresses.
fn no_member(name: &IfName, observed: &Observed) -> Vec<LinkChange> {
    let link = observed.link(name);
    let back = one(link, |link| membership(name, link, observed));
    // What is released is left up.
    let down = one(link.filter(|link| !link.up), |_| LinkChange::SetDown(name.clone()));
    let addresses = link.into_iter().flat_map(|link| restore(name, link));
    let addresses = addresses.filter(
        |back| matches!(back, LinkChange::RestoreAddress(_, it, _) if it.address.is_ipv6()),
    );
    let routes = observed.routes_of(name).cloned().map(LinkChange::AddRoute);
    let back = back.into_iter().chain(down).chain(mtus_above(name, observed)).chain(addresses);
    back.chain(routes).chain(neighbours(name, observed)).collect()
}

fn bond_option(name: &IfName, option: &BondOption, link: &Link) -> Vec<LinkChange> {
    let Kind::Bond(state) = &link.kind else { return vec![] };
    let old = state.options.iter().find(|old| old.same_option(option)).cloned();
    // The kernel reports them only if there are any.
    let none = match option {
        BondOption::Primary(_) => Some(BondOption::Primary(None)),
        BondOption::ArpTargets(_) => Some(BondOption::ArpTargets(vec![])),
        BondOption::NsTargets(_) => Some(BondOption::NsTargets(vec![])),
        _ => None,
    };
    old.or(none).map(|old| LinkChange::SetBondOption(name.clone(), old)).into_iter().collect()
}

fn membership(name: &IfName, link: &Link, observed: &Observed) -> LinkChange {
    let controller = link.controller.as_ref();
    let kind = controller.and_then(|controller| observed.link(controller)).map(|link| &link.kind);
    match (controller, kind) {
        (Some(bond), Some(Kind::Bond(_))) => LinkChange::AddMember(name.clone(), bond.clone()),
        (Some(bridge), Some(_)) => LinkChange::AddPort(name.clone(), bridge.clone()),
        (_, None) | (None, _) => LinkChange::Release(name.clone()),
    }
}

#[cfg(test)]
mod tests;
