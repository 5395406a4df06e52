//! DHCP leases, as the desired state of an interface has them.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{Route, route::DHCP_PROTOCOL};
use crate::names::{Cidr, IfName};

/// The metric of the default route of a lease, unless the file has another: a static gateway is
/// preferred.
pub const LEASED_METRIC: u32 = 1024;

/// The lease of an interface that gets its address by DHCP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dhcp {
    /// Nothing is known: an address that expires stays, as an earlier lease may be in force.
    #[default]
    Unknown,
    /// A lease.
    Leased(Lease),
    /// The lease has ended.
    Ended {
        /// Its address.
        address: Cidr,
        /// Why.
        reason: String,
    },
}

/// The lifetime of an address, in seconds since the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    /// Until when new connections use it.
    pub preferred: u64,
    /// When it ends.
    pub until: u64,
}

impl Lifetime {
    /// A lifetime without an end of its preference.
    pub const fn until(until: u64) -> Self {
        Self { preferred: until, until }
    }
}

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Cidr,
    /// Its lifetime.
    pub lifetime: Lifetime,
    /// The routes.
    pub routes: BTreeSet<Route>,
    /// An address of an earlier DHCP client, which this one replaces.
    pub replaces: Option<Cidr>,
}

impl Route {
    /// A route of a lease. It goes with its address, which is its source.
    pub fn leased(device: &IfName, to: Cidr, via: Option<IpAddr>, source: Cidr) -> Self {
        let source = Some(source.address);
        let route = Self::desired(device, to, via);
        Self { protocol: DHCP_PROTOCOL, metric: LEASED_METRIC, source, ..route }
    }
}
