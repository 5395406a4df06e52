//! DHCP leases, as the desired state of an interface has them.

use std::{collections::BTreeSet, net::IpAddr};

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

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Cidr,
    /// When it ends, in seconds since the boot.
    pub until: u64,
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
