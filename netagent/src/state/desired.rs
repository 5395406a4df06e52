//! The desired state of the node.

use std::collections::{BTreeMap, BTreeSet};

use netagent_common::vlan::Vid;
use serde::{Deserialize, Serialize};

use super::{Dhcp, Hook, Lease, PodInterface, Route, Snooping, Subject};
use crate::{
    bond::BondOption,
    names::{Addresses, Cidr, Family, IfName, Mac},
    vids::VidSet,
};

/// The desired state of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Bonds by name.
    pub bonds: BTreeMap<IfName, Bond>,
    /// Bridges by name.
    pub bridges: BTreeMap<IfName, Bridge>,
    /// The node's own interfaces: VLAN interfaces on bridges, or bridges themselves.
    pub hosts: BTreeMap<IfName, Host>,
    /// Leases of interfaces that no longer get them by DHCP. They are extended as long as their
    /// address is there: its removal may wait for confirmation.
    pub former_leases: Vec<(IfName, Lease)>,
    /// Bridge ports by device: uplinks and VM ports.
    pub ports: BTreeMap<IfName, Port>,
    /// Links that carry the node itself. They change only if the operator names them.
    pub protected: BTreeSet<IfName>,
    /// Ports that a source asks for and that are not in `ports`, as they contradict something: that
    /// one of another source may have the device.
    pub rejected_ports: Vec<RejectedPort>,
    /// Ports may be missing here, as a source was damaged: those that are plugged in stay.
    pub keep_former_ports: bool,
}

impl Desired {
    /// The part of the node that findings about a bridge belong to: its segment.
    pub fn segment_of(&self, bridge: &IfName) -> Subject {
        match self.bridges.get(bridge) {
            Some(bridge) => Subject::Segment(bridge.segment.clone()),
            None => Subject::Node,
        }
    }

    /// Whether a device is part of the desired state.
    pub fn mentions(&self, name: &IfName) -> bool {
        let is_nic = |port: &Port| match &port.role {
            Role::Uplink { nics, .. } => nics.contains(name),
            Role::Access | Role::Trunk | Role::Tunnel => false,
        };
        self.bonds.contains_key(name)
            || self.bonds.values().any(|bond| bond.members.contains(name))
            || self.bridges.contains_key(name)
            || self.hosts.contains_key(name)
            || self.ports.contains_key(name)
            || self.ports.values().any(is_nic)
    }

    /// The part of the node that findings about a port belong to: an uplink is a part of its
    /// segment.
    pub fn subject_of(&self, name: &IfName, port: &Port) -> Subject {
        match port.role {
            Role::Uplink { .. } => self.segment_of(&port.bridge),
            Role::Access | Role::Trunk | Role::Tunnel => Subject::Port(name.clone()),
        }
    }
}

/// A port that contradicts something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedPort {
    /// The device.
    pub device: IfName,
    /// The network.
    pub network: String,
    /// The source that names the port.
    pub origin: String,
    /// Why it is rejected: the text of the finding.
    pub text: String,
}

/// A bond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bond {
    /// The NICs.
    pub members: BTreeSet<IfName>,
    /// The given options, and defaults that differ from the kernel's, in the order in which the
    /// kernel accepts them.
    pub options: Vec<BondOption>,
    /// MTU in bytes; `None`: the default, see `plan::mtu`.
    pub mtu: Option<u32>,
    /// Length of the transmit queue in packets; `None`: unchanged.
    pub txqlen: Option<u32>,
    /// Fixed MAC address; `None`: that of the first member.
    pub mac: Option<Mac>,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The name of its cluster network.
    pub segment: String,
    /// Whether the kernel's own VLAN filter is on.
    pub filtering: Filtering,
    /// IGMP and MLD snooping; `None`: off on a bridge of the agent, unchanged on any other.
    pub snooping: Option<Snooping>,
    /// MTU in bytes; `None`: the default, see `plan::mtu`.
    pub mtu: Option<u32>,
    /// The native VLAN, untagged on the wire; `None`: there is none.
    pub native: Option<Vid>,
    /// The device whose MAC address the bridge has. Without an uplink the bridge keeps its first
    /// address.
    pub mac_of: Option<IfName>,
    /// Whether the bridge interface is promiscuous. If not, it is left as it is.
    pub promiscuous: bool,
}

/// Whether the kernel's VLAN filter of a bridge is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// On a bridge of the agent: if the kernel supports it. On any other bridge: as it was found.
    Auto,
    /// Yes. It is an error if the kernel does not support it.
    On,
    /// No: eBPF alone filters VLANs.
    Off,
}

/// An interface of the node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The bridge of the interface.
    pub bridge: IfName,
    /// The VLAN.
    pub vid: Vid,
    /// Whether the interface is the VLAN interface `<bridge>.<vid>`. Otherwise it is the bridge
    /// itself.
    pub tagged: bool,
    /// MTU in bytes; `None`: that of the bridge.
    pub mtu: Option<u32>,
    /// The addresses.
    pub addresses: BTreeSet<Cidr>,
    /// The routes over the interface.
    pub routes: BTreeSet<Route>,
    /// The metric of the default routes; `None`: any.
    pub metric: Option<u32>,
    /// The leases of the families of which the interface gets an address by DHCP.
    pub dhcp: BTreeMap<Family, Dhcp>,
    /// Whether router advertisements are accepted; `None`: unchanged.
    pub accept_ra: Option<bool>,
    /// Whether addresses of others stay.
    pub keep_foreign: bool,
}

/// A bridge port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The source of the port, such as "node.yaml:12:5" or "control socket".
    pub origin: String,
    /// The bridge.
    pub bridge: IfName,
    /// The network of a VM port, or the cluster network of an uplink.
    pub network: String,
    /// The kind of port.
    pub role: Role,
    /// The VID of untagged frames.
    pub pvid: Option<Vid>,
    /// Whether frames of the PVID leave with their tag.
    pub pvid_tagged: bool,
    /// The allow-list, with the PVID.
    pub vids: VidSet,
    /// Acceptable frame types.
    pub admit: Admit,
    /// Whether untagged frames show their priority to the VM.
    pub priority_tags: PriorityTags,
    /// The customer's VIDs on a QinQ port, whose `vids` has the service VLAN.
    pub customer_vids: VidSet,
    /// The VLANs of an uplink whose outer tag on the wire is an S-tag.
    pub services: VidSet,
    /// Checks of the VM's frames besides their VLAN.
    pub security: Security,
    /// The path of known unicast frames to the port. An uplink has the fastest of its networks.
    pub fast_path: FastPath,
    /// MTU in bytes; `None`: the default, see `plan::mtu`.
    pub mtu: Option<u32>,
    /// Whether the bridge sends frames back to the port that they came from; `None`: unchanged.
    pub hairpin: Option<bool>,
    /// Whether the bridge keeps frames from other ports with this flag away; `None`: unchanged.
    pub port_isolation: Option<bool>,
    /// Whether the port stays silent until its VM sends frames of its own, or the agent is told.
    pub silent: bool,
    /// The pod, if a container runtime asks for the port.
    pub pod: Option<PodInterface>,
}

/// The kind of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The way to the wire.
    Uplink {
        /// The bond's members, or the device itself.
        nics: BTreeSet<IfName>,
        /// Whether it gets an XDP program if the device supports it.
        xdp: bool,
    },
    /// A VM in one VLAN.
    Access,
    /// A VM in several VLANs.
    Trunk,
    /// A customer whose VLANs are inside a service VLAN (IEEE 802.1ad, QinQ, dot1q-tunnel).
    Tunnel,
}

impl Role {
    /// The programs that the port must have. The XDP program of an uplink is optional.
    pub const fn hooks(&self) -> &'static [Hook] {
        match self {
            Self::Uplink { .. } => &[Hook::UplinkIn, Hook::UplinkOut],
            Self::Access | Self::Trunk | Self::Tunnel => &[Hook::PortIn, Hook::PortOut],
        }
    }
}

impl Port {
    /// Whether frames of the PVID leave a VLAN-aware bridge untagged. The programs need the tag to
    /// show its priority.
    pub fn bridge_untags(&self) -> bool {
        self.pvid.is_some() && !self.pvid_tagged && self.priority_tags == PriorityTags::Never
    }
}

/// Whether frames of the PVID reach the VM with a priority tag (VID 0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PriorityTags {
    /// Never: PCP and DEI are dropped.
    #[default]
    Never,
    /// Frames with a priority.
    IfNonzero,
    /// All frames.
    Always,
}

/// Checks of a VM's frames besides their VLAN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as in the file")]
pub struct Security {
    /// The only addresses that the VM may use; empty: any.
    pub macs: BTreeSet<Mac>,
    /// The only IP addresses that the VM may use; empty: any.
    pub addresses: BTreeSet<Addresses>,
    /// Maximum number of addresses that the VM may use.
    pub max_macs: Option<u16>,
    /// Frames that only a DHCP or DHCPv6 server sends are dropped.
    pub dhcp_guard: bool,
    /// IPv6 router advertisements and redirects are dropped.
    pub ra_guard: bool,
    /// IGMP and MLD queries are dropped.
    pub querier_guard: bool,
    /// The VM reaches only the uplink and the node.
    pub isolated: bool,
    /// The VM speaks LLDP with the switch, and the node receives its other link-local frames.
    pub allow_link_local: bool,
    /// Limits of flooded frames.
    pub storm: Storm,
}

/// Maximum frames per second that a VM may send; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storm {
    /// Broadcast frames.
    pub broadcast: u32,
    /// Multicast frames.
    pub multicast: u32,
    /// Unicast frames to stations that the bridge does not know.
    pub unknown: u32,
}

/// The path of known unicast frames between the ports of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FastPath {
    /// Through the bridge.
    Off,
    /// TC redirect, which bypasses the bridge.
    #[default]
    Tc,
    /// XDP redirect from the uplink, and TC redirect otherwise.
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
