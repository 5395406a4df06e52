//! DHCP leases: what a server gives to an interface of the node.

use super::{items::LeaseIntent, problem::Problem};
use crate::state::{Dhcp, Host, Lease, Route};

/// The lease of an accepted host.
pub fn lease(intent: &LeaseIntent, host: &Host) -> Result<Dhcp, Problem> {
    let LeaseIntent { interface, address, until, routes, replaces, ended } = intent;
    if host.dhcp.is_none() {
        return Err(Problem::new("", "the interface does not use DHCP any more"));
    }
    if let Some(reason) = ended {
        return Ok(Dhcp::Ended { address: *address, reason: reason.clone() });
    }
    let routes = routes.iter().map(|(to, via)| {
        let route = Route::leased(interface, *to, *via, *address);
        Route { metric: host.metric.unwrap_or(route.metric), ..route }
    });
    let routes = routes.collect();
    Ok(Dhcp::Leased(Lease { address: *address, until: *until, routes, replaces: *replaces }))
}
