//! DHCP leases of the node's own interfaces: addresses with a lifetime, and routes.
//!
//! A lease has a unit of its own, which waits for nothing: an address must be renewed before it
//! expires, and must go when its lease has ended.

use super::{Plan, Unit, View};
use crate::{
    change::LinkChange,
    names::{Cidr, IfName},
    state::{Code, DHCP_PROTOCOL, Dhcp, Host, Lease, Part, Route, UnitId},
};

/// The kernel counts in seconds, from the moment of the request.
const TOLERANCE: u64 = 2;

pub fn plan(view: &View<'_>, plan: &mut Plan) {
    for (name, host) in &view.desired.hosts {
        let Some(dhcp) = &host.dhcp else { continue };
        let id = UnitId::new(Part::Lease, name);
        let mut unit = Unit::new(id, view.desired.segment_of(&host.bridge));
        // The interface gets its address together with the NIC that has it now.
        if view.observed.link(name).is_some() && view.carrier_of(name).is_none() {
            match dhcp {
                Dhcp::Unknown => {}
                Dhcp::Leased(lease) => leased(view, name, host, lease, &mut unit),
                Dhcp::Ended { address, .. } => ended(view, name, *address, &mut unit),
            }
        }
        match dhcp {
            Dhcp::Leased(_) => {}
            Dhcp::Unknown if view.has_lease(name) => {}
            Dhcp::Unknown => unit.finding(
                Code::LeaseMissing,
                format!("{name}: no DHCP lease yet"),
                "`netagent run` gets one when a server answers",
            ),
            Dhcp::Ended { address, reason } => unit.finding(
                Code::LeaseLost,
                format!("{name}: the DHCP lease of {address} is lost: {reason}"),
                "check the DHCP server, and the VLAN on the way to it",
            ),
        }
        plan.push(unit);
    }
}

fn leased(view: &View<'_>, name: &IfName, host: &Host, lease: &Lease, unit: &mut Unit) {
    let found = &view.observed.links[name].addresses;
    // Before the new one: the kernel removes the other addresses of a subnet with its first one.
    for cidr in found.keys().filter(|cidr| lease.replaces.as_ref() == Some(cidr)) {
        remove(view, name, *cidr, unit);
    }
    // Whoever added it: a kernel may keep the first one's mark on an address that is replaced.
    let until = found.get(&lease.address).and_then(|address| address.until);
    let is_renewed = until.is_some_and(|until| until.abs_diff(lease.until) <= TOLERANCE);
    if !is_renewed {
        unit.link(view, LinkChange::Lease(name.clone(), lease.address, lease.until));
    }
    let former = found.iter().filter(|(cidr, address)| address.is_leased(cidr));
    for (cidr, _) in former.filter(|(cidr, _)| **cidr != lease.address) {
        remove(view, name, *cidr, unit);
    }
    let there: Vec<&Route> = view.observed.routes_of(name).collect();
    let is = |there: &Route, wanted: &Route| {
        let same_metric = there.metric == wanted.metric || host.metric.is_none();
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

/// Removes the address of a lease that has ended, and its routes.
fn ended(view: &View<'_>, name: &IfName, address: Cidr, unit: &mut Unit) {
    let found = &view.observed.links[name].addresses;
    let is_leased = |cidr: &Cidr| *cidr == address || found[cidr].is_leased(cidr);
    for route in view.observed.routes_of(name).filter(|route| route.protocol == DHCP_PROTOCOL) {
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
    fn has_lease(&self, name: &IfName) -> bool {
        let link = self.observed.link(name);
        link.is_some_and(|link| link.addresses.iter().any(|(cidr, it)| it.is_leased(cidr)))
    }

    /// Whether an address expires, on an interface that gets its address by DHCP.
    pub fn is_leased(&self, name: &IfName, cidr: &Cidr) -> bool {
        let address = self.observed.link(name).and_then(|link| link.addresses.get(cidr));
        self.by_dhcp(name)
            && cidr.address.is_ipv4()
            && address.is_some_and(crate::state::Address::expires)
    }

    /// Whether a route is of a lease, on an interface that gets its address by DHCP.
    pub fn is_leased_route(&self, route: &Route) -> bool {
        route.protocol == DHCP_PROTOCOL && self.by_dhcp(&route.device)
    }

    fn by_dhcp(&self, name: &IfName) -> bool {
        self.desired.hosts.get(name).is_some_and(|host| host.dhcp.is_some())
    }
}
