//! The texts: the meaning (short: `show drops` prints it), the usual cause, the remedy.

use netagent_common::counters::Reason;

/// Meaning, cause, remedy.
#[expect(clippy::too_many_lines, reason = "a table")]
pub const fn of(reason: Reason) -> [&'static str; 3] {
    match reason {
        Reason::Untagged => [
            "untagged or priority-tagged (VID 0), but the port has no native VLAN",
            "Port: the guest uses the bare interface on a trunk network, often for DHCP in an \
             installer. Uplink with `native: none`: the switch port has a native VLAN. A frame \
             with an outer 802.1ad tag counts as untagged.",
            "Set `native` on the network or the uplink, or configure the sender to tag its frames.",
        ],
        Reason::VlanNotAllowed => [
            "tagged with a VID that is not in the port's allow-list",
            "Uplink: the switch sends VLANs that no network of this node uses. Port: the guest \
             uses a VLAN that its network does not have, or tries to reach another VLAN.",
            "Uplink: prune the VLANs at the switch port; until then the drops are harmless. Port: \
             add the VID to the network's `trunk`, or remove the VLAN interface in the guest.",
        ],
        Reason::TaggedOnAccess => [
            "tagged with a VLAN of the port, but the port admits only untagged frames",
            "The guest has a VLAN interface for the VLAN that its port delivers untagged.",
            "Put the guest's address on the bare interface, set `admit: all`, or use a trunk \
             network.",
        ],
        Reason::ReservedVid => [
            "tagged with the reserved VID 4095",
            "A faulty or hostile sender.",
            "Find the sender by its source address (`netagent monitor --reason reserved-vid`).",
        ],
        Reason::Malformed => [
            "truncated inside its headers; with a guard: its lengths or headers disagree",
            "A faulty or hostile sender, or a NIC or driver that damages frames. With a guard: \
             neighbour discovery in fragments, jumbograms, ARP for other addresses.",
            "Port: look at the guest's frames (`netagent monitor --reason malformed`). Uplink: \
             look at the NIC's error counters (`ethtool -S`), its driver and its cable.",
        ],
        Reason::LinkLocal => [
            "STP, LACP, LLDP or similar (01:80:C2:00:00:00 to 0F), which VM ports do not pass",
            "The guest runs such a protocol (lldpd, a bond with LACP, a bridge with STP), or the \
             bridge sends STP.",
            "Nothing: the drops are harmless. If the guest must speak the protocol with the switch, \
             set `allowLinkLocal` on its port or network.",
        ],
        Reason::StackedTag => [
            "another tag would become visible after the outer one is removed",
            "QinQ through a port that is not a QinQ port, or VLAN hopping by double tags. Before \
             Linux 6.12 also an 802.1ad tag, because the kernel cannot push another tag over it.",
            "Carry QinQ on a trunk network, which keeps the outer tag. Otherwise find the sender \
             (`netagent monitor --reason stacked-tag`).",
        ],
        Reason::EgressFiltered => [
            "forwarded by the bridge, but its VLAN is not in this port's allow-list",
            "VLAN-unaware bridge (`vlanFiltering: off`): every flooded frame of another VLAN. \
             VLAN-aware bridge: the VLANs of the bridge differ from the policy.",
            "VLAN-unaware bridge: nothing, the drops are expected. VLAN-aware bridge: compare \
             `bridge vlan show` with `netagent show ports`, and run `netagent plan`.",
        ],
        Reason::NoPolicy => [
            "on a device for which the programs have no policy",
            "A port that is being removed or was renamed, or a program that stayed on a device.",
            "If the drops continue, run `netagent apply`; if that does not help, run `netagent \
             detach` and then `netagent apply`.",
        ],
        Reason::TagFailed => [
            "the kernel could not push or pop the tag",
            "The kernel could not allocate memory for the frame.",
            "Look at the node's memory (`dmesg`). If there is enough, please report a bug.",
        ],
        Reason::MacSpoofed => [
            "source MAC address is not one of the port's",
            "The guest has changed its MAC address; it bridges or routes for containers or nested \
             VMs; it uses VRRP or macvlan; or it impersonates another station.",
            "Add the address to `macs` of the port, or remove `macs` to allow all addresses.",
        ],
        Reason::ArpSpoofed => [
            "ARP or RARP with a sender MAC address that is not one of the port's",
            "The source address of the frame is allowed, but the message claims another: proxy \
             ARP, a failover protocol, or ARP poisoning.",
            "If the guest may answer for the address, add it to `macs` of the port. Otherwise \
             inspect the guest.",
        ],
        Reason::NdSpoofed => [
            "IPv6 neighbour discovery with a MAC address that is not one of the port's",
            "The source address of the frame is allowed, but the message claims another: an ND \
             proxy, a failover protocol, or neighbour cache poisoning.",
            "If the guest may answer for the address, add it to `macs` of the port. Otherwise \
             inspect the guest.",
        ],
        Reason::IpSpoofed => [
            "source IP address is not one of the port's `addresses`",
            "The guest has another address than the list; it routes or masquerades for containers \
             or nested VMs; its link-local IPv6 address does not follow from its MAC address (RFC \
             7217); or it impersonates another station.",
            "Add the address or prefix to `addresses` of the port (`fe80::/10` for any link-local \
             one), or remove `addresses` to allow all.",
        ],
        Reason::ArpIpSpoofed => [
            "ARP for an IP address that is not one of the port's `addresses`",
            "The guest answers or announces an address that is not on the list: an additional \
             address, a failover protocol, or ARP poisoning, also with its own MAC address.",
            "If the guest may have the address, add it to `addresses` of the port. Otherwise \
             inspect the guest.",
        ],
        Reason::NdIpSpoofed => [
            "neighbour discovery for an IPv6 address that is not one of the port's `addresses`",
            "The guest advertises an address that is not on the list, or looks for its duplicates: \
             a privacy address (RFC 8981), a failover protocol, or neighbour cache poisoning.",
            "If the guest may have the address, add it or its prefix to `addresses` of the port. \
             Otherwise inspect the guest.",
        ],
        Reason::MacLimit => [
            "the port already uses its maximum number of source MAC addresses",
            "The guest runs containers or nested VMs on a bridge, or floods the bridge with \
             made-up addresses.",
            "If the guest needs that many addresses, raise `maxMacs` of the port or network. \
             Otherwise inspect the guest.",
        ],
        Reason::DhcpServer => [
            "a DHCP server's message from a port with `dhcpGuard`",
            "The guest runs a DHCP server on this interface: a virtual router, the dnsmasq of \
             libvirt or Docker, or a rogue server.",
            "If the guest is the network's DHCP server, set `dhcpGuard: false` on its port. \
             Otherwise stop the server in the guest.",
        ],
        Reason::RouterAdvertisement => [
            "an IPv6 router advertisement or redirect from a port with `raGuard`",
            "The guest forwards IPv6 and runs radvd or similar on this interface, shares a \
             connection, or is a rogue router.",
            "If the guest is the network's router, set `raGuard: false` on its port. Otherwise \
             stop the router in the guest.",
        ],
        Reason::MulticastQuery => [
            "an IGMP or MLD query from a port with `mcastQuerierGuard`",
            "The guest runs a multicast router (pimd, mrouted) or a bridge with `mcast_querier`, or \
             wants to end multicast to other stations of its VLAN.",
            "If the guest is the network's querier, set `mcastQuerierGuard: false` on its port. \
             Otherwise stop the querier in the guest.",
        ],
        Reason::Isolated => [
            "between two ports of which at least one is isolated",
            "Two VMs of this node talk to each other directly, or a frame is flooded. The drops \
             are expected.",
            "If the VMs may reach each other, remove `isolated` from both ports or the network.",
        ],
        Reason::BroadcastStorm => [
            "above the port's limit of broadcast frames",
            "A loop in or behind the guest, an ARP scan, or a limit that is too low for the guest.",
            "Look at the frames (`netagent monitor --reason broadcast-storm`). Remove the loop, \
             or raise `storm.broadcast` (packets per second).",
        ],
        Reason::MulticastStorm => [
            "above the port's limit of multicast frames",
            "A loop in or behind the guest, multicast streams, or a limit that is too low for the \
             guest.",
            "Look at the frames (`netagent monitor --reason multicast-storm`). Remove the loop, \
             or raise `storm.multicast` (packets per second).",
        ],
        Reason::UnknownStorm => [
            "above the port's limit of unicast frames to unknown stations",
            "The guest scans or floods the network, or sends to a station that has been silent \
             for five minutes.",
            "Look at the frames (`netagent monitor --reason unknown-storm`) and at the known \
             stations (`bridge fdb show`). If the traffic is legitimate, raise `storm.unknown` \
             (packets per second).",
        ],
        Reason::Silent => [
            "would make the guest's address known, from a port that is `silent`",
            "The guest is migrated to this node and does not run here yet, or it has sent nothing \
             but announcements so far. The drops are expected.",
            "If the guest runs here and is not reached, `netagent port announce DEVICE`. If it is \
             no target of a migration, remove `silent` from its port.",
        ],
        Reason::TooLong => [
            "longer than the MTU of the port allows",
            "The MTU of the port's device is below the MTU of its network, or the sender uses a \
             larger MTU than the receiver. Counted are known unicast frames, and all GSO frames \
             with longer segments, which the bridge would transmit: the bridge itself drops its \
             copies of other flooded frames.",
            "Use one MTU for all stations of a VLAN: compare the port (`ip link show`) with \
             `uplink.mtu`, then raise the port's `mtu`, or lower the MTU of the sender.",
        ],
    }
}
