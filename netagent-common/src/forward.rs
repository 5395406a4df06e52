//! The way past the bridge: where stations are, as the bridge has learned it, and when a program may go by that.
//!
//! The bridge stays the one who learns, floods and ages. The agent mirrors what it knows into a map; the programs change
//! nothing in it but two marks, so that a station which moves or falls silent is the bridge's own business at once.
//!
//! The map is an array of buckets rather than a hash map of the kernel's: each frame asks it twice, and a look-up here is some
//! 25 instructions instead of 130, call and all.

use crate::BUCKET_BITS;

/// How long a source may go past the bridge before the bridge sees one of its frames again, as a power of two in
/// nanoseconds: 17 s. A bridge forgets a station after 300 s (IEEE 802.1Q-2022 table 8-6).
const EPOCH_SHIFT: u32 = 34;
/// What an agent says of itself by [`Fresh`] holds for so long, in nanoseconds. When it dies, all goes by the bridge.
pub const FRESH_FOR: u64 = 1_000_000_000;

/// Who: an address in a VLAN of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Station {
    /// Interface index of the bridge.
    pub bridge: u32,
    /// The VLAN; 0 on a bridge that learns for all VLANs together.
    pub vid: u16,
    /// The address.
    pub mac: [u8; 6],
}

/// Entries to a bucket of the copy.
pub const WAYS: usize = 5;
/// The entries of stations that have the same hash. A station that finds none of them free stays the bridge's.
pub type FdbBucket = [FdbEntry; WAYS];

/// Where a station is. Three words of eight bytes, each written at once by the agent, so that a program sees the old or the new
/// one: who, where, and the programs' marks. An interface index 0: nobody, whatever the address, which stays there until no
/// program can have read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct FdbEntry {
    /// The address.
    pub mac: [u8; 6],
    /// The VLAN; 0 on a bridge that learns for all VLANs together.
    pub vid: u16,
    /// Interface index of the bridge.
    pub bridge: u32,
    /// Interface index of the port, or of the bridge: the node itself.
    pub ifindex: u32,
    /// Not 0: a frame of this station came in elsewhere; the bridge knows by now, the agent not yet.
    pub moved: u32,
    /// When the bridge saw a frame of this station last, by [`epoch`].
    pub epoch: u32,
}

/// The first word of an entry, from an address as a number.
#[inline(always)]
pub const fn who(mac: u64, vid: u16) -> u64 {
    mac | (vid as u64) << 48
}

/// The second word of an entry.
#[inline(always)]
pub const fn at(bridge: u32, ifindex: u32) -> u64 {
    bridge as u64 | (ifindex as u64) << 32
}

/// The bucket of a station. The seed is odd, and a secret, so that nobody can fill the bucket of another on purpose: Dietzfelbinger's
/// multiplicative hash, of which two stations share the value with a probability of at most two in as many as there are buckets.
#[inline(always)]
pub const fn bucket(who: u64, seed: u64) -> u32 {
    (who.wrapping_mul(seed) >> (64 - BUCKET_BITS)) as u32
}

/// How long the mirror may be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Fresh {
    /// Until then, in nanoseconds since boot without sleep (CLOCK_MONOTONIC); 0: the agent catches up with the bridge.
    pub until: u64,
    /// What the buckets of the copy were chosen by; the agent's, and the same as long as there is one.
    pub seed: u64,
}

/// Frames that a port received, and that went past the bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PathStats {
    /// By TC redirect.
    pub tc: u64,
    /// By XDP redirect.
    pub xdp: u64,
}

/// Now, in the units in which a source's frames are shown to the bridge.
#[inline(always)]
pub const fn epoch(now: u64) -> u32 {
    // The lower half of a number that grows by one in 17 seconds.
    (now >> EPOCH_SHIFT) as u32
}

impl FdbEntry {
    /// Whose it is.
    pub const fn station(&self) -> Station {
        Station { bridge: self.bridge, vid: self.vid, mac: self.mac }
    }

    /// A frame of this station came in by a port. Whether it may go past the bridge: not the first one from elsewhere, which
    /// the bridge must see to learn the move, and none from there until the agent has heard of it; and one in
    /// each epoch goes by the bridge, which would forget the station otherwise.
    #[inline(always)]
    pub fn comes_from(&mut self, ifindex: u32, epoch: u32) -> bool {
        if self.moved != 0 {
            return false;
        }
        if self.ifindex != ifindex {
            // Once: the word is shared between CPUs.
            self.moved = 1;
            return false;
        }
        if self.epoch != epoch {
            self.epoch = epoch;
            return false;
        }
        true
    }
}

#[cfg(feature = "user")]
mod user {
    use super::{FdbEntry, Fresh, PathStats};

    // SAFETY: repr(C), integers only, no padding (asserted in the tests).
    unsafe impl aya::Pod for FdbEntry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Fresh {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PathStats {}
}

#[cfg(test)]
mod tests {
    use core::mem::{offset_of, size_of};

    use super::*;
    use crate::mac;

    #[test]
    fn the_values_have_no_padding() {
        assert_eq!((size_of::<Fresh>(), size_of::<PathStats>()), (16, 16));
        assert_eq!(
            (size_of::<FdbEntry>(), offset_of!(FdbEntry, bridge), offset_of!(FdbEntry, moved)),
            (24, 8, 16)
        );
    }

    #[test]
    #[expect(unsafe_code, reason = "an entry's bytes")]
    fn the_words_of_an_entry_are_its_fields() {
        let (mac, vid) = ([2, 3, 4, 5, 6, 7], 100);
        let entry = FdbEntry { mac, vid, bridge: 8, ifindex: 9, moved: 0, epoch: 1 };
        // SAFETY: three words without padding.
        let words: [u64; 3] = unsafe { core::mem::transmute(entry) };
        assert_eq!(words[0], who(mac::number(mac), vid));
        assert_eq!(words[1], at(8, 9));
    }

    fn entry() -> FdbEntry {
        FdbEntry { ifindex: 4, epoch: 7, ..FdbEntry::default() }
    }

    #[test]
    fn a_station_that_moves_is_the_bridges_until_the_agent_has_heard_of_it() {
        let mut entry = entry();
        assert!(entry.comes_from(4, 7));
        assert!(!entry.comes_from(5, 7));
        // Neither from there nor to there, though it was there.
        assert!(entry.moved != 0 && !entry.comes_from(4, 7) && !entry.comes_from(5, 7));
    }

    #[test]
    fn the_bridge_sees_one_frame_in_an_epoch() {
        let mut entry = FdbEntry { epoch: epoch(0), ..entry() };
        let later = epoch(17_179_869_184);
        assert_ne!(later, epoch(0));
        assert!(entry.comes_from(4, epoch(1)));
        assert!(!entry.comes_from(4, later));
        assert!(entry.comes_from(4, later));
    }
}
