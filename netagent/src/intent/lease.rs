//! DHCP leases: what a server gives to an interface of the node.

use super::items::LeaseIntent;
use crate::state::{Dhcp, Host, Lease, Route};

/// The lease of an accepted host.
pub fn lease(intent: &LeaseIntent, host: &Host) -> Dhcp {
    let LeaseIntent { interface, address, routes, ended, .. } = intent;
    if let Some(reason) = ended {
        return Dhcp::Ended { address: *address, reason: reason.clone() };
    }
    let routes = routes.iter().map(|(to, via)| {
        let route = Route::leased(interface, *to, *via, *address);
        Route { metric: host.metric.unwrap_or(route.metric), ..route }
    });
    Dhcp::Leased(Lease { routes: routes.collect(), ..former(intent) })
}

/// The address of a lease, without its routes.
pub fn former(intent: &LeaseIntent) -> Lease {
    let LeaseIntent { address, lifetime, replaces, .. } = *intent;
    Lease { address, lifetime, routes: <_>::default(), replaces }
}
