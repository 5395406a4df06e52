//! What one configuration file asks for.

use std::collections::{BTreeMap, BTreeSet};

use netagent_common::vlan::Vid;

use super::Hook;
use crate::{
    bond::BondOption,
    names::{Cidr, IfName, Mac},
    vids::VidSet,
};

/// What one configuration file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Bonds by name.
    pub bonds: BTreeMap<IfName, Bond>,
    /// Bridges by name.
    pub bridges: BTreeMap<IfName, Bridge>,
    /// The node's own interfaces: a VLAN interface on a bridge, or the bridge itself.
    pub hosts: BTreeMap<IfName, Host>,
    /// Bridge ports by device: uplinks and VM ports.
    pub ports: BTreeMap<IfName, Port>,
    /// Links that carry the node itself: changed only where the operator names them.
    pub protected: BTreeSet<IfName>,
}

/// A bond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bond {
    /// Its NICs.
    pub members: BTreeSet<IfName>,
    /// The options that the file sets, and the defaults that differ from the kernel's; in the order in which they must be set.
    pub options: Vec<BondOption>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// Packets.
    pub txqlen: Option<u32>,
    /// Fixed address; else the bond takes its first member's.
    pub mac: Option<Mac>,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The name of its cluster network.
    pub segment: String,
    /// Whether the kernel's own VLAN filter is on.
    pub filtering: Filtering,
    /// Bytes.
    pub mtu: Option<u32>,
    /// The device whose address the bridge keeps: its uplink. Without one it keeps what it was born with.
    pub mac_of: Option<IfName>,
}

/// Whether a bridge filters VLANs itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// Where the kernel can.
    Auto,
    /// Yes; an error where the kernel cannot.
    On,
    /// No: eBPF alone keeps VLANs apart.
    Off,
}

/// An interface of the node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The bridge beneath.
    pub bridge: IfName,
    /// The VLAN.
    pub vid: Vid,
    /// Tagged: a VLAN interface `<bridge>.<vid>`. Untagged: the bridge itself has the address.
    pub tagged: bool,
    /// Its addresses; others of global scope are removed.
    pub addresses: BTreeSet<Cidr>,
}

/// A bridge port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The source of the port, such as "node.yaml:12:5" or "control socket".
    pub origin: String,
    /// The bridge.
    pub bridge: IfName,
    /// What the port is plugged into: a network, or for an uplink a cluster network.
    pub network: String,
    /// What kind of port.
    pub role: Role,
    /// The VID of untagged frames.
    pub pvid: Option<Vid>,
    /// Whether frames of the PVID leave with their tag.
    pub pvid_tagged: bool,
    /// The allow-list, with the PVID.
    pub vids: VidSet,
    /// Which frames may come in.
    pub admit: Admit,
    /// Whether the VM's untagged frames show their priority.
    pub priority_tags: PriorityTags,
    /// Of a QinQ port: the customer's VIDs. Its `vids` has the service VLAN.
    pub customer_vids: VidSet,
    /// Of an uplink: the VLANs whose outer tag on the wire is an S-tag.
    pub services: VidSet,
    /// What is checked of the VM's frames besides their VLAN.
    pub security: Security,
    /// Which way known unicast goes to it; of an uplink: the fastest of its ports'.
    pub fast_path: FastPath,
    /// MTU in bytes; `None`: unchanged.
    pub mtu: Option<u32>,
    /// MTU of the cluster network in bytes; `None`: unknown before the NIC is looked at.
    pub network_mtu: Option<u32>,
}

/// What a port is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Towards the wire.
    Uplink {
        /// The NICs beneath: the bond's members, or the device itself.
        nics: BTreeSet<IfName>,
        /// Whether XDP is to be on it, where it can.
        xdp: bool,
    },
    /// A VM in one VLAN.
    Access,
    /// A VM in several.
    Trunk,
    /// A customer whose VLANs travel inside one of ours (IEEE 802.1ad, QinQ, dot1q-tunnel).
    Tunnel,
}

impl Role {
    /// The programs that such a port must have. XDP on an uplink comes on top, where it can.
    pub const fn hooks(&self) -> &'static [Hook] {
        match self {
            Self::Uplink { .. } => &[Hook::UplinkIn, Hook::UplinkOut],
            Self::Access | Self::Trunk | Self::Tunnel => &[Hook::PortIn, Hook::PortOut],
        }
    }
}

impl Port {
    /// Whether frames of the PVID leave a VLAN-aware bridge untagged. A tag that shows the priority is made of theirs.
    pub fn bridge_untags(&self) -> bool {
        self.pvid.is_some() && !self.pvid_tagged && self.priority_tags == PriorityTags::Never
    }
}

/// Whether frames of the PVID reach the VM with a priority tag (VID 0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PriorityTags {
    /// No: PCP and DEI end here.
    #[default]
    Never,
    /// Those that have a priority.
    IfNonzero,
    /// All.
    Always,
}

/// What a port checks of a VM's frames besides their VLAN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as in the file")]
pub struct Security {
    /// The only addresses that the VM may use; empty: any.
    pub macs: BTreeSet<Mac>,
    /// Most addresses that the VM may use.
    pub max_macs: Option<u16>,
    /// The VM may be no DHCP server.
    pub dhcp_guard: bool,
    /// The VM may be no IPv6 router.
    pub ra_guard: bool,
    /// The VM talks to the uplink only.
    pub isolated: bool,
    /// The node hears the VM's LLDP and the like.
    pub allow_link_local: bool,
    /// Limits in frames per second.
    pub storm: Storm,
}

/// Frames per second that a VM may send; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storm {
    /// To all.
    pub broadcast: u32,
    /// To groups.
    pub multicast: u32,
    /// To stations that the bridge does not know.
    pub unknown: u32,
}

/// How known unicast goes between the ports of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FastPath {
    /// By the bridge.
    Off,
    /// Past the bridge, by TC redirect.
    #[default]
    Tc,
    /// From the uplink by XDP redirect, else as by TC.
    Xdp,
}

/// Acceptable frame types (IEEE 802.1Q-2022 §6.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// All frames.
    All,
    /// Tagged frames only.
    Tagged,
    /// Untagged and priority-tagged frames only.
    UntaggedAndPriority,
}

impl Admit {
    /// The 802.1Q name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Tagged => "tagged",
            Self::UntaggedAndPriority => "untagged-and-priority",
        }
    }
}
