//! DHCP leases of the node's own interfaces: addresses with a lifetime, and routes.
//!
//! A lease has a unit of its own, which waits for nothing: an address must be renewed before it
//! expires, and must go when its lease has ended.

use super::{Plan, Unit, View};
use crate::{
    change::LinkChange,
    names::{Cidr, Family, IfName},
    state::{Address, Code, DHCP_PROTOCOL, Dhcp, Lease, Part, Route, Subject, UnitId},
};

/// The kernel counts in seconds, from the moment of the request.
const TOLERANCE: u64 = 2;

pub fn plan(view: &View<'_>, plan: &mut Plan) {
    for (name, host) in &view.desired.hosts {
        for (family, dhcp) in &host.dhcp {
            let id = UnitId::new(Part::Lease(*family), name);
            let mut unit = Unit::new(id, view.desired.segment_of(&host.bridge));
            lease(view, name, *family, dhcp, &mut unit);
            plan.push(unit);
        }
    }
    for (name, lease) in &view.desired.former_leases {
        let mut unit =
            Unit::new(UnitId::new(Part::Lease(lease.address.family()), name), Subject::Node);
        let link = view.observed.link(name);
        if link.is_some_and(|link| link.addresses.contains_key(&lease.address)) {
            extend(view, name, lease, &mut unit);
        }
        plan.push(unit);
    }
}

fn lease(view: &View<'_>, name: &IfName, family: Family, dhcp: &Dhcp, unit: &mut Unit) {
    let protocol = family.dhcp();
    // The interface gets its address together with the NIC that has it now.
    if view.observed.link(name).is_some() && view.carrier_of(name).is_none() {
        match dhcp {
            Dhcp::Unknown => {}
            Dhcp::Leased(lease) => leased(view, name, lease, unit),
            Dhcp::Ended { address, .. } => ended(view, name, *address, unit),
        }
    }
    match dhcp {
        Dhcp::Leased(_) => {}
        Dhcp::Unknown if view.has_lease(name, family) => {}
        Dhcp::Unknown => unit.finding(
            Code::LeaseMissing,
            format!("{name}: no {protocol} lease yet"),
            "`netagent run` gets one when a server answers",
        ),
        Dhcp::Ended { address, reason } => unit.finding(
            Code::LeaseLost,
            format!("{name}: the {protocol} lease of {address} is lost: {reason}"),
            format!("check the {protocol} server, and the VLAN on the way to it"),
        ),
    }
}

fn leased(view: &View<'_>, name: &IfName, lease: &Lease, unit: &mut Unit) {
    let family = lease.address.family();
    let metric = view.desired.hosts.get(name).and_then(|host| host.metric);
    let found = &view.observed.links[name].addresses;
    // Before the new one: the kernel removes the other addresses of a subnet with its first one.
    for cidr in found.keys().filter(|cidr| lease.replaces.as_ref() == Some(cidr)) {
        remove(view, name, *cidr, unit);
    }
    extend(view, name, lease, unit);
    let former =
        found.iter().filter(|(cidr, address)| address.is_leased() && cidr.family() == family);
    for (cidr, _) in former.filter(|(cidr, _)| **cidr != lease.address) {
        remove(view, name, *cidr, unit);
    }
    let there: Vec<&Route> =
        view.observed.routes_of(name).filter(|route| route.to.family() == family).collect();
    let is = |there: &Route, wanted: &Route| {
        let same_metric = there.metric == wanted.metric || metric.is_none();
        there.leads_as(wanted) && (same_metric || !wanted.is_default())
    };
    let mut missing: Vec<&Route> =
        lease.routes.iter().filter(|wanted| !there.iter().any(|it| is(it, wanted))).collect();
    // A gateway may be reachable by a route of the lease only.
    missing.sort_by_key(|route| route.via.is_some());
    for route in missing {
        unit.link(view, LinkChange::AddRoute(route.clone()));
    }
    for route in there.into_iter().filter(|route| route.protocol == DHCP_PROTOCOL) {
        if !lease.routes.iter().any(|wanted| is(route, wanted)) {
            unit.link(view, LinkChange::RemoveRoute(route.clone()));
        }
    }
}

/// Gives the address its lifetime, whoever added it: a kernel may keep the first one's mark on an
/// address that is replaced.
fn extend(view: &View<'_>, name: &IfName, lease: &Lease, unit: &mut Unit) {
    let found = view.observed.links[name].addresses.get(&lease.address);
    let until = found.and_then(|address| address.until);
    if until.is_none_or(|until| until.abs_diff(lease.lifetime.until) > TOLERANCE) {
        unit.link(view, LinkChange::Lease(name.clone(), lease.address, lease.lifetime));
    }
}

/// Removes the address of a lease that has ended, and its routes.
fn ended(view: &View<'_>, name: &IfName, address: Cidr, unit: &mut Unit) {
    let found = &view.observed.links[name].addresses;
    let family = address.family();
    let is_leased =
        |cidr: &Cidr| *cidr == address || found[cidr].is_leased() && cidr.family() == family;
    let is_of_lease =
        |route: &&Route| route.protocol == DHCP_PROTOCOL && route.to.family() == family;
    for route in view.observed.routes_of(name).filter(is_of_lease) {
        unit.link(view, LinkChange::RemoveRoute(route.clone()));
    }
    for (cidr, _) in found.iter().filter(|(cidr, it)| it.expires() && is_leased(cidr)) {
        remove(view, name, *cidr, unit);
    }
}

fn remove(view: &View<'_>, name: &IfName, cidr: Cidr, unit: &mut Unit) {
    unit.link(view, LinkChange::RemoveAddress(name.clone(), cidr));
}

impl View<'_> {
    /// Whether an interface has an address of a lease of the agent.
    fn has_lease(&self, name: &IfName, family: Family) -> bool {
        let Some(link) = self.observed.link(name) else { return false };
        link.addresses.iter().any(|(cidr, it)| it.is_leased() && cidr.family() == family)
    }

    /// Whether an address is of a lease, on an interface that gets its address by DHCP: of another
    /// client as well, for IPv4. IPv6 addresses that expire may be of router advertisements.
    pub fn is_leased(&self, name: &IfName, cidr: &Cidr) -> bool {
        let address = self.observed.link(name).and_then(|link| link.addresses.get(cidr));
        let is_leased = |address: &Address| match cidr.family() {
            Family::V4 => address.expires(),
            Family::V6 => address.is_leased(),
        };
        self.by_dhcp(name, cidr.family()) && address.is_some_and(is_leased)
    }

    /// Whether a route is of a lease, on an interface that gets its address by DHCP.
    pub fn is_leased_route(&self, route: &Route) -> bool {
        route.protocol == DHCP_PROTOCOL && self.by_dhcp(&route.device, route.to.family())
    }

    fn by_dhcp(&self, name: &IfName, family: Family) -> bool {
        self.desired.hosts.get(name).is_some_and(|host| host.dhcp.contains_key(&family))
    }
}
