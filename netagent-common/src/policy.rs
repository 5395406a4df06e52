//! What a port may send and receive.

use crate::vlan::VID_MASK;

/// Admit untagged and priority-tagged frames (802.1Q: acceptable frame types).
pub const ADMIT_UNTAGGED: u32 = 1 << 0;
/// Admit tagged frames.
pub const ADMIT_TAGGED: u32 = 1 << 1;
/// Transmit the PVID's frames tagged ("native: tagged"), instead of untagged.
pub const PVID_TAGGED: u32 = 1 << 2;
/// Pass link-local groups without any VLAN policy: an uplink, where LACP, LLDP and STP must survive, or a VM's port
/// whose operator wants the node to hear them.
pub const LINK_LOCAL_BYPASS: u32 = 1 << 3;
/// The bridge removes the PVID's tag on this port (VLAN-aware, "PVID Egress Untagged").
pub const BRIDGE_STRIPS: u32 = 1 << 4;
/// No NIC under this uplink takes the tag out of the bytes: XDP sees it, and may drop early.
pub const TAGS_IN_BYTES: u32 = 1 << 5;
/// The port is an uplink.
pub const UPLINK: u32 = 1 << 6;
/// The port is a trunk (informational: the allow-list decides).
pub const TRUNK: u32 = 1 << 7;
/// The uplink took no XDP program; the agent's note to itself.
pub const XDP_REFUSED: u32 = 1 << 8;
/// The port talks to the uplink only.
pub const ISOLATED: u32 = 1 << 9;
/// The bridge has isolated ports, so it counts where a frame comes from.
pub const ISOLATION: u32 = 1 << 10;
/// The VM may only use the addresses that are listed for it.
pub const MAC_GUARD: u32 = 1 << 11;
/// The VM may only use `mac_limit` addresses.
pub const MAC_LIMIT: u32 = 1 << 12;
/// The VM may not be a DHCP server.
pub const DHCP_GUARD: u32 = 1 << 13;
/// The VM may not be an IPv6 router.
pub const RA_GUARD: u32 = 1 << 14;
/// Broadcast or multicast from the VM is limited.
pub const STORM: u32 = 1 << 15;
/// QinQ (dot1q-tunnel): `pvid` is the service VLAN, and `vids` lists the customer's VIDs.
pub const TUNNEL: u32 = 1 << 16;
/// Some VLANs of this uplink are service VLANs, whose outer tag on the wire is an S-tag: those in `services`.
pub const SERVICES: u32 = 1 << 17;
/// Frames of the PVID that have a priority reach the VM priority-tagged (VID 0).
pub const PRIORITY_IF_NONZERO: u32 = 1 << 18;
/// Frames of the PVID reach the VM priority-tagged, with a priority or without.
pub const PRIORITY_ALWAYS: u32 = 1 << 19;
/// Frames may go past the bridge, from this port and to it.
pub const FAST: u32 = 1 << 20;
/// The bridge learns for each VLAN apart.
pub const PER_VLAN: u32 = 1 << 21;
/// Of a VM's port: it takes frames that XDP forwards. Of an uplink: some of its ports do.
pub const FAST_XDP: u32 = 1 << 22;
/// The port is a veth without a queue whose other end is in another namespace: frames can be put there at once.
pub const PEER: u32 = 1 << 23;

/// Flags that few ports have. A program is loaded for those that its port has: the code of the others is not in it.
pub const OPTIONAL: u32 = ISOLATION
    | MAC_GUARD
    | MAC_LIMIT
    | DHCP_GUARD
    | RA_GUARD
    | STORM
    | TUNNEL
    | SERVICES
    | PRIORITY_IF_NONZERO
    | PRIORITY_ALWAYS
    | FAST_XDP;

/// Policy of one port. Two records per port: the programs read one while the agent writes the other, and one
/// eight-byte store of a [`PortRef`] switches between them, so that a packet sees the old or the new policy, never
/// a mixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Policy {
    /// Interface index of the device.
    pub ifindex: u32,
    /// Combination of the flags of this module.
    pub flags: u32,
    /// Dense number of the port.
    pub port: u16,
    /// The VID that untagged frames get; 0: none, they are dropped.
    pub pvid: u16,
    /// The VID whose frames are untagged inside a VLAN-unaware bridge (the host's own, untagged VLAN); 0: none.
    pub bridge_pvid: u16,
    /// The counters of `pvid`: nearly all frames of an access port, found without a second look-up.
    pub pvid_pair: u16,
    /// The number of this record, under which the VM's addresses are found, where [`MAC_GUARD`].
    pub record: u16,
    /// Most source addresses, where [`MAC_LIMIT`].
    pub mac_limit: u16,
    /// Broadcast frames per second that the VM may send; 0: no limit.
    pub broadcast_limit: u32,
    /// The same for multicast frames.
    pub multicast_limit: u32,
    /// The same for unicast frames to stations that the bridge does not know.
    pub unknown_limit: u32,
    /// Interface index of the bridge.
    pub bridge: u32,
    /// Zero: no implicit padding.
    pub unused: u32,
    /// Name of the device, padded with NUL.
    pub device: [u8; 16],
    /// Name of the network, or of the cluster network of an uplink; cut after 32 bytes, padded with NUL.
    pub network: [u8; 32],
    /// The allow-list: bit `vid % 64` of word `vid / 64`. Of the customer's VIDs, where [`TUNNEL`].
    pub vids: [u64; 64],
    /// The service VLANs, where [`SERVICES`]: bits as in `vids`.
    pub services: [u64; 64],
    /// For each word of the allow-list the block that has the pair numbers of its 64 VIDs; 0: none.
    pub blocks: [u16; 64],
}

impl Policy {
    /// A port that drops everything.
    pub const EMPTY: Self = Self {
        ifindex: 0,
        flags: 0,
        port: 0,
        pvid: 0,
        bridge_pvid: 0,
        pvid_pair: 0,
        record: 0,
        mac_limit: 0,
        broadcast_limit: 0,
        multicast_limit: 0,
        unknown_limit: 0,
        bridge: 0,
        unused: 0,
        device: [0; 16],
        network: [0; 32],
        vids: [0; 64],
        services: [0; 64],
        blocks: [0; 64],
    };

    /// Whether a VID (12 bits) is in the allow-list.
    #[inline(always)]
    pub const fn allows(&self, vid: u16) -> bool {
        // The masks cannot change a 12-bit VID; they are what the verifier sees.
        self.vids[((vid & VID_MASK) >> 6) as usize] >> (vid & 63) & 1 == 1
    }

    /// Whether a VID (12 bits) is that of a service VLAN.
    #[inline(always)]
    pub const fn is_service(&self, vid: u16) -> bool {
        self.services[((vid & VID_MASK) >> 6) as usize] >> (vid & 63) & 1 == 1
    }

    /// Whether all of some flags are set.
    #[inline(always)]
    pub const fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// The VID of frames that are untagged on the bridge's side of this port; 0: none are.
    #[inline(always)]
    pub const fn untagged_on_bridge(&self) -> u16 {
        if self.has(BRIDGE_STRIPS) { self.pvid } else { self.bridge_pvid }
    }
}

/// An address that a VM may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct PortMac {
    /// Number of the policy record: the addresses change with the policy, at once.
    pub record: u16,
    /// The address.
    pub mac: [u8; 6],
}

/// Where a device's policy is: the value of the port index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PortRef {
    /// The interface index that this element is for; 0: none.
    pub ifindex: u32,
    /// Record number: twice the port number, plus which of the two records.
    pub record: u32,
}

impl PortRef {
    /// The reference in an element of the port index, which is read as one word: the agent switches both
    /// fields by one store.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        let [a, b, c, d, record @ ..] = word.to_ne_bytes();
        Self { ifindex: u32::from_ne_bytes([a, b, c, d]), record: u32::from_ne_bytes(record) }
    }
}

#[cfg(feature = "user")]
mod user {
    use super::{Policy, PortMac, PortRef};

    // SAFETY: repr(C), integers only, no padding (asserted in the tests of `decide`).
    unsafe impl aya::Pod for Policy {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PortRef {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PortMac {}
}
