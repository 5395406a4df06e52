//! What crosses the boundary between the agent and its eBPF programs: the map values, and the one
//! decision that both sides share.
//!
//! - [`vlan`]: VIDs and tags as IEEE 802.1Q defines them.
//! - [`mac`]: addresses as numbers.
//! - [`policy`]: what a port may send and receive; [`decide`]: what becomes of a frame there, called by every program.
//! - [`forward`]: where stations are, and when a frame may go past the bridge.
//! - [`guard`]: what a VM may say of itself, for ports that check that.
//! - [`limit`]: how many addresses and how much broadcast a VM may use.
//! - [`counters`]: traffic by (port, VID), drops by (port, VID, direction, reason).
//! - [`sample`]: dropped frames, for who wants to see them.
//!
//! Every map value is `repr(C)`, in host byte order, without implicit padding, and holds integers and
//! arrays of integers only, so that any bytes are a valid value. The tests of this crate assert sizes
//! and offsets. A change of any of them is a change of [`LAYOUT`].
#![no_std]

pub mod counters;
pub mod decide;
pub mod forward;
pub mod guard;
pub mod limit;
pub mod mac;
pub mod policy;
pub mod sample;
pub mod vlan;

/// Version of the map layout. Part of the pin directory's name, so that programs and maps of two
/// layouts never meet.
pub const LAYOUT: u32 = 1;

/// Most ports (VM ports and uplinks together) that one agent serves.
pub const MAX_PORTS: u32 = 1024;
/// Elements of the port index: a power of two, so that an ifindex maps to one by masking.
pub const PORT_INDEX_SIZE: u32 = 1 << 16;
/// Most ports whose ifindex shares its masked element with another port's.
pub const PORT_INDEX_SPILL: u32 = 1024;
/// Most addresses of VMs that may only use listed ones.
pub const MAX_MACS: u32 = 16_384;
/// Most stations that frames reach past the bridge; the others stay the bridge's.
pub const MAX_STATIONS: u32 = 16_384;
/// Buckets of the map that has them, as a power of two: half as many as stations, with five entries each, so that one in a hundred
/// finds no room in its bucket when there are as many as can be, and hardly any before.
pub const BUCKET_BITS: u32 = 13;
/// How many that is.
pub const BUCKETS: u32 = 1 << BUCKET_BITS;
/// Most of them behind one VM's port: a VM that invents addresses takes no other's place.
pub const STATIONS_PER_PORT: u32 = 1024;
/// Slots for the NICs from which XDP may forward: a power of two, so that an ifindex maps to one by masking. Of two NICs that
/// share one, one leaves its frames to TC.
pub const NIC_SLOTS: u32 = 1024;
/// Most (port, VID) pairs with counters; pair 0 is never handed out.
pub const MAX_PAIRS: u32 = 14_336;
/// Most blocks of 64 VIDs in which a port has a pair; block 0 is never handed out. There is none without a pair, so they suffice.
pub const MAX_BLOCKS: u32 = MAX_PAIRS;
/// Most distinct (port, VID, direction, reason) that are counted apart, besides the first of each port.
pub const MAX_DROPS: u32 = 15 * MAX_PORTS;
/// Most drops by VID that one port may keep apart; the rest of its VIDs share [`counters::ANY_VID`].
pub const DROPS_PER_PORT: u32 = 32;
