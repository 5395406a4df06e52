//! The devices of a node, as patterns see them: which a pattern takes, and why it leaves others
//! alone.

use std::{collections::BTreeMap, fmt};

use super::{PatternIntent, Sourced};
use crate::{
    names::{IfName, Mac},
    state::{Kind, Link, Observed, ObservedDatapath},
};

/// The kinds of devices that VMs have on a node.
const KINDS_OF_VMS: [&str; 2] = ["tun", "veth"];

/// The devices that match a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices(BTreeMap<IfName, Candidate>);

/// A device that matches a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What keeps a pattern from it.
    pub obstacle: Option<Obstacle>,
    /// The bond or bridge that it belongs to.
    pub controller: Option<IfName>,
}

/// What keeps a pattern from a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is no device of a VM. Has the noun of its kind.
    Kind(String),
    /// It has addresses or routes, or a link above it has.
    CarriesTheNode,
    /// It belongs to another bond or bridge.
    Controller(IfName),
    /// It is down. Who makes a device for a VM sets it up when it is complete: libvirt puts its tap
    /// on the bridge of the domain before that.
    Down,
}

impl Obstacle {
    /// What an operator can do.
    pub fn remedy(&self, device: &IfName) -> String {
        match self {
            Self::Kind(_) => "narrow the pattern".to_owned(),
            Self::CarriesTheNode | Self::Controller(_) => {
                format!(
                    "name {device} in `ports` if it is a port of netagent, or narrow the pattern"
                )
            }
            Self::Down => format!("ip link set {device} up"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(noun) => write!(f, "is {noun}, not a tap or veth of a VM"),
            Self::CarriesTheNode => f.write_str("has addresses or routes of the node"),
            Self::Controller(name) => write!(f, "belongs to {name}"),
            Self::Down => f.write_str("is down"),
        }
    }
}

impl Devices {
    /// The devices of a node that match one of these patterns. A device that is a port already
    /// stays one, whatever happens to it.
    pub fn matching(
        patterns: &[Sourced<PatternIntent>],
        links: &Observed,
        datapath: &ObservedDatapath,
    ) -> Self {
        let is_matched =
            |name: &IfName| patterns.iter().any(|pattern| pattern.value.device.matches(name));
        let matched = links.links.iter().filter(|(name, _)| is_matched(name));
        let candidate = |(name, link): (&IfName, &Link)| {
            let port = datapath.ports.get(name).filter(|port| port.ifindex == link.index);
            let is_port = port.is_some_and(|port| port.policy.mode() != "uplink");
            let candidate = if is_port {
                Candidate { obstacle: None, controller: None }
            } else {
                Candidate {
                    obstacle: obstacle(name, link, links),
                    controller: link.controller.clone(),
                }
            };
            (name.clone(), candidate)
        };
        Self(matched.map(candidate).collect())
    }

    /// All but those of which a condition holds.
    #[must_use]
    pub fn without(&self, is_out: impl Fn(&IfName) -> bool) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| !is_out(name))
                .map(|(name, it)| (name.clone(), it.clone()))
                .collect(),
        )
    }

    /// Each with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&IfName, &Candidate)> {
        self.0.iter()
    }
}

fn obstacle(name: &IfName, link: &Link, links: &Observed) -> Option<Obstacle> {
    let kind = match &link.kind {
        Kind::Bond(_) => Some("a bond".to_owned()),
        Kind::Bridge(_) => Some("a bridge".to_owned()),
        Kind::Vlan { .. } => Some("a VLAN interface".to_owned()),
        Kind::Other(kind) if kind.is_empty() => Some("a NIC".to_owned()),
        Kind::Other(kind) if !KINDS_OF_VMS.contains(&kind.as_str()) => {
            Some(format!("a device of kind {kind}"))
        }
        Kind::Other(_) if link.mac == Mac([0; 6]) => Some("a tunnel without Ethernet".to_owned()),
        Kind::Other(_) => None,
    };
    match kind {
        Some(noun) => Some(Obstacle::Kind(noun)),
        None if links.is_lived_on(name) => Some(Obstacle::CarriesTheNode),
        None if !link.up => Some(Obstacle::Down),
        None => None,
    }
}
