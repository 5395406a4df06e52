//! Permanent neighbours.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::names::{IfName, Mac};

/// A neighbour whose MAC address was set by hand, and is never asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Neighbour {
    /// The device.
    pub device: IfName,
    /// Its IP address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: Mac,
}

impl Neighbour {
    /// The neighbour over another device.
    #[must_use]
    pub fn over(&self, device: &IfName) -> Self {
        Self { device: device.clone(), ..self.clone() }
    }
}

/// As `ip neighbour` takes it.
impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, address, mac } = self;
        write!(f, "{address} lladdr {mac} dev {device}")
    }
}
