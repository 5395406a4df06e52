//! Nodes that live on a NIC.

use super::{ByHand, Kind, PLAIN, WORLD};
use crate::Feature;

/// One NIC with a fixed address and a default route.
pub const ONE_NIC: Kind = Kind {
    name: "one NIC",
    found: "
ip address add 10.0.0.5/24 brd + dev eth0
ip route add default via 10.0.0.1 proto static metric 100",
    file: "clusterNetworks:
  mgmt:
    uplink: { nics: [eth0], bond: { mode: none } }
    host: { address: 10.0.0.5/24, gateway: 10.0.0.1 }
",
    change: (
        "address: 10.0.0.5/24,",
        "address: [10.0.0.5/24, 10.0.0.7/24], routes: [{ to: 203.0.113.0/24, via: 10.0.0.1 }],",
    ),
    others: ("10.0.0.101/32", "mgmt-br"),
    others_back: "eth0",
    by_hand: ByHand {
        apply: "
mac=$(ip -o link show eth0 | sed 's/.*ether \\([^ ]*\\).*/\\1/')
ip link add mgmt-br address $mac type bridge
ip link set mgmt-br up
ip address add 10.0.0.5/24 brd + dev mgmt-br
ip route append default via 10.0.0.1 dev mgmt-br proto static metric 100
ip link set eth0 master mgmt-br
ip address del 10.0.0.5/24 dev eth0",
        back: BACK,
        change: "
ip address add 10.0.0.7/24 dev mgmt-br
ip route add 203.0.113.0/24 via 10.0.0.1 dev mgmt-br",
        release: BACK,
    },
    ..PLAIN
};

const BACK: &str = "
ip address add 10.0.0.5/24 brd + dev eth0
ip route append default via 10.0.0.1 dev eth0 proto static metric 100
ip link set eth0 nomaster
ip link delete mgmt-br";

/// Two NICs with leases, as networkd has got them.
pub const TWO_LEASES: Kind = Kind {
    name: "two NICs with leases",
    nics: &["eth0", "eth1"],
    outside: "
ip link add sw1 type bridge
ip link set sw1 up
ip link set eth1 master sw1
ip address add 10.1.0.1/24 dev sw1",
    found: "
ip address add 10.0.0.5/24 brd + dev eth0 valid_lft 3600 preferred_lft 3600
ip address add 10.1.0.5/24 brd + dev eth1 valid_lft 3600 preferred_lft 3600
ip route add default via 10.0.0.1 dev eth0 proto dhcp src 10.0.0.5 metric 100
ip route add default via 10.1.0.1 dev eth1 proto dhcp src 10.1.0.5 metric 101
ip route add 10.0.0.1 dev eth0 proto dhcp scope link src 10.0.0.5 metric 100
ip route add 10.1.0.1 dev eth1 proto dhcp scope link src 10.1.0.5 metric 101",
    reached: &[(WORLD, "10.0.0.5"), ("10.1.0.1", "10.1.0.5")],
    file: "clusterNetworks:
  mgmt:
    uplink: { nics: [eth0], bond: { mode: none } }
    host: { dhcp: v4 }
",
    segments: &["mgmt", "data"],
    change: (
        "  mgmt:",
        "  data: { uplink: { nics: [eth1], bond: { mode: none } }, host: { dhcp: v4, metric: 101 } }
  mgmt:",
    ),
    by_hand: ByHand {
        apply: "
mac=$(ip -o link show eth0 | sed 's/.*ether \\([^ ]*\\).*/\\1/')
ip link add mgmt-br address $mac type bridge
ip link set mgmt-br up
ip address add 10.0.0.5/24 brd + dev mgmt-br valid_lft 3600 preferred_lft 3600
ip route append 10.0.0.1 dev mgmt-br proto dhcp scope link src 10.0.0.5 metric 100
ip route append default via 10.0.0.1 dev mgmt-br proto dhcp src 10.0.0.5 metric 100
ip link set eth0 master mgmt-br
ip address del 10.0.0.5/24 dev eth0",
        back: BACK_WITH_LEASE,
        change: "
mac=$(ip -o link show eth1 | sed 's/.*ether \\([^ ]*\\).*/\\1/')
ip link add data-br address $mac type bridge
ip link set data-br up
ip address add 10.1.0.5/24 brd + dev data-br valid_lft 3600 preferred_lft 3600
ip route append 10.1.0.1 dev data-br proto dhcp scope link src 10.1.0.5 metric 101
ip route append default via 10.1.0.1 dev data-br proto dhcp src 10.1.0.5 metric 101
ip link set eth1 master data-br
ip address del 10.1.0.5/24 dev eth1",
        release: BACK_WITH_LEASES,
    },
    ..PLAIN
};

const BACK_WITH_LEASE: &str = "
ip address add 10.0.0.5/24 brd + dev eth0 valid_lft 3600 preferred_lft 3600
ip route append 10.0.0.1 dev eth0 proto dhcp scope link src 10.0.0.5 metric 100
ip route append default via 10.0.0.1 dev eth0 proto dhcp src 10.0.0.5 metric 100
ip link set eth0 nomaster
ip link delete mgmt-br";

const BACK_WITH_LEASES: &str = "
ip address add 10.0.0.5/24 brd + dev eth0 valid_lft 3600 preferred_lft 3600
ip route append 10.0.0.1 dev eth0 proto dhcp scope link src 10.0.0.5 metric 100
ip route append default via 10.0.0.1 dev eth0 proto dhcp src 10.0.0.5 metric 100
ip link set eth0 nomaster
ip link delete mgmt-br
ip address add 10.1.0.5/24 brd + dev eth1 valid_lft 3600 preferred_lft 3600
ip route append 10.1.0.1 dev eth1 proto dhcp scope link src 10.1.0.5 metric 101
ip route append default via 10.1.0.1 dev eth1 proto dhcp src 10.1.0.5 metric 101
ip link set eth1 nomaster
ip link delete data-br";

/// The address is in a VLAN of the NIC.
pub const VLAN: Kind = Kind {
    name: "address in a VLAN of the NIC",
    needs: &[Feature::VlanDevices, Feature::VlanFiltering],
    outside: "
ip address del 10.0.0.1/24 dev sw
ip link add link sw name sw.10 type vlan id 10
ip link set sw.10 up
ip address add 10.0.0.1/24 dev sw.10",
    found: "
ip link add link eth0 name eth0.10 type vlan id 10
ip link set eth0.10 up
ip address add 10.0.0.5/24 brd + dev eth0.10
ip route add default via 10.0.0.1 proto static",
    file: "clusterNetworks:
  mgmt:
    uplink: { nics: [eth0], bond: { mode: none } }
    host:
      - { vlan: 10, address: 10.0.0.5/24, gateway: 10.0.0.1 }
",
    change: ("    host:", "    host:\n      - { vlan: 20, address: 10.2.0.5/24 }"),
    others: ("10.0.0.101/32", "mgmt-br.10"),
    others_back: "eth0.10",
    by_hand: ByHand {
        apply: "
mac=$(ip -o link show eth0 | sed 's/.*ether \\([^ ]*\\).*/\\1/')
ip link add mgmt-br address $mac type bridge vlan_filtering 1
ip link set mgmt-br up
bridge vlan add dev mgmt-br vid 10 self
ip link add link mgmt-br name mgmt-br.10 type vlan id 10
ip link set mgmt-br.10 up
ip address add 10.0.0.5/24 brd + dev mgmt-br.10
ip route append default via 10.0.0.1 dev mgmt-br.10 proto static
ip link set eth0 master mgmt-br
bridge vlan add dev eth0 vid 10
ip link delete eth0.10",
        back: BACK_TO_VLAN,
        change: "
bridge vlan add dev eth0 vid 20
bridge vlan add dev mgmt-br vid 20 self
ip link add link mgmt-br name mgmt-br.20 type vlan id 20
ip link set mgmt-br.20 up
ip address add 10.2.0.5/24 brd + dev mgmt-br.20",
        release: BACK_TO_VLAN,
    },
    ..PLAIN
};

const BACK_TO_VLAN: &str = "
ip link add link eth0 name eth0.10 type vlan id 10
ip address add 10.0.0.5/24 brd + dev eth0.10
ip link set eth0.10 up
ip route append default via 10.0.0.1 dev eth0.10 proto static
ip link set eth0 nomaster
ip link delete mgmt-br";

/// Only IPv6, from router advertisements.
pub const ADVERTISEMENTS: Kind = Kind {
    name: "IPv6 only, with advertisements",
    outside: "
sysctl -qw net.ipv6.conf.all.forwarding=1
ip address flush dev sw scope global
ip -6 address add fe80::1/64 dev sw nodad
ip -6 address add fd00:7::1/64 dev sw nodad
ip -6 address add 2001:db8::1/128 dev lo nodad",
    found: "
ip link set eth0 down
ip link set eth0 address 02:00:00:00:00:05
ip link set eth0 addrgenmode eui64
sysctl -qw net.ipv6.conf.eth0.accept_ra=1
ip link set eth0 up",
    advertised: true,
    reached: &[("2001:db8::1", "fd00:7::ff:fe00:5")],
    file: "clusterNetworks:
  mgmt:
    uplink: { nics: [eth0], bond: { mode: none } }
    host: { acceptRa: true }
",
    change: ("acceptRa: true", "acceptRa: true, address: \"fd00:7::77/64\""),
    by_hand: ByHand {
        apply: "
ip link add mgmt-br address 02:00:00:00:00:05 type bridge
sysctl -qw net.ipv6.conf.mgmt-br.accept_ra=2
ip link set mgmt-br up
ip -6 address add fd00:7::ff:fe00:5/64 dev mgmt-br nodad valid_lft 3600 preferred_lft 3600
ip -6 route add default via fe80::1 dev mgmt-br proto ra metric 1025
ip link set eth0 master mgmt-br
ip -6 address del fd00:7::ff:fe00:5/64 dev eth0
ip -6 route del default via fe80::1 dev eth0",
        back: BACK_WITH_ADVERTISEMENTS,
        change: "ip -6 address add fd00:7::77/64 dev mgmt-br",
        release: BACK_WITH_ADVERTISEMENTS,
    },
    ..PLAIN
};

const BACK_WITH_ADVERTISEMENTS: &str = "
ip -6 address add fd00:7::ff:fe00:5/64 dev eth0 nodad valid_lft 3600 preferred_lft 3600
ip -6 route add default via fe80::1 dev eth0 proto ra metric 1026
ip link set eth0 nomaster
ip link delete mgmt-br";

/// What comes by the first NIC is answered by a table of its own.
pub const POLICY_ROUTING: Kind = Kind {
    name: "policy routing",
    nics: &["eth0", "eth1"],
    outside: "
ip link add sw1 type bridge
ip link set sw1 up
ip link set eth1 master sw1
ip address add 10.1.0.1/24 dev sw1",
    found: "
ip address add 10.0.0.5/24 brd + dev eth0
ip address add 10.0.0.6/24 brd + dev eth0 label eth0:vip
ip address add 10.1.0.5/24 brd + dev eth1
ip route add default via 10.1.0.1 dev eth1
ip route add 10.0.0.0/24 dev eth0 scope link table 100
ip route add default via 10.0.0.1 dev eth0 table 100
ip rule add from 10.0.0.5 table 100 priority 1000
ip rule add fwmark 7 table 100 priority 1001
ip neighbour add 10.0.0.200 lladdr 02:00:00:00:02:00 nud permanent dev eth0",
    reached: &[(WORLD, "10.0.0.5"), ("10.1.0.1", "10.1.0.5")],
    file: "clusterNetworks:
  mgmt:
    uplink: { nics: [eth0], bond: { mode: none } }
    host: { address: 10.0.0.5/24 }
",
    moved: &[
        "10.0.0.200 dev mgmt-br lladdr 02:00:00:00:02:00 PERMANENT",
        "mgmt-br inet 10.0.0.6/24 brd 10.0.0.255 scope global secondary mgmt-br:vip",
    ],
    change: ("10.0.0.5/24", "10.0.0.5/24, routes: [{ to: 203.0.113.0/24, via: 10.0.0.1 }]"),
    by_hand: ByHand {
        apply: "
mac=$(ip -o link show eth0 | sed 's/.*ether \\([^ ]*\\).*/\\1/')
ip link add mgmt-br address $mac type bridge
ip link set mgmt-br up
ip address add 10.0.0.5/24 brd + dev mgmt-br
ip address add 10.0.0.6/24 brd + dev mgmt-br label mgmt-br:vip
ip route append 10.0.0.0/24 dev mgmt-br scope link table 100
ip route append default via 10.0.0.1 dev mgmt-br table 100
ip neighbour add 10.0.0.200 lladdr 02:00:00:00:02:00 nud permanent dev mgmt-br
ip link set eth0 master mgmt-br
ip address del 10.0.0.6/24 dev eth0
ip address del 10.0.0.5/24 dev eth0",
        back: BACK_WITH_TABLE,
        change: "ip route add 203.0.113.0/24 via 10.0.0.1 dev mgmt-br",
        release: BACK_WITH_TABLE,
    },
    ..PLAIN
};

const BACK_WITH_TABLE: &str = "
ip address add 10.0.0.5/24 brd + dev eth0
ip address add 10.0.0.6/24 brd + dev eth0 label eth0:vip
ip route append 10.0.0.0/24 dev eth0 scope link table 100
ip route append default via 10.0.0.1 dev eth0 table 100
ip neighbour add 10.0.0.200 lladdr 02:00:00:00:02:00 nud permanent dev eth0
ip link set eth0 nomaster
ip link delete mgmt-br";
