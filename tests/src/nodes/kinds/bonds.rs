//! Nodes that live on a bond.

use super::{ByHand, Kind, PLAIN};
use crate::{
    Feature,
    adopt::{access, untagged},
};

/// The bond has the address: `bonds:` of netplan, rendered by networkd.
pub const ACTIVE_BACKUP: Kind = Kind {
    name: "active-backup bond of networkd",
    needs: &[Feature::Bonding],
    nics: &["eth0", "eth1"],
    found: "
ip link add bond0 type bond mode active-backup miimon 100 fail_over_mac none
for nic in eth0 eth1; do ip link set $nic down; ip link set $nic master bond0; done
ip link set bond0 up
ip address add 10.0.0.5/24 brd + dev bond0
ip address add fd00::5/64 dev bond0 nodad
ip route add default via 10.0.0.1 proto static
ip -6 route add default via fd00::1 proto static",
    file: "clusterNetworks:
  mgmt:
    uplink:
      nics: [eth0, eth1]
      bond: { name: bond0, mode: active-backup }
    host: { address: [10.0.0.5/24, \"fd00::5/64\"], gateway: [10.0.0.1, \"fd00::1\"] }
",
    change: ("mode: active-backup", "mode: active-backup, primary: eth1"),
    by_hand: ByHand {
        apply: "
mac=$(ip -o link show bond0 | sed 's/.*ether \\([^ ]*\\).*/\\1/')
ip link add mgmt-br address $mac type bridge
ip link set mgmt-br up
ip address add 10.0.0.5/24 brd + dev mgmt-br
ip address add fd00::5/64 dev mgmt-br nodad
ip route append default via 10.0.0.1 dev mgmt-br proto static
ip -6 route add default via fd00::1 dev mgmt-br proto static metric 1025
ip link set bond0 master mgmt-br
ip address del 10.0.0.5/24 dev bond0
ip -6 route del default dev bond0
ip -6 address del fd00::5/64 dev bond0",
        back: BACK_TO_BOND,
        change: "ip link set bond0 type bond primary eth1",
        release: BACK_TO_BOND,
    },
    ..PLAIN
};

const BACK_TO_BOND: &str = "
ip address add 10.0.0.5/24 brd + dev bond0
ip address add fd00::5/64 dev bond0 nodad
ip route append default via 10.0.0.1 dev bond0 proto static
ip -6 route add default via fd00::1 dev bond0 proto static metric 1026
ip link set bond0 nomaster
ip link delete mgmt-br";

/// `iface vmbr0` with `bridge-ports bond0`.
pub const LACP: Kind = Kind {
    name: "802.3ad bond of ifupdown",
    needs: &[Feature::Bonding],
    nics: &["eth0", "eth1"],
    joined: "
ip link add lag type bond mode 802.3ad miimon 100 lacp_rate fast
for nic in $nics; do ip link set $nic down; ip link set $nic master lag; done
ip link set lag up master sw",
    vms: || untagged(2, None),
    found: "
ip link add bond0 type bond mode 802.3ad miimon 100 lacp_rate fast xmit_hash_policy layer2+3
for nic in eth0 eth1; do ip link set $nic down; ip link set $nic master bond0; done
ip link set bond0 up
ip link add vmbr0 type bridge
for port in bond0 tap1 tap2; do ip link set $port master vmbr0; done
ip link set vmbr0 up
ip address add 10.0.0.5/24 brd + dev vmbr0
ip route add default via 10.0.0.1 dev vmbr0 onlink",
    segments: &["vmbr0"],
    change: ("xmitHashPolicy: layer2+3", "xmitHashPolicy: layer3+4"),
    by_hand: ByHand {
        change: "ip link set bond0 type bond xmit_hash_policy layer3+4",
        release: "ip link set bond0 type bond xmit_hash_policy layer2+3",
        ..PLAIN.by_hand
    },
    ..PLAIN
};

/// A bridge of NetworkManager speaks STP.
pub const BALANCE_XOR: Kind = Kind {
    name: "balance-xor bond of NetworkManager",
    needs: &[Feature::Bonding],
    nics: &["eth0", "eth1"],
    joined: "
ip link add lag type bond mode balance-xor miimon 100
for nic in $nics; do ip link set $nic down; ip link set $nic master lag; done
ip link set lag up master sw",
    vms: || untagged(2, None),
    found: "
ip link add nm-bond type bond mode balance-xor miimon 100 xmit_hash_policy layer2
for nic in eth0 eth1; do ip link set $nic down; ip link set $nic master nm-bond; done
ip link set nm-bond up
ip link add bridge0 type bridge stp_state 1 forward_delay 200
for port in nm-bond tap1 tap2; do ip link set $port master bridge0; done
ip link set bridge0 up
ip address add 10.0.0.5/24 brd + dev bridge0 noprefixroute
ip route add 10.0.0.0/24 dev bridge0 proto kernel scope link src 10.0.0.5 metric 425
ip route add default via 10.0.0.1 dev bridge0 proto static metric 425",
    segments: &["bridge0"],
    change: ("      nics:", "      mtu: 1400\n      nics:"),
    by_hand: ByHand {
        change: "
ip link set bridge0 mtu 1400
ip link set nm-bond mtu 1400",
        release: "
ip link set nm-bond mtu 1500
ip link set bridge0 mtu 1500",
        ..PLAIN.by_hand
    },
    ..PLAIN
};

/// `mgmt-br` and `mgmt-bo` of Harvester, with a VIP that kube-vip moves about.
pub const HARVESTER: Kind = Kind {
    name: "Harvester with VIPs",
    needs: &[Feature::Bonding, Feature::VlanDevices, Feature::VlanFiltering],
    nics: &["eth0", "eth1"],
    vms: || access(2),
    outside: "
ip address del 10.0.0.1/24 dev sw
ip link add link sw name sw.2021 type vlan id 2021
ip link set sw.2021 up
ip address add 10.0.0.1/24 dev sw.2021",
    found: "
ip link add mgmt-bo type bond mode active-backup miimon 100
for nic in eth0 eth1; do ip link set $nic down; ip link set $nic master mgmt-bo; done
ip link set mgmt-bo up
ip link add mgmt-br type bridge vlan_filtering 1
for port in mgmt-bo tap1 tap2; do ip link set $port master mgmt-br; done
ip link set mgmt-br up
for vid in 100 101 102 2021; do bridge vlan add dev mgmt-bo vid $vid; done
bridge vlan add dev mgmt-br vid 2021 self
bridge vlan add dev tap1 vid 101 pvid untagged
bridge vlan add dev tap2 vid 102 pvid untagged
for tap in tap1 tap2; do bridge vlan del dev $tap vid 1; done
ip link add link mgmt-br name mgmt-br.2021 type vlan id 2021
ip link set mgmt-br.2021 up
ip address add 10.0.0.5/24 brd + dev mgmt-br.2021
ip address add 10.0.0.100/32 dev mgmt-br.2021
ip route add default via 10.0.0.1",
    reached: &[(super::WORLD, "10.0.0.5"), (super::WORLD, "10.0.0.100")],
    change: ("networks:", "networks:\n  vlan300: { clusterNetwork: mgmt, vlan: 300 }"),
    others: ("10.0.0.101/32", "mgmt-br.2021"),
    others_back: "mgmt-br.2021",
    by_hand: ByHand {
        change: "bridge vlan add dev mgmt-bo vid 300",
        release: "bridge vlan del dev mgmt-bo vid 300",
        ..PLAIN.by_hand
    },
    ..PLAIN
};
