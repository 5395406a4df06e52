//! A lease: what a server gives, and until when.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{v4, v6};
use crate::names::{Cidr, Family};

/// A lease of either family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Lease {
    /// Of a DHCPv4 server.
    V4(v4::Lease),
    /// Of a DHCPv6 server.
    V6(v6::Lease),
}

impl Lease {
    /// The family.
    pub const fn family(&self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }

    /// The address.
    pub const fn address(&self) -> Cidr {
        match self {
            Self::V4(lease) => lease.address,
            Self::V6(lease) => Cidr { address: IpAddr::V6(lease.address), prefix: 128 },
        }
    }

    /// When it ends, in seconds since the boot.
    pub const fn until(&self) -> u64 {
        match self {
            Self::V4(lease) => lease.until,
            Self::V6(lease) => lease.until,
        }
    }

    /// Until when new connections use the address, in seconds since the boot.
    pub const fn preferred(&self) -> u64 {
        match self {
            Self::V4(lease) => lease.until,
            Self::V6(lease) => lease.preferred,
        }
    }

    /// The routes: destinations and gateways. Those of IPv6 come from router advertisements.
    pub fn routes(&self) -> Vec<(Cidr, Option<IpAddr>)> {
        match self {
            Self::V4(lease) => {
                lease.routes.iter().map(|(to, via)| (*to, via.map(Into::into))).collect()
            }
            Self::V6(_) => vec![],
        }
    }

    /// An address of an earlier DHCP client, which this one replaces.
    pub const fn replaces(&self) -> Option<Cidr> {
        match self {
            Self::V4(lease) => lease.replaces,
            Self::V6(_) => None,
        }
    }

    /// The lease with its times moved by this number of seconds: those of another boot.
    #[must_use]
    pub fn moved(self, seconds: i64) -> Self {
        match self {
            Self::V4(lease) => Self::V4(lease.moved(seconds)),
            Self::V6(lease) => Self::V6(lease.moved(seconds)),
        }
    }
}
