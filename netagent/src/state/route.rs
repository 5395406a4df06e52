//! Addresses and routes of the node's own interfaces.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

use crate::names::{Cidr, IfName};

/// The protocol number of addresses and routes that the agent added (`ip address show`, since Linux
/// 5.18: `proto`; `ip route show`: `proto`). Number 110 is assigned to nobody
/// (include/uapi/linux/rtnetlink.h, /etc/iproute2/rt_protos). It outlives the agent, so that an
/// address or a route of somebody else is never mistaken for one of the agent.
pub const PROTOCOL: u8 = 110;

/// The protocol number of routes of DHCP leases (`RTPROT_DHCP`).
pub const DHCP_PROTOCOL: u8 = 16;

/// What is known of an address besides its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Whether the agent added it.
    pub owned: bool,
    /// When it expires, in seconds since the boot: a DHCP lease, or an address from router
    /// advertisements.
    pub until: Option<u64>,
    /// Whether an IPv4 address of the same subnet comes first: the kernel takes that one as source.
    pub secondary: bool,
    /// The kernel's message (`struct ifaddrmsg` and attributes), from which the address can be
    /// added again with everything that is not above.
    pub message: Vec<u8>,
}

impl Address {
    /// Whether it expires.
    pub const fn expires(&self) -> bool {
        self.until.is_some()
    }

    /// Whether it is of a DHCP lease of the agent.
    pub const fn is_leased(&self) -> bool {
        self.owned && self.expires()
    }
}

/// A unicast route over one device, in any table except that of local addresses. Routes that the
/// kernel adds for each address are not among them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// The device.
    pub device: IfName,
    /// The destination.
    pub to: Cidr,
    /// The gateway; `None`: the destination is on the link.
    pub via: Option<IpAddr>,
    /// The table.
    pub table: u32,
    /// The metric: of two routes with equal destinations, the lower one is used.
    pub metric: u32,
    /// Who added it.
    pub protocol: u8,
    /// The preferred source of a route that is only desired.
    pub source: Option<IpAddr>,
    /// The kernel's message (`struct rtmsg` and attributes), from which the route can be added
    /// again with everything that is not above; empty for a route that is only desired.
    pub message: Vec<u8>,
}

/// The main table (RT_TABLE_MAIN).
pub const MAIN_TABLE: u32 = 254;

impl Route {
    /// A route that is desired.
    pub fn desired(device: &IfName, to: Cidr, via: Option<IpAddr>) -> Self {
        Self {
            device: device.clone(),
            to,
            via,
            table: MAIN_TABLE,
            metric: 0,
            protocol: PROTOCOL,
            source: None,
            message: Vec::new(),
        }
    }

    /// Whether it is a default route.
    pub const fn is_default(&self) -> bool {
        self.to.prefix == 0
    }

    /// The destination of a default route, in the family of an address.
    pub const fn everywhere(family_of: IpAddr) -> Cidr {
        let address = match family_of {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Cidr { address, prefix: 0 }
    }

    /// Whether both lead to a destination by a gateway, whatever their devices.
    pub fn leads_as(&self, other: &Self) -> bool {
        (self.to, self.via, self.table) == (other.to, other.via, other.table)
    }

    /// The route over another device.
    #[must_use]
    pub fn over(&self, device: &IfName) -> Self {
        Self { device: device.clone(), ..self.clone() }
    }
}

/// As `ip route` takes it, without the device.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_default() {
            f.write_str("default")?;
        } else {
            self.to.fmt(f)?;
        }
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {}", self.device)?;
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if self.table != MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}
