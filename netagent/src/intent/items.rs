//! The items of an intent, as plain values. An absent value has the default of its use.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use netagent_common::vlan::Vid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bond::{AdSelect, ArpValidate, FailOverMac, LacpRate, Mode, XmitHashPolicy},
    names::{Addresses, Cidr, Family, IfName, Mac, Subnet},
    pattern::DevicePattern,
    state::{Admit, FastPath, Filtering, Lifetime, PriorityTags, Snooping},
    vids::VidSet,
};

/// MTUs in bytes. Every IPv4 host must accept 576 (RFC 791). A bond accepts 65535 at most
/// (bond_setup in bond_main.c).
pub const MTU: RangeInclusive<u32> = 576..=65_535;
/// MAC addresses that a VM may use. A port has as many slots (`netagent_common::limit`).
pub const MAC_LIMIT: RangeInclusive<u16> = 1..=32;
/// Frames per second that a storm limit can be.
pub const RATE: RangeInclusive<u32> = 0..=10_000_000;

/// A cluster network: a bridge and, optionally, its uplink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentIntent {
    /// The name.
    pub name: String,
    /// The bridge's name. Default: `<name>-br`.
    pub bridge: Option<IfName>,
    /// Whether the kernel's bridge filters VLANs as well.
    pub filtering: Filtering,
    /// IGMP and MLD snooping of the bridge. Default: off on a bridge of netagent.
    pub snooping: Option<Snooping>,
    /// The uplink. Default: none, a segment of this node only.
    pub uplink: Option<UplinkIntent>,
    /// The path of known unicast frames, unless a network has its own.
    pub fast_path: FastPath,
}

/// The uplink of a cluster network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkIntent {
    /// The NICs.
    pub nics: Vec<IfName>,
    /// The bond.
    pub bond: BondIntent,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Length of the bond's transmit queue in packets.
    pub tx_queue_len: Option<u32>,
    /// Fixed MAC address of the bond.
    pub mac: Option<Mac>,
    /// The native VLAN. Default: 1.
    pub native: Option<Native>,
    /// Whether frames of the native VLAN leave tagged.
    pub native_tagged: bool,
    /// Whether the uplink gets an XDP program where the device supports it.
    pub xdp: bool,
}

/// A bond's mode and options. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BondIntent {
    /// The mode; `None`: no bond, the one NIC itself is the uplink.
    pub mode: Option<Mode>,
    /// The bond's name. Default: `<cluster network>-bo`.
    pub name: Option<IfName>,
    /// `miimon`
    pub miimon: Option<u32>,
    /// `updelay`
    pub updelay: Option<u32>,
    /// `downdelay`
    pub downdelay: Option<u32>,
    /// `arp_interval`
    pub arp_interval: Option<u32>,
    /// `arp_ip_target`
    pub arp_targets: Option<Vec<Ipv4Addr>>,
    /// `ns_ip6_target`
    pub ns_targets: Option<Vec<Ipv6Addr>>,
    /// `arp_validate`
    pub arp_validate: Option<ArpValidate>,
    /// `primary`
    pub primary: Option<IfName>,
    /// `fail_over_mac`
    pub fail_over_mac: Option<FailOverMac>,
    /// `xmit_hash_policy`
    pub xmit_hash_policy: Option<XmitHashPolicy>,
    /// `num_grat_arp`
    pub num_grat_arp: Option<u8>,
    /// `min_links`
    pub min_links: Option<u32>,
    /// `lacp_rate`
    pub lacp_rate: Option<LacpRate>,
    /// `ad_select`
    pub ad_select: Option<AdSelect>,
    /// Whether VM networks may be behind a bond that replaces source MAC addresses.
    pub allow_mac_rewrite: Option<bool>,
}

/// The VID of untagged frames; `None`: untagged frames are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Native(pub Option<Vid>);

/// The type of a service tag on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tpid {
    /// 0x88A8
    STag,
    /// 0x8100
    CTag,
}

/// The node's own interface on a cluster network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostIntent {
    /// The cluster network.
    pub segment: String,
    /// The position among the interfaces of the cluster network; `None`: it has one.
    pub index: Option<usize>,
    /// The VLAN, on the interface `<bridge>.<vlan>`. Default: the native VLAN, on the bridge
    /// itself.
    pub vlan: Option<Vid>,
    /// MTU in bytes. Default: that of the bridge.
    pub mtu: Option<u32>,
    /// The addresses.
    pub addresses: Vec<Cidr>,
    /// The gateways of the default routes, at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// The metric of the default routes. Default: that of the kernel.
    pub metric: Option<u32>,
    /// Other routes over the interface.
    pub routes: Vec<RouteIntent>,
    /// The families of which it gets an address by DHCP.
    pub dhcp: BTreeSet<Family>,
    /// Whether router advertisements are accepted. Default: unchanged.
    pub accept_ra: Option<bool>,
    /// Whether addresses that others add to the interface stay.
    pub keep_foreign: bool,
}

/// A DHCP lease of an interface of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseIntent {
    /// The interface.
    pub interface: IfName,
    /// The address.
    pub address: Cidr,
    /// Its lifetime.
    pub lifetime: Lifetime,
    /// The routes: destinations and gateways.
    pub routes: Vec<(Cidr, Option<IpAddr>)>,
    /// An address of an earlier DHCP client, which this one replaces.
    pub replaces: Option<Cidr>,
    /// Why the lease has ended, if it has.
    pub ended: Option<String>,
}

/// A route over an interface of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteIntent {
    /// The destination.
    pub to: Subnet,
    /// The gateway. Default: the destination is on the link.
    pub via: Option<IpAddr>,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkIntent {
    /// The name.
    pub name: String,
    /// The cluster network.
    pub segment: String,
    /// The VID of a network with one VLAN.
    pub vlan: Option<Vid>,
    /// The VIDs that VMs tag themselves.
    pub trunk: Option<VidSet>,
    /// The native VLAN of a trunk. Default: none.
    pub native: Option<Native>,
    /// Whether frames of a trunk's native VLAN reach the VM tagged.
    pub native_tagged: Option<bool>,
    /// The service VLAN of a QinQ network.
    pub qinq: Option<Vid>,
    /// The VIDs inside the service VLAN. Default: all.
    pub customer_vids: Option<VidSet>,
    /// The type of the service tag on the wire. Default: S-tag.
    pub tpid: Option<Tpid>,
    /// Acceptable frame types.
    pub admit: Option<Admit>,
    /// Whether untagged frames show their priority to the VM.
    pub priority_tags: Option<PriorityTags>,
    /// The checks of the ports' frames besides their VLAN.
    pub security: SecurityIntent,
    /// The path of known unicast frames. Default: that of the cluster network.
    pub fast_path: Option<FastPath>,
}

impl NetworkIntent {
    /// The service VLAN, if an S-tag identifies it on the wire.
    pub fn service(&self) -> Option<Vid> {
        self.qinq.filter(|_| self.tpid.is_none_or(|tpid| tpid == Tpid::STag))
    }
}

/// A VM port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "PortIntent")]
pub struct PortIntent<Device = IfName> {
    /// The device on the node: a tap, or the node's end of a veth pair.
    pub device: Device,
    /// The network.
    pub network: String,
    /// MTU in bytes, 576 to 65535, at most that of the cluster network. Default: that with which
    /// the device was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 576, max = 65_535))]
    pub mtu: Option<u32>,
    /// Whether the bridge sends frames back to the port that they came from. Default: unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hairpin: Option<bool>,
    /// Whether the bridge keeps frames from other ports with this flag away (`isolated on`).
    /// Default: unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_isolation: Option<bool>,
    /// Whether the port stays silent until its VM sends frames of its own, or `netagent port
    /// announce` ends it: the target of a migration. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<bool>,
    /// Checks of the VM's frames besides their VLAN. A value here overrides that of the network.
    #[serde(default, skip_serializing_if = "is_default")]
    pub security: SecurityIntent,
}

/// The ports of all devices of VMs whose names match a pattern.
pub type PatternIntent = PortIntent<DevicePattern>;

impl<Device> PortIntent<Device> {
    /// The port with these properties at another device.
    pub fn at<Other>(&self, device: Other) -> PortIntent<Other> {
        let Self { device: _, network, mtu, hairpin, port_isolation, silent, security } = self;
        PortIntent {
            device,
            network: network.clone(),
            mtu: *mtu,
            hairpin: *hairpin,
            port_isolation: *port_isolation,
            silent: *silent,
            security: security.clone(),
        }
    }
}

/// Checks of a VM's frames besides their VLAN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SecurityIntent {
    /// The only MAC addresses that the VM may use: as source, as sender in ARP and RARP, and in
    /// IPv6 neighbour discovery. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs: Option<Vec<Mac>>,
    /// The only IP addresses that the VM may use, up to 64 addresses and prefixes: as source, in
    /// ARP and in IPv6 neighbour discovery. The link-local IPv6 address that follows from the
    /// source MAC address (EUI-64) need not be listed. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<Addresses>>,
    /// Maximum number of MAC addresses that the VM may use within 5 minutes, 1 to 32.
    /// Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub max_macs: Option<u16>,
    /// Whether frames that only a DHCP or DHCPv6 server sends are dropped. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp_guard: Option<bool>,
    /// Whether IPv6 router advertisements and redirects are dropped. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ra_guard: Option<bool>,
    /// Whether IGMP and MLD queries are dropped. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcast_querier_guard: Option<bool>,
    /// Whether the VM reaches only the uplink and the node, and no other VM of the node.
    /// Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolated: Option<bool>,
    /// Whether the VM speaks LLDP with the switch, and the node receives its other link-local
    /// frames (01:80:C2:00:00:00 to 0F). Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_link_local: Option<bool>,
    /// Limits of flooded frames.
    #[serde(skip_serializing_if = "is_default")]
    pub storm: StormIntent,
}

/// Maximum frames per second that a VM may send; 0: no limit. After silence the VM may send the
/// frames of one second at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct StormIntent {
    /// Broadcast frames (ff:ff:ff:ff:ff:ff). Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000_000))]
    pub broadcast: Option<u32>,
    /// Multicast frames. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000_000))]
    pub multicast: Option<u32>,
    /// Unicast frames to stations that the bridge does not know, and so floods. Needs
    /// `netagent run`. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000_000))]
    pub unknown: Option<u32>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
