//! What netlink and the datapath say of the node.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use netagent_common::vlan::Vid;

use super::{Hook, OWNED, PortPolicy};
use crate::{
    bond::{BondOption, Mode},
    names::{Cidr, IfName, Mac},
};

/// What the datapath says of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedDatapath {
    /// Ports that have a policy.
    pub ports: BTreeMap<IfName, ObservedPort>,
    /// Whether a NIC takes tags out of the frames that it receives (`ethtool -k`: rx-vlan-offload).
    pub rx_vlan: BTreeMap<IfName, bool>,
    /// What `bpf_redirect_peer` delivers is counted by the device that receives it (6.7, commit 024ee930cb3c).
    pub counted_peers: bool,
    /// Programs can push a tag over another (6.12, commit 938863727076).
    pub stacked_tags: bool,
}

/// What the datapath says of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedPort {
    /// The interface index that the policy is for.
    pub ifindex: u32,
    /// The policy.
    pub policy: PortPolicy,
    /// Programs that are attached to this device and are this agent's current ones for this policy.
    pub attached: BTreeSet<Hook>,
    /// Programs that are attached to this device and are of another build, or for another policy.
    pub outdated: BTreeSet<Hook>,
    /// The device took no XDP program when it was tried with these NICs.
    pub xdp_refused: bool,
}

/// What netlink says of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Links by name.
    pub links: BTreeMap<IfName, Link>,
    /// Devices of default routes: the node's way out.
    pub default_routes: BTreeSet<IfName>,
    /// What this kernel has.
    pub kernel: Kernel,
}

/// Optional parts of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
pub struct Kernel {
    /// CONFIG_BONDING
    pub bonding: bool,
    /// CONFIG_VLAN_8021Q
    pub vlan_devices: bool,
    /// CONFIG_BRIDGE
    pub bridge: bool,
    /// CONFIG_BRIDGE_VLAN_FILTERING
    pub vlan_filtering: bool,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Administratively up (IFF_UP).
    pub up: bool,
    /// Operationally up (IFF_LOWER_UP): has a carrier.
    pub carrier: bool,
    /// Bytes.
    pub mtu: u32,
    /// Packets.
    pub txqlen: u32,
    /// Address; all zero for a link that has none.
    pub mac: Mac,
    /// The bond or bridge that it belongs to.
    pub controller: Option<IfName>,
    /// `ip link set DEV alias`: [`OWNED`] for our own.
    pub alias: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Addresses of global scope, without those that IPv6 makes from router advertisements.
    pub addresses: BTreeSet<Cidr>,
    /// The bridge's VLANs on this port (or, for a bridge, its own: `bridge vlan add ... self`).
    pub vlans: BTreeMap<Vid, VlanFlags>,
    /// State as a bond's member.
    pub member: Option<Member>,
    /// Transmits what XDP redirects to it (NETDEV_XDP_ACT_NDO_XMIT).
    pub takes_xdp_frames: bool,
    /// One end of a veth pair whose other end is in another namespace, and which sends without a queue.
    pub leads_elsewhere: bool,
}

/// What a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bond.
    Bond(BondState),
    /// A bridge.
    Bridge(BridgeState),
    /// An 802.1Q VLAN interface.
    Vlan {
        /// The link beneath, if it is in this namespace.
        parent: Option<IfName>,
        /// Its VID.
        vid: Vid,
    },
    /// Anything else: the kernel's word for it ("veth", "tun", ...), empty for hardware.
    Other(String),
}

/// What the kernel says of a bond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BondState {
    /// Every option that it reports.
    pub options: Vec<BondOption>,
    /// The member in use, in the modes that use one.
    pub active: Option<IfName>,
    /// 802.3ad: the switch's system MAC; zero until it answers.
    pub partner: Option<Mac>,
    /// 802.3ad: members in the aggregator in use.
    pub aggregated: Option<u16>,
}

/// What the kernel says of a bond's member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// MII status is up.
    pub mii_up: bool,
    /// Carries traffic (`BOND_STATE_ACTIVE`), rather than standing by.
    pub active: bool,
    /// Times that the link failed.
    pub failures: u32,
    /// 802.3ad: aggregator that it is in.
    pub aggregator: Option<u16>,
}

/// What the kernel says of a bridge. `None` where the kernel does not have the attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeState {
    /// `vlan_filtering`
    pub vlan_filtering: Option<bool>,
    /// `vlan_default_pvid`
    pub default_pvid: Option<u16>,
}

/// Flags of a VLAN on a bridge port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VlanFlags {
    /// Untagged frames get this VID.
    pub pvid: bool,
    /// Frames leave without the tag.
    pub untagged: bool,
}

impl fmt::Display for VlanFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.pvid { " pvid" } else { "" })?;
        f.write_str(if self.untagged { " untagged" } else { "" })
    }
}

impl Observed {
    /// A link by name.
    pub fn link(&self, name: &IfName) -> Option<&Link> {
        self.links.get(name)
    }

    /// The name of the link with this index.
    pub fn name(&self, index: u32) -> Option<&IfName> {
        self.links.iter().find(|(_, link)| link.index == index).map(|(name, _)| name)
    }

    /// The bonds.
    pub fn bonds(&self) -> impl Iterator<Item = (&IfName, &Link, &BondState)> {
        self.links.iter().filter_map(|(name, link)| match &link.kind {
            Kind::Bond(bond) => Some((name, link, bond)),
            Kind::Bridge(_) | Kind::Vlan { .. } | Kind::Other(_) => None,
        })
    }

    /// The links that belong to a bond or bridge.
    pub fn ports_of<'a>(
        &'a self,
        name: &'a IfName,
    ) -> impl Iterator<Item = (&'a IfName, &'a Link)> {
        self.links.iter().filter(move |(_, link)| link.controller.as_ref() == Some(name))
    }
}

impl BondState {
    /// How it spreads frames.
    pub fn mode(&self) -> Option<Mode> {
        self.options.iter().find_map(|option| match option {
            BondOption::Mode(mode) => Some(*mode),
            _ => None,
        })
    }

    /// The switch's system MAC, if it answers LACP.
    pub fn lacp_partner(&self) -> Option<Mac> {
        self.partner.filter(|partner| *partner != Mac([0; 6]))
    }
}

impl Link {
    /// Whether the agent created it.
    pub fn is_owned(&self) -> bool {
        self.alias.as_deref() == Some(OWNED)
    }
}
