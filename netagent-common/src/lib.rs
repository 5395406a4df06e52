//! The interface between the agent and its eBPF programs: the map values, and the decisions that
//! the programs make, as pure functions.
//!
//! - [`vlan`]: VIDs and tags as IEEE 802.1Q defines them.
//! - [`mac`]: addresses as numbers.
//! - [`policy`]: the policy of a port; [`decide`]: the decision about a frame at a port, called by
//!   every program.
//! - [`forward`]: the FDB map, and the decision whether a frame may bypass the bridge.
//! - [`guard`]: the checks against spoofing, rogue DHCP servers and rogue routers.
//! - [`silence`]: ports that stay silent until their VM runs.
//! - [`segments`]: the frames that a device sends for a GSO frame.
//! - [`limit`]: the limits of addresses and of broadcast, multicast and unknown unicast.
//! - [`counters`]: traffic by (port, VID), drops by (port, VID, direction, reason).
//! - [`fnv`]: the hash of names that persist.
//! - [`sample`]: samples of dropped frames for `netagent monitor`.
//!
//! Every map value is `repr(C)`, in host byte order, without implicit padding, and holds integers
//! and arrays of integers only, so that any bytes are a valid value. The tests of this crate assert
//! sizes and offsets. A change of any of them is a change of [`LAYOUT`].
#![no_std]

pub mod counters;
pub mod decide;
pub mod fnv;
pub mod forward;
pub mod guard;
pub mod limit;
pub mod mac;
pub mod policy;
pub mod sample;
pub mod segments;
pub mod silence;
pub mod vlan;

/// Version of the map layout. It is part of the name of the pin directory, so that programs never
/// use maps of another layout.
pub const LAYOUT: u32 = 1;

/// Maximum number of ports (VM ports and uplinks) of one agent.
pub const MAX_PORTS: u32 = 1024;
/// Elements of the port index: a power of two, so that an ifindex maps to one by masking.
pub const PORT_INDEX_SIZE: u32 = 1 << 16;
/// Maximum number of ports whose masked ifindex is that of another port.
pub const PORT_INDEX_SPILL: u32 = 1024;
/// Maximum number of listed addresses.
pub const MAX_MACS: u32 = 16_384;
/// Maximum number of listed IP prefixes.
pub const MAX_IPS: u32 = 16_384;
/// Maximum number of stations in the FDB map. Frames to all others take the bridge.
pub const MAX_STATIONS: u32 = 16_384;
/// Buckets of the FDB map, as a power of two: half as many as stations, with five entries each. One
/// in a hundred stations finds its bucket full when the map has its maximum number of stations, and
/// hardly any before.
pub const BUCKET_BITS: u32 = 13;
/// Buckets of the FDB map.
pub const BUCKETS: u32 = 1 << BUCKET_BITS;
/// Maximum number of stations of one VM's port: a VM cannot use the whole map.
pub const STATIONS_PER_PORT: u32 = 1024;
/// Slots for the NICs from which XDP may forward: a power of two, so that an ifindex maps to one by
/// masking. If two NICs share a slot, TC forwards the frames of one of them.
pub const NIC_SLOTS: u32 = 1024;
/// Maximum number of (port, VID) pairs with counters; pair 0 is not used.
pub const MAX_PAIRS: u32 = 14_336;
/// Maximum number of blocks of 64 VIDs; block 0 is not used. Each block has a pair, so that they
/// suffice.
pub const MAX_BLOCKS: u32 = MAX_PAIRS;
/// Maximum number of drop keys (port, VID, direction, reason) besides the slots of each port.
pub const MAX_DROPS: u32 = 15 * MAX_PORTS;
/// Maximum number of drop keys that a port may use; further VIDs share [`counters::ANY_VID`].
pub const DROPS_PER_PORT: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// They are part of the layout, and bound the memory of the agent.
    #[test]
    fn the_maps_have_the_sizes_that_the_programs_mask_and_index_by() {
        assert_eq!((PORT_INDEX_SIZE, PORT_INDEX_SPILL, NIC_SLOTS), (65_536, 1024, 1024));
        assert!(PORT_INDEX_SIZE.is_power_of_two() && NIC_SLOTS.is_power_of_two());
        assert_eq!((BUCKETS, BUCKETS * 2), (8192, MAX_STATIONS));
        assert_eq!((MAX_PAIRS, MAX_BLOCKS, MAX_DROPS), (14_336, 14_336, 15_360));
        assert_eq!((sample::RING_BYTES, sample::WINDOWS), (262_144, 1025));
    }
}
