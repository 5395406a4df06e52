//! The way past the bridge: where stations are, as the bridge has learned it, and when a program may go by that.
//!
//! The bridge stays the one who learns, floods and ages. The agent mirrors what it knows into a map; the programs change
//! nothing in it but two marks, so that a station which moves or falls silent is the bridge's own business at once.

/// How long a source may go past the bridge before the bridge sees one of its frames again, as a power of two in
/// nanoseconds: 17 s. A bridge forgets a station after 300 s (IEEE 802.1Q-2022 table 8-6).
const EPOCH_SHIFT: u32 = 34;
/// What an agent says of itself by [`Fresh`] holds for so long, in nanoseconds. When it dies, all goes by the bridge.
pub const FRESH_FOR: u64 = 3_000_000_000;

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

/// Where: behind which port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Place {
    /// Interface index of the port, or of the bridge: the node itself.
    pub ifindex: u32,
    /// Not 0: a frame of this station came in elsewhere; the bridge knows by now, the agent not yet.
    pub moved: u32,
    /// When the bridge saw a frame of this station last, by [`epoch`].
    pub epoch: u32,
}

/// How long the mirror may be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Fresh {
    /// Until then, in nanoseconds since boot without sleep (CLOCK_MONOTONIC); 0: the agent catches up with the bridge.
    pub until: u64,
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

impl Place {
    /// Whether the station is behind this port, as far as is known.
    #[inline(always)]
    pub const fn is(&self, ifindex: u32) -> bool {
        self.ifindex == ifindex && self.moved == 0
    }

    /// A frame of this station came in by a port. Whether it may go past the bridge: not the first one from elsewhere, which
    /// the bridge must see to learn the move, and none from there until the agent has heard of it; and one in
    /// each epoch goes by the bridge, which would forget the station otherwise.
    #[inline(always)]
    pub fn comes_from(&mut self, ifindex: u32, epoch: u32) -> bool {
        if !self.is(ifindex) {
            // Written once: the word is shared between CPUs.
            if self.moved == 0 {
                self.moved = 1;
            }
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
    use super::{Fresh, PathStats, Place, Station};

    // SAFETY: repr(C), integers only, no padding (asserted in the tests).
    unsafe impl aya::Pod for Station {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Place {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Fresh {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PathStats {}
}

#[cfg(test)]
mod tests {
    use core::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn the_values_have_no_padding() {
        assert_eq!((size_of::<Station>(), offset_of!(Station, mac)), (12, 6));
        assert_eq!((size_of::<Place>(), size_of::<Fresh>(), size_of::<PathStats>()), (12, 8, 16));
    }

    #[test]
    fn a_station_that_moves_is_the_bridges_until_the_agent_has_heard_of_it() {
        let mut place = Place { ifindex: 4, moved: 0, epoch: 7 };
        assert!(place.comes_from(4, 7));
        assert!(!place.comes_from(5, 7));
        // Neither from there nor to there, though it was there.
        assert!(!place.is(4) && !place.comes_from(4, 7) && !place.comes_from(5, 7));
    }

    #[test]
    fn the_bridge_sees_one_frame_in_an_epoch() {
        let mut place = Place { ifindex: 4, moved: 0, epoch: epoch(0) };
        let later = epoch(17_179_869_184);
        assert_ne!(later, epoch(0));
        assert!(place.comes_from(4, epoch(1)));
        assert!(!place.comes_from(4, later) && place.is(4));
        assert!(place.comes_from(4, later));
    }
}
