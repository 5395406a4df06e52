//! Findings: each fact that an operator should know about the health of a part of the node.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::names::IfName;

/// The part of the node that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The node as a whole.
    Node,
    /// A cluster network: its bond, bridge, uplink and host interfaces.
    Segment(String),
    /// The port of a VM.
    Port(IfName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Segment(name) => write!(f, "segment {name}"),
            Self::Port(device) => write!(f, "port {device}"),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(' ') {
            None if text == "node" => Ok(Self::Node),
            Some(("segment", name)) => Ok(Self::Segment(name.to_owned())),
            Some(("port", device)) => device.parse().map(Self::Port),
            _ => Err(format!("{text:?} is not a subject")),
        }
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The state of a subject: that of its worst finding.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum State {
    /// As desired.
    #[default]
    Ready,
    /// Waits for a device, or for the operator's confirmation.
    Waiting,
    /// Works in part, or does not work.
    Degraded,
    /// This node cannot have it as it is desired.
    Refused,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "Ready",
            Self::Waiting => "Waiting",
            Self::Degraded => "Degraded",
            Self::Refused => "Refused",
        })
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Expected in normal operation.
    Info,
    /// Redundancy or a feature is lost, or the operator must decide.
    Warning,
    /// Something that is desired does not work. The rest of the node does.
    Error,
    /// Frames are lost, or the node is not as it was declared to be. The node is not ready.
    Critical,
}

impl Severity {
    /// Every severity.
    pub const ALL: [Self; 4] = [Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// The name: a value of the label `severity`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// Defines the codes with their names, states and severities.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $state:ident $severity:ident,)+) => {
        /// What was found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name: a value of the label `code`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The code of this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.name() == name)
            }

            /// The state of a subject that has no worse finding.
            pub const fn state(self) -> State {
                match self { $(Self::$variant => State::$state),+ }
            }

            /// How much it matters. A critical finding fails `/readyz`.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),+ }
            }
        }
    };
}

codes! {
    /// The first apply has not ended.
    FirstApply = "first-apply" Waiting Critical,
    /// Netlink or the datapath could not be read.
    LookFailed = "look-failed" Degraded Critical,
    /// The agent's loop does not answer: what is shown is old.
    NoAnswer = "no-answer" Ready Warning,
    /// The file could not be used when it was read last. The previous one stays in force.
    ReloadFailed = "reload-failed" Degraded Warning,
    /// The file asks for something that takes a restart of the agent.
    RestartNeeded = "restart-needed" Waiting Warning,
    /// The address of the metrics listener cannot be used.
    NotListening = "not-listening" Degraded Error,
    /// A file in which the agent keeps what it knows could not be read, and was set aside.
    StateDamaged = "state-damaged" Degraded Error,
    /// A file in which the agent keeps what it knows could not be written.
    StateNotWritten = "state-not-written" Degraded Warning,
    /// An item of a source contradicts another item, or asks for something that does not exist.
    Rejected = "rejected" Refused Error,
    /// This node cannot have the unit as it is desired.
    Refused = "refused" Refused Error,
    /// The change alters a link that carries the node, or ports that no source names lose VLANs.
    ConfirmationNeeded = "confirmation-needed" Waiting Warning,
    /// A change that can cut the node off was carried out, and waits for its confirmation.
    OnTrial = "on-trial" Waiting Warning,
    /// The file was not confirmed in time, and what it changed was rolled back.
    RolledBack = "rolled-back" Degraded Error,
    /// The operator has released a cluster network or a port that a source names.
    Released = "released" Ready Info,
    /// The device of a port does not exist yet.
    DeviceMissing = "device-missing" Waiting Info,
    /// A NIC does not exist.
    NicMissing = "nic-missing" Degraded Error,
    /// A source names a device by an alternative name, which stands for no device here.
    AlternativeName = "alternative-name" Degraded Error,
    /// A NIC belongs to a bond or bridge that is not ours.
    NicInUse = "nic-in-use" Degraded Error,
    /// A bond's member has no link.
    MemberDown = "member-down" Degraded Warning,
    /// The switch does not answer LACP.
    LacpNoPartner = "lacp-no-partner" Degraded Error,
    /// Members are in different aggregators.
    LacpSplit = "lacp-split" Degraded Warning,
    /// No uplink member is present and up, or the uplink is not on its bridge.
    SegmentDown = "segment-down" Degraded Critical,
    /// A port that is present lacks a program.
    ProgramMissing = "program-missing" Degraded Critical,
    /// A program of others runs before one of ours, and may let frames pass unfiltered.
    NotFirst = "not-first" Degraded Critical,
    /// A port that is present lacks a VLAN on its bridge.
    VlanMissing = "vlan-missing" Degraded Critical,
    /// The port of a VM is present and not on its bridge.
    NotOnBridge = "not-on-bridge" Degraded Error,
    /// A step of the unit failed.
    StepFailed = "step-failed" Degraded Error,
    /// The unit was applied, and differs from what is desired again.
    Unsettled = "unsettled" Degraded Error,
    /// The unit waits for another unit that was not carried out.
    Blocked = "blocked" Waiting Warning,
    /// An interface of the node has no DHCP lease yet.
    LeaseMissing = "lease-missing" Waiting Info,
    /// The DHCP lease of an interface of the node has expired, or the server has refused it.
    LeaseLost = "lease-lost" Degraded Error,
    /// The MTU of a port is below that of its network.
    MtuLow = "mtu-low" Ready Warning,
    /// The MTU that a source asks for exceeds that of the network or bridge, or a QinQ port has no
    /// room for the customer's tag.
    MtuHigh = "mtu-high" Ready Warning,
    /// `fastPath: xdp` is not possible. The TC fast path is used.
    XdpUnavailable = "xdp-unavailable" Ready Info,
    /// The peer of a NIC can hide VLAN tags from XDP, and the node cannot see whether it does.
    PeerHidesTags = "peer-hides-tags" Ready Warning,
    /// A bond replaces the source MAC address of VMs' frames.
    MacRewrite = "mac-rewrite" Ready Warning,
    /// The node has no address on the link of a target of a bond's ARP check.
    ArpTarget = "arp-target" Ready Warning,
    /// Others have rules on a port. Its frames take a path on which these work.
    RulesOfOthers = "rules-of-others" Ready Info,
    /// A device that no source names is a port of one of our bridges.
    UnmanagedPort = "unmanaged-port" Ready Warning,
    /// A device matches a pattern, which leaves it alone.
    LeftAlone = "left-alone" Ready Info,
    /// A VM may speak LLDP with the switch, and the bridge cannot forward it.
    LinkLocalKept = "link-local-kept" Ready Info,
    /// The port of a VM was set down after it was plugged in, and stays down.
    PortDown = "port-down" Ready Info,
    /// A port stays silent until its VM runs here.
    Silent = "silent" Ready Info,
    /// A bridge port has an address of its own.
    AddressOnPort = "address-on-port" Ready Warning,
    /// A bridge snoops multicast in all VLANs as one: a VM can end it in other VLANs than its own.
    SharedSnooping = "shared-snooping" Ready Warning,
    /// Another manager, such as NetworkManager, manages a device of a source as well.
    OtherManager = "other-manager" Ready Warning,
    /// A device was renamed since it got its policy.
    Renamed = "renamed" Waiting Warning,
}

impl Code {
    /// Whether it is about the state of a bond or a NIC.
    pub const fn is_of_a_nic(self) -> bool {
        let is_of_bond = matches!(self, Self::MemberDown | Self::LacpNoPartner | Self::LacpSplit);
        is_of_bond || matches!(self, Self::NicMissing | Self::NicInUse)
    }

    /// Whether it depends on cables and switches, which may need time after an apply, and not on
    /// the apply.
    pub const fn depends_on_the_wire(self) -> bool {
        matches!(self, Self::MemberDown | Self::LacpNoPartner | Self::LacpSplit | Self::SegmentDown)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| D::Error::custom(format!("unknown code {name:?}")))
    }
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The part of the node: `node`, `segment NAME` or `port DEVICE`.
    #[schemars(with = "String")]
    pub subject: Subject,
    /// What was found, as one word.
    #[schemars(with = "String")]
    pub code: Code,
    /// One line that names the device and the fact.
    pub text: String,
    /// What the operator can do; empty where nothing is to be done.
    pub remedy: String,
}

impl Finding {
    /// A finding.
    pub fn new(
        subject: Subject,
        code: Code,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { subject, code, text: text.into(), remedy: remedy.into() }
    }

    /// Whether the subject is not as desired. A device that does not exist yet is not a fault.
    pub fn is_unwell(&self) -> bool {
        self.code.state() != State::Ready && self.code.severity() > Severity::Info
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, ": {}", self.remedy) }
    }
}
