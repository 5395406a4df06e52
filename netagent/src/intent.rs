//! Intent: the desired state as its sources ask for it, and the checks between its items.
//!
//! A source (the configuration file, the control socket) gives an [`Intent`] of plain values.
//! [`compile`] judges the items one by one, in the order of the sources. An accepted item becomes
//! part of the [`Desired`] state. A rejected item changes nothing: neither the items before it
//! nor the items after it.

mod arp_targets;
mod bond;
mod claims;
mod devices;
mod host;
mod items;
mod judge;
mod lease;
mod mtu;
mod network;
mod node;
mod origin;
mod patterns;
mod problem;
mod qinq;
mod released;
mod room;
mod security;
mod segment;
#[cfg(test)]
mod tests;

pub use self::{
    devices::Devices,
    items::{
        BondIntent, HostIntent, LeaseIntent, Native, NetworkIntent, PatternIntent, PortIntent,
        RouteIntent, SecurityIntent, SegmentIntent, StormIntent, Tpid, UplinkIntent,
    },
    origin::{Item, Origin},
    patterns::matching,
    problem::Rejected,
    released::Released,
};
pub(crate) use self::{
    items::{MAC_LIMIT, MTU, RATE},
    judge::{Judgement, judge},
    problem::{Rejection, Site},
};
use crate::state::{Desired, Finding};

/// All items of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// Cluster networks.
    pub segments: Vec<Sourced<SegmentIntent>>,
    /// Networks.
    pub networks: Vec<Sourced<NetworkIntent>>,
    /// VM ports.
    pub ports: Vec<Sourced<PortIntent>>,
    /// Ports of the devices that match.
    pub patterns: Vec<Sourced<PatternIntent>>,
    /// Patterns whose cluster network is released. A device that matches has no port.
    pub released_patterns: Vec<PatternIntent>,
    /// The node's own interfaces.
    pub hosts: Vec<Sourced<HostIntent>>,
    /// DHCP leases of these interfaces.
    pub leases: Vec<Sourced<LeaseIntent>>,
    /// Cluster networks whose bridge interface is promiscuous.
    pub promiscuous: Vec<Sourced<String>>,
}

/// An item and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The origin.
    pub origin: Origin,
    /// The item.
    pub value: T,
}

impl Intent {
    /// One port from the control socket.
    pub fn port(origin: Origin, port: PortIntent) -> Self {
        Self { ports: vec![Sourced { origin, value: port }], ..Self::default() }
    }
}

/// The desired state, and the items that are not part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// The accepted items.
    pub desired: Desired,
    /// The rejected items, in the order of their sources.
    pub rejected: Vec<Rejected>,
    /// The devices that match a pattern and that it leaves alone.
    pub left_alone: Vec<Finding>,
}

/// Judges all items. An item may refer to items of its own source and of the sources before it.
/// When two sources claim one device or one name, the later source's item is rejected.
///
/// `devices` are those of the node that match a pattern. One that a source names is not theirs.
pub fn compile(intents: &[Intent], devices: &Devices) -> Compiled {
    let Judgement { desired, rejections, left_alone } = judge(intents, devices);
    Compiled { desired, rejected: rejections.into_iter().map(Rejected::from).collect(), left_alone }
}
