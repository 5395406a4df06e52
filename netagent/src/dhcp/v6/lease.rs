//! A lease of one address.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::duid::Duid;

/// A lease. Times are in seconds since the boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: Ipv6Addr,
    /// The server.
    pub server: Duid,
    /// When this server is asked to extend it (T1).
    pub renew: u64,
    /// When every server is asked (T2).
    pub rebind: u64,
    /// Until when new connections use the address.
    pub preferred: u64,
    /// When it ends.
    pub until: u64,
}

impl Lease {
    /// The lease with its times moved by this number of seconds: those of another boot.
    #[must_use]
    pub const fn moved(mut self, seconds: i64) -> Self {
        self.renew = self.renew.saturating_add_signed(seconds);
        self.rebind = self.rebind.saturating_add_signed(seconds);
        self.preferred = self.preferred.saturating_add_signed(seconds);
        self.until = self.until.saturating_add_signed(seconds);
        self
    }
}
