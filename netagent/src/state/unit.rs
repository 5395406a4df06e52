//! The units of a plan: parts of the node that are changed, fail and recover independently.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::{Family, IfName};

/// The identity of a unit: the kind, and the device that it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitId {
    /// The kind of unit.
    pub part: Part,
    /// The device.
    pub device: IfName,
}

/// The kinds of units, in the order in which they are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// A bridge that netagent did not create and that is not desired any more.
    FormerBridge,
    /// A port that has a policy and is not desired any more.
    FormerPort,
    /// A link that the agent created and that is not desired any more.
    FormerLink,
    /// A NIC that leaves a bond.
    FormerMember,
    /// A device that netagent did not create and that is not desired any more: its attributes.
    GivenBack,
    /// A bond with its members.
    Bond,
    /// A bridge.
    Bridge,
    /// The VLANs of a bridge itself, as the node's own port.
    OwnVlans,
    /// An interface of the node itself.
    Host,
    /// A bridge port: an uplink or the port of a VM.
    Port,
    /// A NIC that the node lives on and that joins a bond.
    Takeover,
    /// The DHCP lease of an interface of the node.
    Lease(Family),
    /// The VLAN filter of a bridge that exists: switched after its ports have their VLANs.
    Filtering,
    /// VLANs that a bridge itself no longer needs.
    FormerVlans,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::FormerBridge => "former bridge",
            Self::FormerPort => "former port",
            Self::FormerLink => "former link",
            Self::FormerMember => "former member",
            Self::GivenBack => "former device",
            Self::Bond => "bond",
            Self::Bridge => "bridge",
            Self::Port => "port",
            Self::OwnVlans => "own VLANs of",
            Self::Takeover => "takeover of",
            Self::FormerVlans => "former VLANs of",
            Self::Lease(Family::V4) => "lease of",
            Self::Lease(Family::V6) => "DHCPv6 lease of",
            Self::Host => "host interface",
            Self::Filtering => "VLAN filter of",
        }
    }
}

impl UnitId {
    /// A unit.
    pub fn new(part: Part, device: &IfName) -> Self {
        Self { part, device: device.clone() }
    }
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.part.name(), self.device)
    }
}
