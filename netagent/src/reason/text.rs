//! The words. Each reason has what it means (short: `show drops` prints it), what usually causes it, what to do.

use netagent_common::counters::Reason;

/// Meaning, cause, remedy.
#[expect(clippy::too_many_lines, reason = "a table")]
pub const fn of(reason: Reason) -> [&'static str; 3] {
    match reason {
        Reason::Untagged => [
            "untagged or priority-tagged (VID 0), where the port has no native VLAN",
            "A guest that uses the bare interface on a trunk network, often DHCP of an installer; on an uplink with \
             `native: none`, the native VLAN of the switch port. A frame with an outer 802.1ad tag counts as untagged.",
            "Give the network or the uplink a VLAN for them (`native`), or let the peer tag its frames.",
        ],
        Reason::VlanNotAllowed => [
            "tagged with a VID that is not in the port's allow-list",
            "On an uplink, the switch sends VLANs that no network of this node uses. On a port, the guest uses a VLAN \
             that its network lacks, or tries to reach one that is not its own.",
            "Uplink: prune the VLANs at the switch port; until then this is harmless. Port: add the VID to the \
             network's `trunk`, or remove the VLAN interface in the guest.",
        ],
        Reason::TaggedOnAccess => [
            "tagged with a VLAN of the port, where only untagged frames are taken",
            "The guest has a VLAN interface for the VLAN that its port gives it untagged.",
            "Put the guest's address on the bare interface, or set `admit: all`, or use a trunk network.",
        ],
        Reason::ReservedVid => [
            "tagged with VID 4095, which must never be sent",
            "A faulty or hostile sender.",
            "Find it by its source address (`netagent monitor --reason reserved-vid`).",
        ],
        Reason::Malformed => [
            "cut off inside its headers",
            "A faulty or hostile sender, or a NIC or driver that damages frames.",
            "Port: look at what the guest sends (`netagent monitor --reason malformed`). Uplink: look at the NIC's \
             error counters (`ethtool -S`), its driver and its cable.",
        ],
        Reason::LinkLocal => [
            "STP, LACP, LLDP or the like (01:80:C2:00:00:00 to 0F) stops at the port of a VM",
            "The guest runs such a protocol (lldpd, a bond with LACP, a bridge with STP), or the bridge sends STP.",
            "Nothing: it is harmless. Where a guest is to speak it with the switch, set `allowLinkLocal` on its port \
             or network.",
        ],
        Reason::StackedTag => [
            "another tag would come to light once the outer one is removed",
            "QinQ through a port that is not made for it, or an attempt at VLAN hopping by double tags. Before Linux \
             6.12 also an 802.1ad tag, over which the kernel cannot push another.",
            "Carry QinQ on a trunk network, where the outer tag stays. Else find the sender (`netagent monitor \
             --reason stacked-tag`).",
        ],
        Reason::EgressFiltered => [
            "came here through the bridge, and its VLAN is not on this port",
            "Over a bridge that does not filter VLANs itself (`vlanFiltering: off`), every flooded frame of another \
             VLAN: expected. Over one that does, its VLANs differ from the policy.",
            "VLAN-unaware bridge: nothing. VLAN-aware bridge: compare `bridge vlan show` with `netagent show ports`, \
             and run `netagent plan`.",
        ],
        Reason::NoPolicy => [
            "on a device for which the programs have no policy",
            "A port that is being removed or was renamed, or a program that was left on a device.",
            "If it goes on: run `netagent apply`, or `netagent detach` and then apply.",
        ],
        Reason::TagFailed => [
            "the kernel could not push or pop the tag",
            "Short of memory for packets.",
            "Look at the node's memory (`dmesg`); if there is enough, please report it.",
        ],
        Reason::MacSpoofed => [
            "from a MAC address that is not one of the port's",
            "The guest has changed its MAC address, bridges or routes for containers or nested VMs, uses VRRP or \
             macvlan; or pretends to be another station.",
            "Add the address to `macs` of the port, or remove `macs` to allow all.",
        ],
        Reason::ArpSpoofed => [
            "ARP or RARP that speaks for a MAC address that is not one of the port's",
            "As with mac-spoofed, though the frame itself came from an allowed address: proxy ARP, a failover \
             protocol, or ARP poisoning.",
            "Add the address to `macs` of the port if the guest may answer for it; else look into the guest.",
        ],
        Reason::NdSpoofed => [
            "IPv6 neighbour discovery that speaks for a MAC address that is not one of the port's",
            "As with mac-spoofed, though the frame itself came from an allowed address: an ND proxy, a failover \
             protocol, or neighbour cache poisoning.",
            "Add the address to `macs` of the port if the guest may answer for it; else look into the guest.",
        ],
        Reason::MacLimit => [
            "from one source MAC address more than the port may have",
            "The guest runs containers or nested VMs on a bridge, or floods the bridge with made-up addresses.",
            "Raise `maxMacs` of the port or network if the guest is to have that many; else look into the guest.",
        ],
        Reason::DhcpServer => [
            "what only a DHCP server sends, from a VM that is to be none",
            "The guest runs a DHCP server on this interface: a virtual router, libvirt's or Docker's dnsmasq, or a \
             rogue one.",
            "If it is the network's server, set `dhcpGuard: false` on its port; else stop it in the guest.",
        ],
        Reason::RouterAdvertisement => [
            "what only an IPv6 router sends (advertisement, redirect), from a VM that is to be none",
            "The guest forwards IPv6 and runs radvd or the like on this interface, shares a connection, or is rogue.",
            "If it is the network's router, set `raGuard: false` on its port; else stop it in the guest.",
        ],
        Reason::Isolated => [
            "from one port to another of which one is isolated",
            "Two VMs of this node that talk to each other directly; every flooded frame as well. Expected.",
            "Nothing, if they are to reach the uplink only; else remove `isolated` from both ports or the network.",
        ],
        Reason::BroadcastStorm => [
            "above the port's limit of broadcast frames",
            "A loop in or behind the guest, a scan by ARP, or a limit that is too low for what the guest does.",
            "Look at what it sends (`netagent monitor --reason broadcast-storm`); end the loop, or raise \
             `storm.broadcast` (packets per second).",
        ],
        Reason::MulticastStorm => [
            "above the port's limit of multicast frames",
            "A loop in or behind the guest, streams by multicast, or a limit that is too low for what the guest does.",
            "Look at what it sends (`netagent monitor --reason multicast-storm`); end the loop, or raise \
             `storm.multicast` (packets per second).",
        ],
        Reason::UnknownStorm => [
            "above the port's limit of frames to stations that the bridge does not know",
            "The guest scans for stations or floods; or a station that it sends to has not said a word for five minutes.",
            "Look at what it sends (`netagent monitor --reason unknown-storm`) and whether the stations are there \
             (`bridge fdb show`); raise `storm.unknown` (packets per second) if that is meant.",
        ],
        Reason::TooLong => [
            "longer than the MTU of the port allows",
            "The MTU of the port's device is below the MTU of its network, or a sender uses a larger MTU than the \
             receiver. Only known unicast is counted: the bridge drops its copies of flooded frames itself.",
            "Use one MTU for all stations of a VLAN: compare the port (`ip link show`) with `uplink.mtu`, then raise \
             the port's `mtu`, or lower the MTU of the sender.",
        ],
    }
}
