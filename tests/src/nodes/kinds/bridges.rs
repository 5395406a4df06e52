//! Nodes with a bridge on a NIC, and with VMs.

use super::{ByHand, Kind, PLAIN, WORLD};
use crate::{
    Feature,
    adopt::{access, tagged, untagged},
    lab::kernel_has,
};

/// Emulated, 40 VMs take minutes.
fn many() -> u8 {
    if kernel_has(Feature::VlanFiltering) { 10 } else { 40 }
}

pub const UNAWARE: Kind = Kind {
    name: "bridge without filter and many VMs",
    vms: || untagged(many(), None),
    found: "
ip link add vmbr0 type bridge
ip link set vmbr0 up
ip link set eth0 master vmbr0
for tap in $(ip -o link | grep -o 'tap[0-9]*@' | grep -v tap50 | tr -d @); do ip link set $tap master vmbr0; done
ip address add 10.0.0.5/24 brd + dev vmbr0
ip route add default via 10.0.0.1 dev vmbr0 onlink",
    import: "--uplink eth0",
    segments: &["vmbr0"],
    change: PLUG,
    by_hand: ByHand {
        change: "ip link set tap50 master vmbr0",
        release: "ip link set tap50 nomaster",
        ..PLAIN.by_hand
    },
    ..PLAIN
};

/// Another VM.
const PLUG: (&str, &str) = ("ports:", "ports:\n  - { device: tap50, network: untagged }");

/// `bridge-vlan-aware yes` with `bridge-vids 2-4094` of ifupdown2.
pub const AWARE: Kind = Kind {
    name: "bridge with filter and many VMs",
    needs: &[Feature::VlanFiltering],
    vms: || [access(8), tagged(20, 2, 100, None)].concat(),
    found: "
ip link add vmbr0 type bridge vlan_filtering 1
ip link set vmbr0 up
ip link set eth0 master vmbr0
bridge vlan add dev eth0 vid 2-4094
for number in 1 2 3 4 5 6 7 8; do
  ip link set tap$number master vmbr0
  bridge vlan add dev tap$number vid $((100 + number % 4)) pvid untagged
  bridge vlan del dev tap$number vid 1
done
for tap in tap20 tap21; do
  ip link set $tap master vmbr0
  bridge vlan add dev $tap vid 2-4094
done
ip address add 10.0.0.5/24 brd + dev vmbr0
ip route add default via 10.0.0.1 dev vmbr0 onlink",
    import: "--uplink eth0",
    segments: &["vmbr0"],
    change: ("ports:", "ports:\n  - { device: tap50, network: vlan100 }"),
    by_hand: ByHand {
        change: "
ip link set tap50 master vmbr0
bridge vlan add dev tap50 vid 100 pvid untagged
bridge vlan del dev tap50 vid 1",
        release: "ip link set tap50 nomaster",
        ..PLAIN.by_hand
    },
    ..PLAIN
};

/// The VM is reached only as the forward chain has a rule for it.
pub const NETFILTER: Kind = Kind {
    name: "br_netfilter",
    inside: "
ip link set tap50 address 02:00:00:00:01:50
ip address add 10.0.0.50/24 dev tap50
ip address add 10.0.0.66/24 dev tap50
ip route add default via 10.0.0.1",
    found: "
sysctl -qw net.bridge.bridge-nf-call-iptables=1
ip link add vmbr0 type bridge
ip link set vmbr0 up
for port in eth0 tap50; do ip link set $port master vmbr0; done
ip address add 10.0.0.5/24 brd + dev vmbr0
ip route add default via 10.0.0.1 dev vmbr0 onlink
nft add table ip filter
nft add chain ip filter forward '{ type filter hook forward priority 0; policy drop; }'
nft add rule ip filter forward ip saddr 10.0.0.50 accept
nft add rule ip filter forward ip daddr 10.0.0.50 accept",
    reached: &[(WORLD, "10.0.0.5"), (WORLD, "10.0.0.50")],
    silent: &[(WORLD, "10.0.0.66")],
    import: "--uplink eth0",
    segments: &["vmbr0"],
    change: ("uplink:", "uplink:\n      mtu: 1400"),
    by_hand: ByHand {
        change: "
ip link set vmbr0 mtu 1400
ip link set eth0 mtu 1400",
        release: "
ip link set eth0 mtu 1500
ip link set vmbr0 mtu 1500",
        ..PLAIN.by_hand
    },
    ..PLAIN
};
