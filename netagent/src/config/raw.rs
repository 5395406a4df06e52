//! The file as it is written. Doc comments here are the descriptions in the schema.

use std::net::Ipv4Addr;

use netagent_common::vlan::Vid;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    name::{ClusterName, NetworkName},
    shapes::{List, Placed, Scalar, Section},
    time::Millis,
    value::{Announcements, BondMode, Links, Listen, MacLimit, Mtu, QueueLength, Rate, Xdp},
};
use crate::{
    bond::{AdSelect, FailOverMac, LacpRate, XmitHashPolicy},
    intent::{Native, Tpid},
    names::{Cidr, IfName, Mac},
    state::{Admit, FastPath, Filtering, PriorityTags},
    vids::VidSet,
};

/// The configuration of netagent on one node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(title = "netagent")]
pub struct File {
    /// L2 segments of the node by name: an uplink and a bridge each. `mgmt` carries the node itself and is protected.
    /// Devices are named after them, `<name>-br` and `<name>-bo`, so a name has at most 12 characters.
    pub cluster_networks: Option<Section<ClusterName, ClusterNetwork>>,
    /// What VMs are plugged into, by name. The VIDs of all of them are on their uplinks, with or without a VM.
    pub networks: Option<Section<NetworkName, Network>>,
    /// VM ports: devices that exist already, such as taps and veth ends, and what each is plugged into.
    pub ports: Option<Vec<Placed<Port>>>,
    /// Where Prometheus finds the agent.
    pub metrics: Option<Metrics>,
}

/// An L2 segment of the node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClusterNetwork {
    /// The bridge's name. Default: `<name>-br`.
    pub bridge: Option<Scalar<IfName>>,
    /// Whether the kernel's bridge filters VLANs as well: `auto` (default) where it can, `on` or an error, `off`: eBPF alone.
    pub vlan_filtering: Option<Scalar<Filtering>>,
    /// What joins the bridge to the wire. Default: nothing, a network of this node only.
    pub uplink: Option<Uplink>,
    /// The node's own interface on this segment. Default: none.
    pub host: Option<Host>,
    /// How frames to stations that the bridge knows go between its ports: `tc` (default), straight to their port; `xdp`: from
    /// the uplink to the VMs by XDP already, for VMs that are bound by small packets; `off`: by the bridge, as the
    /// others. Needs `netagent run`.
    pub fast_path: Option<Scalar<FastPath>>,
}

/// What joins a bridge to the wire.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Uplink {
    /// The NICs, at least one.
    pub nics: List<IfName>,
    /// How the NICs are bonded. Default: active-backup with miimon 100ms.
    pub bond: Option<Bond>,
    /// MTU of the bond (or NIC) and of the bridge, in bytes, 576 to 65535. Default: left as it is (1500 for a new bond).
    pub mtu: Option<Scalar<Mtu>>,
    /// Length of the bond's transmit queue, in packets. Default: left as it is.
    pub tx_queue_len: Option<Scalar<QueueLength>>,
    /// Fixed MAC address of the bond. Default: that of its first NIC.
    pub mac: Option<Scalar<Mac>>,
    /// VID of untagged frames on the wire, or `none`: untagged frames are dropped. Default: 1.
    pub native: Option<Scalar<Native>>,
    /// Whether frames of the native VLAN leave with their tag; `native` must then be written. Default: false.
    pub native_tagged: Option<Scalar<bool>>,
    /// XDP on the uplink: `auto` (default) where the bond takes it, or `off`.
    pub xdp: Option<Scalar<Xdp>>,
}

/// How NICs are bonded. Names and values are those of the kernel's Documentation/networking/bonding.rst.
/// Times are in milliseconds, or have a unit: 100, 100ms, 1s.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Bond {
    /// The mode; `none`: no bond, the one NIC itself is the uplink. Default: active-backup.
    pub mode: Option<Scalar<BondMode>>,
    /// Interval of the link check. Default: 100ms, or none where `arpInterval` is given.
    pub miimon: Option<Scalar<Millis>>,
    /// Time from link up until a NIC is used; a multiple of `miimon`. Default: 0.
    pub updelay: Option<Scalar<Millis>>,
    /// Time from link down until a NIC is no longer used; a multiple of `miimon`. Default: 0.
    pub downdelay: Option<Scalar<Millis>>,
    /// Interval of the ARP check, in place of `miimon`; not in 802.3ad, balance-tlb, balance-alb. Default: none.
    pub arp_interval: Option<Scalar<Millis>>,
    /// IPv4 addresses that the ARP check asks for, 1 to 16.
    pub arp_targets: Option<List<Ipv4Addr>>,
    /// The NIC to use whenever it is up; in active-backup, balance-tlb, balance-alb. Default: none.
    pub primary: Option<Scalar<IfName>>,
    /// Whether the NICs share the bond's MAC address; in active-backup. Default: none, they do.
    pub fail_over_mac: Option<Scalar<FailOverMac>>,
    /// What the choice of a NIC is computed from; in balance-xor, 802.3ad, balance-tlb. Default: layer2.
    pub xmit_hash_policy: Option<Scalar<XmitHashPolicy>>,
    /// Announcements (gratuitous ARP, unsolicited NA) after a failover, 0 to 255; in active-backup. Default: 1.
    pub num_grat_arp: Option<Scalar<Announcements>>,
    /// NICs that must be up for the bond to have a carrier; in 802.3ad. Default: 1 (the kernel counts 0 as 1).
    pub min_links: Option<Scalar<Links>>,
    /// How often the switch is asked for LACPDUs: `slow` (default), every 30 seconds; `fast`, every second; in 802.3ad.
    pub lacp_rate: Option<Scalar<LacpRate>>,
    /// Which aggregator is used; in 802.3ad. Default: stable.
    pub ad_select: Option<Scalar<AdSelect>>,
}

/// The node's own interface on a segment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Host {
    /// Its VLAN, on the interface `<bridge>.<vlan>`. Default: the uplink's native VLAN, on the bridge itself.
    pub vlan: Option<Scalar<Vid>>,
    /// Its addresses with prefix length, IPv4 or IPv6, one or a list.
    pub address: List<Cidr>,
}

/// What VMs are plugged into: one VLAN (`vlan`), several (`trunk`), a customer's VLANs inside one of ours (`qinq`), or the
/// uplink's native VLAN (none of these).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the file's key is clusterNetwork")]
pub struct Network {
    /// The cluster network that it is part of.
    pub cluster_network: Scalar<ClusterName>,
    /// The one VID; VMs send and receive untagged frames.
    pub vlan: Option<Scalar<Vid>>,
    /// The VIDs that VMs tag themselves: "200-299,500", or a list of such.
    pub trunk: Option<List<VidSet>>,
    /// Of a trunk: VID of untagged frames (it joins the list by itself), or `none` (default): untagged frames are dropped.
    pub native: Option<Scalar<Native>>,
    /// Of a trunk: whether frames of the native VLAN go to the VM with their tag. Default: false.
    pub native_tagged: Option<Scalar<bool>>,
    /// The service VLAN (802.1ad, dot1q-tunnel): whatever the VMs send, tagged or not, travels inside it. Kernel 6.12 or later.
    pub qinq: Option<Scalar<Vid>>,
    /// Of qinq: the VIDs that VMs may use inside. Default: all.
    pub customer_vids: Option<List<VidSet>>,
    /// Of qinq: type of the service tag on the wire: `802.1ad` (default), 0x88A8; or `802.1Q`, 0x8100.
    pub tpid: Option<Scalar<Tpid>>,
    /// Which frames a VM may send. Default: `all` on a trunk and in qinq, else `untagged-and-priority`.
    pub admit: Option<Scalar<Admit>>,
    /// Whether frames that reach the VM untagged show their priority in a tag with VID 0: `never` (default), `if-nonzero`,
    /// `always`.
    pub priority_tags: Option<Scalar<PriorityTags>>,
    /// What is checked of the VMs' frames besides their VLAN.
    pub security: Option<Security>,
    /// How frames go to these VMs. Default: as the cluster network says.
    pub fast_path: Option<Scalar<FastPath>>,
}

/// What is checked of a VM's frames besides their VLAN. On a network: of all its ports; a port's own words go first.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Security {
    /// On a port: the only MAC addresses that the VM may use: as source, as sender in ARP and RARP, and in IPv6 neighbour
    /// discovery. Default: any.
    pub macs: Option<List<Mac>>,
    /// Most MAC addresses that a VM may use within 5 minutes, 1 to 32. Default: no limit.
    pub max_macs: Option<Scalar<MacLimit>>,
    /// Whether DHCP and DHCPv6 servers behind the port are silenced. Default: false.
    pub dhcp_guard: Option<Scalar<bool>>,
    /// Whether IPv6 router advertisements and redirects from the port are dropped. Default: false.
    pub ra_guard: Option<Scalar<bool>>,
    /// Whether the VM talks to the uplink (and the node) only, and not to other VMs of the node. Default: false.
    pub isolated: Option<Scalar<bool>>,
    /// Whether the node hears the VM's link-local frames (LLDP, LACP, STP: 01:80:C2:00:00:0X). Default: false.
    pub allow_link_local: Option<Scalar<bool>>,
    /// Limits of what VMs flood.
    pub storm: Option<Storm>,
}

/// Frames per second that a VM may send; 0: no limit. After silence it may send those of one second at once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Storm {
    /// To all (ff:ff:ff:ff:ff:ff). Default: no limit.
    pub broadcast: Option<Scalar<Rate>>,
    /// To groups. Default: no limit.
    pub multicast: Option<Scalar<Rate>>,
    /// To stations that the bridge does not know, so that it floods them. Needs `netagent run`. Default: no limit.
    pub unknown: Option<Scalar<Rate>>,
}

/// A VM port.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Port {
    /// The device on the node: a tap, or the node's end of a veth pair.
    pub device: Scalar<IfName>,
    /// The network.
    pub network: Scalar<NetworkName>,
    /// MTU in bytes, 576 to 65535, at most that of the cluster network. Default: left as it is.
    pub mtu: Option<Scalar<Mtu>>,
    /// What is checked of this VM's frames; goes before what the network says.
    pub security: Option<Security>,
}

/// Where Prometheus finds the agent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metrics {
    /// IP address and TCP port, or `none`: metrics are not served. Default: 127.0.0.1:9469.
    pub listen: Option<Scalar<Listen>>,
}
