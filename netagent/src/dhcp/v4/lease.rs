//! A lease: what a server gives, and until when.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::names::Cidr;

/// A lease. Times are in seconds since the boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: Cidr,
    /// The server.
    pub server: Ipv4Addr,
    /// When this server is asked to extend it (T1).
    pub renew: u64,
    /// When every server is asked (T2).
    pub rebind: u64,
    /// When it ends.
    pub until: u64,
    /// The routes: destinations and gateways.
    pub routes: Vec<(Cidr, Option<Ipv4Addr>)>,
    /// The MTU in bytes, which is reported only.
    pub mtu: Option<u16>,
    /// The NTP servers, which are reported only.
    pub ntp: Vec<Ipv4Addr>,
    /// An address of an earlier DHCP client, which this one replaces.
    pub replaces: Option<Cidr>,
}

impl Lease {
    /// The address without its prefix length.
    pub const fn ip(&self) -> Ipv4Addr {
        match self.address.address {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// The lease with its times moved by this number of seconds: those of another boot.
    #[must_use]
    pub const fn moved(mut self, seconds: i64) -> Self {
        self.renew = self.renew.saturating_add_signed(seconds);
        self.rebind = self.rebind.saturating_add_signed(seconds);
        self.until = self.until.saturating_add_signed(seconds);
        self
    }
}
