//! The keys of the file. Doc comments here are the descriptions in the JSON schema.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netagent_common::vlan::Vid;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    name::{ClusterName, NetworkName},
    shapes::{List, Mappings, Placed, Scalar, Section},
    time::Millis,
    value::{
        Announcements, BondMode, DhcpFamilies, Links, Listen, MacLimit, Metric, Mtu, PortDevice,
        QueueLength, Rate, Xdp,
    },
};
use crate::{
    bond::{AdSelect, ArpValidate, FailOverMac, LacpRate, XmitHashPolicy},
    intent::{Native, Tpid},
    names::{Addresses, Cidr, IfName, Mac, Subnet},
    state::{Admit, FastPath, Filtering, PriorityTags, Snooping},
    vids::VidSet,
};

/// The configuration of netagent on one node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(title = "netagent")]
pub struct FileKeys {
    /// L2 segments of the node by name. Each has a bridge and, optionally, an uplink. `mgmt`
    /// carries the node itself and is protected. Devices are named `<name>-br` and `<name>-bo`, so
    /// a name has at most 12 characters.
    pub cluster_networks: Option<Section<ClusterName, ClusterNetworkKeys>>,
    /// Networks by name. A VM port belongs to one network. The VIDs of all networks are on their
    /// uplinks, with or without a VM.
    pub networks: Option<Section<NetworkName, NetworkKeys>>,
    /// VM ports: existing devices, such as taps and veth ends, and their networks.
    pub ports: Option<Vec<Placed<PortKeys>>>,
    /// The metrics server for Prometheus.
    pub metrics: Option<MetricsKeys>,
    /// IP addresses that must stay reachable, besides the default gateways, when a change that can
    /// cut the node off is tried. Asked by ARP or neighbour solicitation on their own link, by ICMP
    /// echo elsewhere. Those that do not answer before the change are ignored.
    pub probes: Option<List<IpAddr>>,
}

/// An L2 segment of the node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "ClusterNetwork")]
pub struct ClusterNetworkKeys {
    /// The bridge's name. Default: `<name>-br`.
    pub bridge: Option<Scalar<IfName>>,
    /// Whether the kernel's bridge filters VLANs as well: `auto` (default) if the kernel supports
    /// it, or as it was found on a bridge that netagent did not create; `on`, otherwise an error;
    /// `off`, eBPF alone filters. Without the filter, VLANs share one FDB: a frame from an address
    /// that a station of another VLAN has ends the traffic of that station until it sends again.
    pub vlan_filtering: Option<Scalar<Filtering>>,
    /// IGMP and MLD snooping of the bridge: `off`, multicast reaches every port of its VLAN;
    /// `vlan`, multicast reaches the ports that have asked for it, each VLAN by itself, and `off`
    /// on a bridge that does not filter VLANs; `bridge`, all VLANs as one, so that queries in one
    /// VLAN can end multicast in the others. Default: `off`, or unchanged on a bridge that netagent
    /// did not create.
    pub multicast_snooping: Option<Scalar<Snooping>>,
    /// The uplink. Default: none, a segment of this node only.
    pub uplink: Option<UplinkKeys>,
    /// The node's own interface on this segment, or a list of interfaces in different VLANs.
    /// Default: none.
    pub host: Option<Mappings<HostKeys>>,
    /// The path of unicast frames to stations that the bridge knows: `tc` (default), redirected by
    /// the TC programs; `xdp`, redirected from the uplink to VMs by the XDP program, for VMs that
    /// receive many small packets; `off`, by the bridge, like all other frames. Needs
    /// `netagent run`.
    pub fast_path: Option<Scalar<FastPath>>,
}

/// The device that joins a bridge to the wire.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Uplink")]
pub struct UplinkKeys {
    /// The NICs, at least one.
    pub nics: List<IfName>,
    /// The bond of the NICs. Default: active-backup with miimon 100ms.
    pub bond: Option<BondKeys>,
    /// MTU of the bond (or NIC), and of the bridge and the node's interfaces on it, in bytes, 576
    /// to 65535. Default: 1500 for a bond of netagent; a NIC, and a bond of others, have that with
    /// which they were found; a bridge of netagent, and the interfaces on it, that of the uplink.
    pub mtu: Option<Scalar<Mtu>>,
    /// Length of the bond's transmit queue in packets. Default: unchanged.
    pub tx_queue_len: Option<Scalar<QueueLength>>,
    /// Fixed MAC address of the bond. Default: that of its first NIC, which it keeps.
    pub mac: Option<Scalar<Mac>>,
    /// VID of untagged frames on the wire; `none` drops untagged frames. Default: 1.
    pub native: Option<Scalar<Native>>,
    /// Whether frames of the native VLAN leave tagged. Needs `native`. Default: false.
    pub native_tagged: Option<Scalar<bool>>,
    /// XDP on the uplink: `auto` (default) if the device supports it; `off`.
    pub xdp: Option<Scalar<Xdp>>,
}

/// A bond's mode and options. Names and values are those of the kernel's
/// Documentation/networking/bonding.rst. Times are in milliseconds, or have a unit: 100, 100ms, 1s.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Bond")]
pub struct BondKeys {
    /// The mode; `none`: no bond, the one NIC itself is the uplink. Default: active-backup.
    pub mode: Option<Scalar<BondMode>>,
    /// The bond's name. Default: `<name>-bo`.
    pub name: Option<Scalar<IfName>>,
    /// Interval of the link check. Default: 100ms, or no link check with `arpInterval`.
    pub miimon: Option<Scalar<Millis>>,
    /// Delay between link up and the use of a NIC; a multiple of `miimon`. Default: 0.
    pub updelay: Option<Scalar<Millis>>,
    /// Delay between link down and the disuse of a NIC; a multiple of `miimon`. Default: 0.
    pub downdelay: Option<Scalar<Millis>>,
    /// Interval of the ARP check, which replaces `miimon`; not in 802.3ad, balance-tlb,
    /// balance-alb. Needs `arpTargets` or `nsTargets`. Default: no ARP check.
    pub arp_interval: Option<Scalar<Millis>>,
    /// IPv4 addresses that the ARP check requests, 1 to 16. Each must be in the subnet of an
    /// address of `host`: the kernel asks in the VLAN of that interface. Without such an address it
    /// asks untagged, for which the uplink needs a native VLAN.
    pub arp_targets: Option<List<Ipv4Addr>>,
    /// IPv6 addresses that the ARP check requests by neighbour solicitations, 1 to 16. Kernels
    /// without "bonding: don't set oif to bond dev when getting NS target destination" (6.18) ask
    /// untagged only.
    pub ns_targets: Option<List<Ipv6Addr>>,
    /// The NICs on which only answers of the targets count: `none` (default), any frame counts;
    /// `active`, `backup`, `all`. `filter`, `filter_active`, `filter_backup`: any ARP counts.
    pub arp_validate: Option<Scalar<ArpValidate>>,
    /// The NIC that is active whenever it is up; in active-backup, balance-tlb, balance-alb.
    /// Default: none.
    pub primary: Option<Scalar<IfName>>,
    /// Which NICs have the bond's MAC address; in active-backup. Default: none, all NICs have it.
    pub fail_over_mac: Option<Scalar<FailOverMac>>,
    /// The header fields that select the NIC of a frame; in balance-xor, 802.3ad, balance-tlb.
    /// Default: layer2.
    pub xmit_hash_policy: Option<Scalar<XmitHashPolicy>>,
    /// Announcements after a failover, 0 to 255, in active-backup: `netagent run` announces the
    /// node's addresses on the segment (gratuitous ARP, unsolicited NA) and the stations behind the
    /// bridge's ports (RARP). Default: 1.
    pub num_grat_arp: Option<Scalar<Announcements>>,
    /// Number of NICs that must be up for the bond to have a carrier; in 802.3ad. Default: 1 (the
    /// kernel treats 0 as 1).
    pub min_links: Option<Scalar<Links>>,
    /// Interval of LACPDUs that the bond requests from the switch: `slow` (default), 30 seconds;
    /// `fast`, 1 second; in 802.3ad.
    pub lacp_rate: Option<Scalar<LacpRate>>,
    /// Selection of the active aggregator; in 802.3ad. Default: stable.
    pub ad_select: Option<Scalar<AdSelect>>,
    /// Whether networks of VMs are allowed on this bond, which replaces the source MAC address of
    /// their frames; in balance-tlb, balance-alb. Default: false.
    pub allow_mac_rewrite: Option<Scalar<bool>>,
}

/// An interface of the node itself on a segment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Host")]
pub struct HostKeys {
    /// The VLAN, on the interface `<bridge>.<vlan>`. Default: the uplink's native VLAN, on the
    /// bridge itself.
    pub vlan: Option<Scalar<Vid>>,
    /// MTU in bytes, 576 to 65535, at most that of the cluster network. Default: that of the
    /// bridge. Without `vlan`, it is that of the bridge, which limits the node's own frames only.
    pub mtu: Option<Scalar<Mtu>>,
    /// The addresses with prefix length, IPv4 or IPv6, one or a list. Default: none of its own;
    /// the interface keeps the addresses that it has, or takes those of the uplink's NIC.
    pub address: Option<List<Cidr>>,
    /// The gateway of the default route, or a list of one IPv4 and one IPv6 gateway. Default: the
    /// default route, if there is one, is not netagent's.
    pub gateway: Option<List<IpAddr>>,
    /// The metric of the default routes, 1 to 4294967295. The node uses the default route with the
    /// lowest metric. Default: that of the kernel (IPv4: 0; IPv6: 1024).
    pub metric: Option<Scalar<Metric>>,
    /// Other routes over the interface.
    pub routes: Option<Vec<RouteKeys>>,
    /// `v4`: `netagent run` gets an IPv4 address and routes from a DHCP server, in addition to
    /// those here. `v6`: an IPv6 address from a DHCPv6 server, whatever router advertisements say
    /// (flag M); routes come from them (`acceptRa`). `both`: both. Default: no DHCP.
    pub dhcp: Option<Scalar<DhcpFamilies>>,
    /// Whether the interface accepts IPv6 router advertisements, also on a node that forwards
    /// IPv6. Addresses and routes that come from them stay. Default: unchanged.
    pub accept_ra: Option<Scalar<bool>>,
    /// Whether addresses that others add to the interface stay: virtual addresses of keepalived or
    /// kube-vip, and leases. Default: true.
    pub keep_foreign: Option<Scalar<bool>>,
}

/// A route over the node's own interface.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Route")]
pub struct RouteKeys {
    /// The destination, such as 10.1.0.0/16.
    pub to: Scalar<Subnet>,
    /// The gateway. Default: the destination is on the link.
    pub via: Option<Scalar<IpAddr>>,
}

/// The policy of VM ports: one VLAN (`vlan`), several (`trunk`), a customer's VLANs inside one
/// service VLAN (`qinq`), or the uplink's native VLAN (without these keys).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Network")]
pub struct NetworkKeys {
    /// The cluster network.
    pub cluster_network: Scalar<ClusterName>,
    /// The VID of a network with one VLAN; VMs send and receive untagged frames.
    pub vlan: Option<Scalar<Vid>>,
    /// The VIDs that VMs tag themselves: "200-299,500", or a list.
    pub trunk: Option<List<VidSet>>,
    /// With `trunk`: VID of untagged frames, which need not be in the list of `trunk`; `none`
    /// (default) drops untagged frames.
    pub native: Option<Scalar<Native>>,
    /// With `trunk`: whether frames of the native VLAN reach the VM tagged. Default: false.
    pub native_tagged: Option<Scalar<bool>>,
    /// The service VLAN (802.1ad, dot1q-tunnel). It contains all frames of the VMs, tagged and
    /// untagged. Kernel 6.12 or later.
    pub qinq: Option<Scalar<Vid>>,
    /// With `qinq`: the VIDs that VMs may use inside the service VLAN. Default: all.
    pub customer_vids: Option<List<VidSet>>,
    /// With `qinq`: type of the service tag on the wire: `802.1ad` (default), 0x88A8; `802.1Q`,
    /// 0x8100.
    pub tpid: Option<Scalar<Tpid>>,
    /// The frame types that a VM may send. Default: `all` with `trunk` and `qinq`, otherwise
    /// `untagged-and-priority`.
    pub admit: Option<Scalar<Admit>>,
    /// Whether frames that reach the VM untagged show their priority in a tag with VID 0: `never`
    /// (default), `if-nonzero`, `always`.
    pub priority_tags: Option<Scalar<PriorityTags>>,
    /// Checks of the VMs' frames besides their VLAN.
    pub security: Option<SecurityKeys>,
    /// The path of unicast frames to these VMs. Default: that of the cluster network.
    pub fast_path: Option<Scalar<FastPath>>,
}

/// Checks of a VM's frames besides their VLAN. Those of a network hold for all of its ports, unless
/// the port overrides them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Security")]
pub struct SecurityKeys {
    /// On a port: the only MAC addresses that the VM may use: as source, as sender in ARP and RARP,
    /// and in IPv6 neighbour discovery. Default: any.
    pub macs: Option<List<Mac>>,
    /// The only IP addresses that the VM may use, up to 64 addresses and prefixes: as source, in
    /// ARP and in IPv6 neighbour discovery. The link-local IPv6 address that follows from the
    /// source MAC address (EUI-64) need not be listed. Default: any.
    pub addresses: Option<List<Addresses>>,
    /// Maximum number of MAC addresses that a VM may use within 5 minutes, 1 to 32. Default: no
    /// limit.
    pub max_macs: Option<Scalar<MacLimit>>,
    /// Whether frames that only a DHCP or DHCPv6 server sends are dropped. Default: false.
    pub dhcp_guard: Option<Scalar<bool>>,
    /// Whether IPv6 router advertisements and redirects are dropped. Default: false.
    pub ra_guard: Option<Scalar<bool>>,
    /// Whether IGMP and MLD queries are dropped. Default: false.
    pub mcast_querier_guard: Option<Scalar<bool>>,
    /// Whether the VM reaches only the uplink and the node, and no other VM of the node. Default:
    /// false.
    pub isolated: Option<Scalar<bool>>,
    /// Whether the VM speaks LLDP with the switch, and the node receives its other link-local
    /// frames (01:80:C2:00:00:00 to 0F). Default: false.
    pub allow_link_local: Option<Scalar<bool>>,
    /// Limits of flooded frames.
    pub storm: Option<StormKeys>,
}

/// Maximum frames per second that a VM may send; 0: no limit. After silence the VM may send the
/// frames of one second at once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Storm")]
pub struct StormKeys {
    /// Broadcast frames (ff:ff:ff:ff:ff:ff). Default: no limit.
    pub broadcast: Option<Scalar<Rate>>,
    /// Multicast frames. Default: no limit.
    pub multicast: Option<Scalar<Rate>>,
    /// Unicast frames to stations that the bridge does not know, and so floods. Needs
    /// `netagent run`. Default: no limit.
    pub unknown: Option<Scalar<Rate>>,
}

/// A VM port.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Port")]
pub struct PortKeys {
    /// The device on the node: a tap, or the node's end of a veth pair. With `*` (any characters)
    /// or `?` (one character): every tap and veth whose name matches and that no source names.
    pub device: Scalar<PortDevice>,
    /// The network.
    pub network: Scalar<NetworkName>,
    /// MTU in bytes, 576 to 65535, at most that of the cluster network. Default: that with which
    /// the device was found.
    pub mtu: Option<Scalar<Mtu>>,
    /// Whether the bridge sends frames back to the port that they came from. Default: unchanged.
    pub hairpin: Option<Scalar<bool>>,
    /// Whether the bridge keeps frames from other ports with `portIsolation` away. These ports do
    /// not take the fast path. Default: unchanged.
    pub port_isolation: Option<Scalar<bool>>,
    /// Whether the port stays silent until its VM sends frames of its own, or `netagent port
    /// announce` ends it: the target of a migration. Default: false.
    pub silent: Option<Scalar<bool>>,
    /// Checks of the VM's frames besides their VLAN. A value here overrides that of the network.
    pub security: Option<SecurityKeys>,
}

/// The metrics server for Prometheus.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Metrics")]
pub struct MetricsKeys {
    /// IP address and TCP port; `none`: no server. Default: 127.0.0.1:9469.
    pub listen: Option<Scalar<Listen>>,
}
