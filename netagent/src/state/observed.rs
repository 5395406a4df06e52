//! The observed state of the node, from netlink and the datapath.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use netagent_common::vlan::Vid;
use serde::{Deserialize, Serialize};

use super::{Address, HiddenTags, Hook, Neighbour, OWNED, Originals, PortPolicy, Route, Rule};
use crate::{
    bond::{BondOption, Mode},
    names::{Cidr, IfName, Mac},
};

/// The observed state of the datapath.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedDatapath {
    /// Ports that have a policy.
    pub ports: BTreeMap<IfName, ObservedPort>,
    /// The tags that a NIC moves from received frames to the metadata.
    pub rx_vlan: BTreeMap<IfName, HiddenTags>,
    /// Whether the receiving device counts frames of `bpf_redirect_peer` (6.7, commit
    /// 024ee930cb3c).
    pub counted_peers: bool,
    /// Whether programs can push a tag over another (6.12, commit 938863727076).
    pub stacked_tags: bool,
}

/// The observed programs and policy of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedPort {
    /// The interface index of the policy.
    pub ifindex: u32,
    /// The dense number of the port.
    pub number: u16,
    /// The policy.
    pub policy: PortPolicy,
    /// Attached programs of this build, with the options of this policy.
    pub attached: BTreeSet<Hook>,
    /// Attached programs of another build, or with the options of another policy.
    pub outdated: BTreeSet<Hook>,
    /// The order of the programs on the side of each TC hook.
    pub orders: BTreeMap<Hook, Order>,
    /// Whether the device refused an XDP program with this set of NICs.
    pub xdp_refused: bool,
}

/// The programs on one side of a device, by ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// In the order in which they run.
    pub programs: Vec<u32>,
    /// The place of the agent's program.
    pub ours: Option<usize>,
    /// The agent's program has moved before all others a short time ago: it does not move again.
    pub is_contested: bool,
}

impl Order {
    /// The programs of others that run before the agent's.
    pub fn before(&self) -> &[u32] {
        &self.programs[..self.ours.unwrap_or(0)]
    }

    /// The programs of others that run behind the agent's.
    pub fn behind(&self) -> &[u32] {
        self.ours.map_or(&self.programs[..], |ours| &self.programs[ours + 1..])
    }
}

/// The observed links of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Links by name.
    pub links: BTreeMap<IfName, Link>,
    /// Links by index whose name no configuration can contain.
    pub unnamed: BTreeMap<u32, UnnamedLink>,
    /// Unicast routes over one device.
    pub routes: BTreeSet<Route>,
    /// Devices of multipath routes, which netagent does not move.
    pub multipath: BTreeSet<IfName>,
    /// Devices that policy rules name (`iif`, `oif`), which netagent does not change.
    pub rule_devices: BTreeSet<IfName>,
    /// Permanent neighbours.
    pub neighbours: BTreeSet<Neighbour>,
    /// Whether rules of iptables and nftables see the frames of bridges (br_netfilter).
    pub bridge_netfilter: bool,
    /// Features of this kernel.
    pub kernel: Kernel,
    /// What was there before the first change. The agent keeps it in the state directory.
    pub originals: Originals,
    /// Originals may be missing, as the agent's file was damaged.
    pub originals_lost: bool,
    /// The MAC addresses that the agent's bonds are to keep, as the agent remembers them.
    pub kept_macs: BTreeMap<IfName, Mac>,
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
    /// Whether the link is administratively up (IFF_UP).
    pub up: bool,
    /// Whether the link has a carrier (IFF_LOWER_UP).
    pub carrier: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// Length of the transmit queue in packets.
    pub txqlen: u32,
    /// MAC address; all zero for a link without one.
    pub mac: Mac,
    /// The bond or bridge of the link.
    pub controller: Option<IfName>,
    /// Whether somebody has made the link promiscuous.
    pub promiscuous: bool,
    /// Flags of a bridge port that are on.
    pub port_flags: BTreeSet<PortFlag>,
    /// The link-local groups (01:80:C2:00:00:00 to 0F, a bit each) that the bridge forwards from
    /// this port as any other group.
    pub group_fwd_mask: u16,
    /// ifalias; [`OWNED`] on links of the agent.
    pub alias: Option<String>,
    /// The kind of link.
    pub kind: Kind,
    /// The lower link of a link that is stacked on one in this namespace (IFLA_LINK): of a VLAN
    /// interface, macvlan, ipvlan and others.
    pub lower: Option<IfName>,
    /// `net.ipv6.conf.<name>.accept_ra`; `None`: the link has no IPv6.
    pub accept_ra: Option<u32>,
    /// Addresses of global scope.
    pub addresses: BTreeMap<Cidr, Address>,
    /// VLANs of a bridge port, or a bridge's own VLANs (`bridge vlan add ... self`).
    pub vlans: BTreeMap<Vid, VlanFlags>,
    /// State of a member of a bond.
    pub member: Option<Member>,
    /// Rules that others have on the link, if frames of VMs may pass it.
    pub rules: BTreeSet<Rule>,
    /// Supports `XDP_REDIRECT` to the device (NETDEV_XDP_ACT_NDO_XMIT).
    pub takes_xdp_frames: bool,
    /// The XDP program that is attached, whoever has attached it.
    pub xdp: Option<u32>,
    /// A veth without a transmit queue whose peer is in another namespace.
    pub leads_elsewhere: bool,
    /// Alternative names (`ip link property`), as far as a configuration can contain them.
    pub altnames: BTreeSet<IfName>,
}

/// A link whose name no configuration can contain: the kernel allows any byte but NUL, '/', ':' and
/// white space (`dev_valid_name` in net/core/dev.c).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnnamedLink {
    /// The name, escaped as `$'...'` of a shell has it.
    pub name: String,
    /// The link.
    pub link: Link,
}

/// A flag of a bridge port, by the name that `bridge link set` has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PortFlag {
    /// The bridge sends frames back to the port that they came from.
    Hairpin,
    /// The bridge keeps frames from other isolated ports away.
    Isolated,
}

impl PortFlag {
    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hairpin => "hairpin",
            Self::Isolated => "isolated",
        }
    }
}

/// The kind of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bond.
    Bond(BondState),
    /// A bridge.
    Bridge(BridgeState),
    /// An 802.1Q VLAN interface.
    Vlan {
        /// The lower link, if it is in this namespace.
        parent: Option<IfName>,
        /// The VID.
        vid: Vid,
    },
    /// Another link: the kernel's name of the kind ("veth", "tun", ...), empty for hardware.
    Other(String),
}

/// The observed state of a bond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BondState {
    /// All reported options.
    pub options: Vec<BondOption>,
    /// The active member, in modes with one active member.
    pub active: Option<IfName>,
    /// The switch's system MAC address in 802.3ad; zero until the switch answers.
    pub partner: Option<Mac>,
    /// The number of members in the active aggregator in 802.3ad.
    pub aggregated: Option<u16>,
}

/// The observed state of a member of a bond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whether the MII status is up.
    pub mii_up: bool,
    /// Whether the member carries traffic (`BOND_STATE_ACTIVE`); otherwise it is on standby.
    pub active: bool,
    /// Number of link failures.
    pub failures: u32,
    /// The member's aggregator in 802.3ad.
    pub aggregator: Option<u16>,
}

/// The observed state of a bridge. `None`: the kernel does not have the attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeState {
    /// `vlan_filtering`
    pub vlan_filtering: Option<bool>,
    /// `vlan_default_pvid`
    pub default_pvid: Option<u16>,
    /// IGMP and MLD snooping.
    #[serde(default)]
    pub snooping: Option<Snooping>,
}

/// IGMP and MLD snooping of a bridge: which ports multicast reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Snooping {
    /// All ports of its VLAN (`mcast_snooping 0`).
    Off,
    /// The ports that have asked for it, once there is a querier in the VLAN (`mcast_vlan_snooping
    /// 1`, Linux 5.15).
    Vlan,
    /// The ports that have asked for it, once there is a querier in any VLAN: one in another VLAN
    /// ends multicast to stations that it does not ask. The kernel's default.
    Bridge,
}

/// Flags of a VLAN on a bridge port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VlanFlags {
    /// Whether untagged frames get this VID.
    pub pvid: bool,
    /// Whether frames leave untagged.
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

    /// The link that has this alternative name.
    pub fn of_altname(&self, name: &IfName) -> Option<&IfName> {
        self.links.iter().find(|(_, link)| link.altnames.contains(name)).map(|(name, _)| name)
    }

    /// The name of the link with this index.
    pub fn name(&self, index: u32) -> Option<&IfName> {
        self.links.iter().find(|(_, link)| link.index == index).map(|(name, _)| name)
    }

    /// The routes over a link.
    pub fn routes_of<'a>(&'a self, name: &'a IfName) -> impl Iterator<Item = &'a Route> {
        self.routes.iter().filter(move |route| route.device == *name)
    }

    /// The permanent neighbours over a device.
    pub fn neighbours_of<'a>(&'a self, name: &'a IfName) -> impl Iterator<Item = &'a Neighbour> {
        self.neighbours.iter().filter(move |neighbour| neighbour.device == *name)
    }

    /// The links that are stacked on a link, by themselves or on one another.
    pub fn above<'a>(&'a self, name: &'a IfName) -> BTreeSet<&'a IfName> {
        let mut above = BTreeSet::new();
        let mut open = vec![name];
        while let Some(lower) = open.pop() {
            let upper = self.links.iter().filter(|(_, link)| link.lower.as_ref() == Some(lower));
            open.extend(upper.map(|(name, _)| name).filter(|name| above.insert(*name)));
        }
        above
    }

    /// Whether a link, or a link above it, has an address or a route.
    pub fn is_lived_on(&self, name: &IfName) -> bool {
        let mut links = self.above(name);
        links.extend(self.links.get_key_value(name).map(|(name, _)| name));
        links.into_iter().any(|name| {
            !self.links[name].addresses.is_empty()
                || self.routes_of(name).next().is_some()
                || self.multipath.contains(name)
        })
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

impl Observed {
    /// The links that belong to a bond or bridge, and whose names no configuration can contain.
    pub fn unnamed_of<'a>(&'a self, name: &'a IfName) -> impl Iterator<Item = &'a UnnamedLink> {
        let unnamed = self.unnamed.values();
        unnamed.filter(move |unnamed| unnamed.link.controller.as_ref() == Some(name))
    }
}

impl BondState {
    /// The mode.
    pub fn mode(&self) -> Option<Mode> {
        self.options.iter().find_map(|option| match option {
            BondOption::Mode(mode) => Some(*mode),
            _ => None,
        })
    }

    /// The switch's system MAC address, if the switch answers LACP.
    pub fn lacp_partner(&self) -> Option<Mac> {
        self.partner.filter(|partner| *partner != Mac([0; 6]))
    }
}

impl Link {
    /// Whether the agent created the link.
    pub fn is_owned(&self) -> bool {
        self.alias.as_deref() == Some(OWNED)
    }
}
