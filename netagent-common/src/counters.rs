//! The counters of the programs. Directions are seen from the node: receive is from the VM or the
//! wire.

use crate::policy;

/// The direction of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Direction {
    /// From the VM or the wire into the node.
    Receive = 0,
    /// From the node to the VM or the wire.
    Transmit = 1,
}

/// The reason for a drop. The discriminants are map keys: append, never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Reason {
    /// Untagged or priority-tagged, on a port without a VLAN for such frames.
    Untagged = 0,
    /// Tagged with a VID that is not in the port's allow-list.
    VlanNotAllowed = 1,
    /// Tagged, with an allowed VID, on a port that admits untagged frames only.
    TaggedOnAccess = 2,
    /// Tagged with VID 4095.
    ReservedVid = 3,
    /// Too short for its headers.
    Malformed = 4,
    /// Sent by a VM to, or towards a VM from, a link-local group (STP, LACP, LLDP, ...).
    LinkLocal = 5,
    /// Removing the tag would expose another one.
    StackedTag = 6,
    /// Transmitted by a port whose allow-list does not contain the VLAN.
    EgressFiltered = 7,
    /// On a device without a policy.
    NoPolicy = 8,
    /// The kernel refused to push or pop the tag.
    TagFailed = 9,
    /// From a source address that is not listed for the port.
    MacSpoofed = 10,
    /// ARP or RARP for an address that is not listed for the port.
    ArpSpoofed = 11,
    /// IPv6 neighbour discovery for an address that is not listed for the port.
    NdSpoofed = 12,
    /// From a source address above the limit of the port.
    MacLimit = 13,
    /// A message of a DHCP server, from a VM that must not be one.
    DhcpServer = 14,
    /// A router advertisement or redirect, from a VM that must not be a router.
    RouterAdvertisement = 15,
    /// Between two ports, at least one of which is isolated.
    Isolated = 16,
    /// Above the port's limit of broadcast frames.
    BroadcastStorm = 17,
    /// Above the port's limit of multicast frames.
    MulticastStorm = 18,
    /// Above the port's limit of frames to unknown stations.
    UnknownStorm = 19,
    /// Longer than the MTU of the egress port allows.
    TooLong = 20,
    /// A frame that makes an address known, from a port that stays silent.
    Silent = 21,
    /// An IGMP or MLD query, from a VM that must not be a multicast querier.
    MulticastQuery = 22,
    /// The source of an IP packet is not an address of the VM.
    IpSpoofed = 23,
    /// ARP for an IP address that is not one of the VM's.
    ArpIpSpoofed = 24,
    /// Neighbour discovery for an IPv6 address that is not one of the VM's.
    NdIpSpoofed = 25,
}

impl Reason {
    /// Every reason, in the order of the discriminants.
    pub const ALL: [Self; 26] = [
        Self::Untagged,
        Self::VlanNotAllowed,
        Self::TaggedOnAccess,
        Self::ReservedVid,
        Self::Malformed,
        Self::LinkLocal,
        Self::StackedTag,
        Self::EgressFiltered,
        Self::NoPolicy,
        Self::TagFailed,
        Self::MacSpoofed,
        Self::ArpSpoofed,
        Self::NdSpoofed,
        Self::MacLimit,
        Self::DhcpServer,
        Self::RouterAdvertisement,
        Self::Isolated,
        Self::BroadcastStorm,
        Self::MulticastStorm,
        Self::UnknownStorm,
        Self::TooLong,
        Self::Silent,
        Self::MulticastQuery,
        Self::IpSpoofed,
        Self::ArpIpSpoofed,
        Self::NdIpSpoofed,
    ];

    /// The name in metrics, tables and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untagged => "untagged",
            Self::VlanNotAllowed => "vlan-not-allowed",
            Self::TaggedOnAccess => "tagged-on-access",
            Self::ReservedVid => "reserved-vid",
            Self::Malformed => "malformed",
            Self::LinkLocal => "link-local",
            Self::StackedTag => "stacked-tag",
            Self::EgressFiltered => "egress-filtered",
            Self::NoPolicy => "no-policy",
            Self::TagFailed => "tag-failed",
            Self::MacSpoofed => "mac-spoofed",
            Self::ArpSpoofed => "arp-spoofed",
            Self::NdSpoofed => "nd-spoofed",
            Self::MacLimit => "mac-limit",
            Self::DhcpServer => "dhcp-server",
            Self::RouterAdvertisement => "router-advertisement",
            Self::Isolated => "isolated",
            Self::BroadcastStorm => "broadcast-storm",
            Self::MulticastStorm => "multicast-storm",
            Self::UnknownStorm => "unknown-storm",
            Self::TooLong => "too-long",
            Self::Silent => "silent",
            Self::MulticastQuery => "multicast-query",
            Self::IpSpoofed => "ip-spoofed",
            Self::ArpIpSpoofed => "arp-ip-spoofed",
            Self::NdIpSpoofed => "nd-ip-spoofed",
        }
    }

    /// The reason with this discriminant.
    pub fn from_u16(value: u16) -> Option<Self> {
        Self::ALL.get(usize::from(value)).copied()
    }

    /// The flag of [`crate::policy`] that a port needs to drop a frame for this reason; 0: none.
    pub const fn flag(self) -> u32 {
        match self {
            Self::MacSpoofed | Self::ArpSpoofed | Self::NdSpoofed => policy::MAC_GUARD,
            Self::MacLimit => policy::MAC_LIMIT,
            Self::Silent => policy::SILENT,
            Self::DhcpServer => policy::DHCP_GUARD,
            Self::RouterAdvertisement => policy::RA_GUARD,
            Self::MulticastQuery => policy::QUERIER_GUARD,
            Self::IpSpoofed | Self::ArpIpSpoofed | Self::NdIpSpoofed => policy::IP_GUARD,
            Self::Isolated => policy::ISOLATION,
            Self::BroadcastStorm | Self::MulticastStorm | Self::UnknownStorm => policy::STORM,
            Self::Untagged
            | Self::VlanNotAllowed
            | Self::TaggedOnAccess
            | Self::ReservedVid
            | Self::Malformed
            | Self::LinkLocal
            | Self::StackedTag
            | Self::EgressFiltered
            | Self::NoPolicy
            | Self::TagFailed
            | Self::TooLong => 0,
        }
    }

    /// Whether a port with these flags can drop a frame for this reason in a direction.
    pub const fn occurs(self, flags: u32, direction: Direction) -> bool {
        // A device without a policy is not a port.
        let by_a_port = !matches!(self, Self::NoPolicy);
        by_a_port && self.applies_to(direction) && flags & self.flag() == self.flag()
    }

    /// Whether a frame can be dropped for this reason in a direction.
    pub const fn applies_to(self, direction: Direction) -> bool {
        match self {
            Self::Untagged
            | Self::VlanNotAllowed
            | Self::TaggedOnAccess
            | Self::ReservedVid
            | Self::MacSpoofed
            | Self::ArpSpoofed
            | Self::NdSpoofed
            | Self::MacLimit
            | Self::DhcpServer
            | Self::RouterAdvertisement
            | Self::BroadcastStorm
            | Self::MulticastStorm
            | Self::UnknownStorm
            | Self::Silent
            | Self::MulticastQuery
            | Self::IpSpoofed
            | Self::ArpIpSpoofed
            | Self::NdIpSpoofed => matches!(direction, Direction::Receive),
            Self::EgressFiltered | Self::Isolated | Self::TooLong => {
                matches!(direction, Direction::Transmit)
            }
            Self::Malformed
            | Self::LinkLocal
            | Self::StackedTag
            | Self::NoPolicy
            | Self::TagFailed => true,
        }
    }
}

/// Traffic of one (port, VID) pair that passed the policy, per CPU. The agent writes `ifindex`,
/// `port` and `vid` when it allocates the pair, so that a dump of the map explains itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct VlanStats {
    /// Interface index of the port's device.
    pub ifindex: u32,
    /// Dense number of the port.
    pub port: u16,
    /// The VLAN; 0 for link-local frames, which belong to none.
    pub vid: u16,
    /// Frames from the VM or the wire; a GSO frame counts as its segments.
    pub rx_packets: u64,
    /// Bytes of these frames, with the Ethernet header, without VLAN tag and FCS.
    pub rx_bytes: u64,
    /// Frames to the VM or the wire.
    pub tx_packets: u64,
    /// Bytes of these frames.
    pub tx_bytes: u64,
}

/// In a [`DropKey`]: all VIDs that have no key of their own, or no VID.
pub const ANY_VID: u16 = 0xffff;
/// In a [`DropKey`]: the device is not a port, or the map was full.
pub const ANY_PORT: u16 = 0xffff;

/// Key of the drop counters. The programs write enums (`DropKey<Direction, Reason>`), which
/// `bpftool` prints by name; the agent reads the same bytes as integers, any of which are valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C, align(8))]
pub struct DropKey<D, R> {
    /// Dense number of the port, or [`ANY_PORT`].
    pub port: u16,
    /// The VID of the tag or of the port; 0 if the frame was untagged; or [`ANY_VID`].
    pub vid: u16,
    /// A [`Direction`].
    pub direction: D,
    /// A [`Reason`].
    pub reason: R,
}

impl<D: Copy, R: Copy> DropKey<D, R> {
    /// The key as one word: two keys are compared by one instruction.
    #[inline(always)]
    #[expect(unsafe_code, reason = "four fields of two bytes are one of eight")]
    const fn word(&self) -> u64 {
        const { assert!(size_of::<Self>() == size_of::<u64>()) };
        // SAFETY: a key has the size and alignment of a word, and no padding (asserted in the
        // tests).
        unsafe { core::ptr::from_ref(self).cast::<u64>().read() }
    }
}

/// The agent's view of a drop key.
pub type RawDropKey = DropKey<u16, u16>;

/// Drops of one key, per CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DropStats {
    /// Frames.
    pub packets: u64,
    /// Bytes of these frames, counted as in [`VlanStats`].
    pub bytes: u64,
}

/// Slots of a port on each CPU.
pub const SLOTS: usize = 2;

/// The first keys under which a CPU dropped frames of a port. Nearly all later drops have one of
/// these keys, which is found without a hash. A key keeps its slot: counts are never moved.
pub type DropSlots<D, R> = [DropSlot<D, R>; SLOTS];

/// Drops of one key on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DropSlot<D, R> {
    /// Frames; 0: the slot is free, whatever the key.
    pub packets: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// The key. It is written before the number of frames, and read after it.
    pub key: DropKey<D, R>,
}

/// The agent's view of a port's slots.
pub type RawDropSlots = DropSlots<u16, u16>;

/// Adds to a counter in a map. The agent and other CPUs may access it at the same time, so that no
/// reference to it may exist.
///
/// # Safety
///
/// `counter` is valid for reads and writes.
#[inline(always)]
#[expect(unsafe_code, reason = "map memory is shared")]
pub unsafe fn add(counter: *mut u64, amount: u64) {
    // SAFETY: valid, says the caller.
    unsafe { counter.write_volatile(counter.read_volatile().wrapping_add(amount)) }
}

/// Counts a frame in the slot of its key; false: other keys have all slots.
///
/// # Safety
///
/// `slots` is valid for reads and writes, and no other program counts in it at the same time.
#[inline(always)]
#[expect(unsafe_code, reason = "map memory is shared")]
pub unsafe fn count_in_slot<D: Copy, R: Copy>(
    slots: *mut DropSlots<D, R>,
    key: DropKey<D, R>,
    packets: u64,
    bytes: u64,
) -> bool {
    for number in 0..SLOTS {
        // SAFETY: one of the slots, whose fields are valid.
        unsafe {
            let slot = slots.cast::<DropSlot<D, R>>().add(number);
            let its_key = (&raw mut (*slot).key).cast::<u64>();
            if (&raw const (*slot).packets).read_volatile() == 0 {
                its_key.write_volatile(key.word());
            } else if its_key.read_volatile() != key.word() {
                continue;
            }
            add(&raw mut (*slot).packets, packets);
            add(&raw mut (*slot).bytes, bytes);
        }
        return true;
    }
    false
}

#[cfg(feature = "user")]
mod user {
    use super::{DropSlot, DropStats, RawDropKey, VlanStats};

    // SAFETY: repr(C), integers only, no padding (asserted below).
    unsafe impl aya::Pod for VlanStats {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RawDropKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for DropStats {}
    // SAFETY: as above.
    unsafe impl aya::Pod for DropSlot<u16, u16> {}
}

#[cfg(test)]
mod tests;
