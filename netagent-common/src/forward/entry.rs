//! An entry of the FDB map, and what it says about the source of a frame.

use crate::BUCKET_BITS;

/// A MAC address in a VLAN of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Station {
    /// Interface index of the bridge.
    pub bridge: u32,
    /// The VLAN; 0 on a bridge that has one FDB for all VLANs.
    pub vid: u16,
    /// The address.
    pub mac: [u8; 6],
}

/// Entries of a bucket.
pub const WAYS: usize = 5;
/// The entries of stations with one hash value. A station that finds its bucket full is left to the
/// bridge.
pub type FdbBucket = [FdbEntry; WAYS];

/// The place of a station. Three words of eight bytes: station, place, and the programs' marks. The
/// agent writes each word by one store: a program reads the old or the new word. An entry with the
/// interface index 0 is a tombstone: its address stays until no program can have read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct FdbEntry {
    /// The address.
    pub mac: [u8; 6],
    /// The VLAN; 0 on a bridge that has one FDB for all VLANs.
    pub vid: u16,
    /// Interface index of the bridge.
    pub bridge: u32,
    /// Interface index of the port, or of the bridge if the station is the node itself.
    pub ifindex: u32,
    /// Not 0: a frame of the station came in by another port, and the agent has not written that
    /// port yet.
    pub moved: u32,
    /// The epoch in which the bridge last received a frame of the station; see [`super::epoch`].
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

/// The third word of an entry: the programs' marks.
#[inline(always)]
pub const fn marks(moved: u32, epoch: u32) -> u64 {
    moved as u64 | (epoch as u64) << 32
}

/// The bucket of a station. The seed is odd and secret, so that nobody can fill the bucket of
/// another station on purpose.
///
/// A multiplication makes of equal distances equal distances again, and its low bits do not depend
/// on the high ones. With one multiplication, stations that differ in their highest bits only would
/// share few buckets with one seed of 200. With two, 1,024 stations at equal distances fill the
/// bucket of a chosen one with one seed of 600.
#[inline(always)]
pub const fn bucket(who: u64, seed: u64) -> u32 {
    let mixed = who.wrapping_mul(seed);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(seed);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(seed);
    (mixed >> (64 - BUCKET_BITS)) as u32
}

impl FdbEntry {
    /// The station of the entry.
    pub const fn station(&self) -> Station {
        Station { bridge: self.bridge, vid: self.vid, mac: self.mac }
    }
}

/// What the entry of its source says about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The station is behind the port that received the frame: the fast path may forward it.
    Settled,
    /// The station has just moved to the port that received the frame. The bridge must receive the
    /// frame, and the entry must be marked.
    Moved,
    /// The entry is marked: the bridge forwards until the agent has written the new port.
    Moving,
    /// The bridge has not received a frame of the station in this epoch. It must receive this one,
    /// and the epoch must be written.
    Unseen,
}

/// Judges the source of a frame that came in by a port in an epoch. `known` and `its_marks` are the
/// interface index and the marks of the entry.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is a field")]
pub const fn source(known: u32, its_marks: u64, ifindex: u32, epoch: u32) -> Source {
    if known == ifindex && its_marks == marks(0, epoch) {
        Source::Settled
    } else if its_marks as u32 != 0 {
        Source::Moving
    } else if known != ifindex {
        Source::Moved
    } else {
        Source::Unseen
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::mem::{offset_of, size_of};

    use super::*;
    use crate::mac;

    #[test]
    fn an_entry_has_no_padding() {
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
        assert_eq!(words[2], marks(0, 1));
    }

    #[test]
    fn an_entry_is_that_of_its_station() {
        let station = Station { bridge: 8, vid: 100, mac: [2, 3, 4, 5, 6, 7] };
        let entry = FdbEntry { bridge: 8, vid: 100, mac: station.mac, ..FdbEntry::default() };
        assert_eq!(entry.station(), station);
    }

    #[test]
    fn a_bucket_depends_on_all_of_a_station_and_on_the_seed() {
        let seed = 0x9e37_79b9_7f4a_7c15;
        let station = who(0x0605_0403_0201, 100);
        // By the highest bits of each product.
        assert_eq!(bucket(1, 1 << 51 | 1), 3);
        assert_eq!(bucket(station, 1), (100 << 16 | 0x0605) >> 19);
        assert_ne!(bucket(station, seed), bucket(station, seed + 2));
        for bit in 0..64 {
            assert_ne!(bucket(station, seed), bucket(station ^ 1 << bit, seed), "{bit}");
            assert!(bucket(1 << bit, seed) < crate::BUCKETS);
        }
    }

    /// Of 1,024 stations with any distance, nearly all find a place, as random ones do.
    #[test]
    fn neighbours_do_not_share_few_buckets_whatever_the_seed() {
        const STATIONS: u64 = 1024;
        let mut random = 1_u64;
        for _ in 0..300 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let seed = (random ^ random >> 33) | 1;
            // Addresses that differ in their first, middle and last bytes, and VLANs.
            for distance in [1, 2, 20, 35, 40, 41, 48] {
                let mut used = std::vec![0_usize; crate::BUCKETS as usize];
                (0..STATIONS).for_each(|number| {
                    used[bucket(number << distance | 2, seed) as usize] += 1;
                });
                let left_out: usize = used.iter().map(|used| used.saturating_sub(WAYS)).sum();
                assert!(left_out < 8, "seed {seed:#x}, distance {distance}: {left_out}");
            }
        }
    }

    /// Addresses at equal distances from that of a station fill its bucket as rarely as random
    /// ones, which never do.
    #[test]
    fn no_bucket_is_filled_on_purpose_whatever_the_seed() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            state ^ state >> 33
        };
        for _ in 0..1000 {
            // The first bytes of an address are the lowest of its number.
            let (seed, victim) = (random() | 1, random() & 0x0064_ffff_0000_0000);
            let its = bucket(victim, seed);
            for distance in 32..54 {
                let of_attack = |number: u64| victim.wrapping_add(number << distance);
                let sharing = (1..=1024).filter(|it| bucket(of_attack(*it), seed) == its).count();
                assert!(sharing < WAYS, "seed {seed:#x}, distance {distance}: {sharing}");
            }
        }
    }

    #[test]
    fn a_settled_source_may_use_the_fast_path() {
        assert_eq!(source(4, marks(0, 7), 4, 7), Source::Settled);
    }

    #[test]
    fn the_bridge_receives_the_first_frame_from_another_port() {
        assert_eq!(source(4, marks(0, 7), 5, 7), Source::Moved);
        assert_eq!(source(4, marks(0, 6), 5, 7), Source::Moved);
    }

    #[test]
    fn a_marked_station_is_left_to_the_bridge_at_its_old_and_its_new_port() {
        assert_eq!([4, 5].map(|port| source(4, marks(1, 7), port, 7)), [Source::Moving; 2]);
    }

    #[test]
    fn the_bridge_receives_one_frame_in_each_epoch() {
        assert_eq!(source(4, marks(0, 7), 4, 8), Source::Unseen);
    }
}
