//! The fast path: where stations are, and when a program may forward a frame without the bridge.
//!
//! The bridge learns, floods and ages. The agent mirrors the bridges' FDBs into a map. The programs
//! write two marks in that map: a station that moves or falls silent is left to the bridge at once.
//!
//! The map is an array of buckets instead of a kernel hash map: a program makes two look-ups per
//! frame. A look-up here takes about 25 instructions, a call of the kernel's hash map about 130.

mod crossing;
mod entry;

pub use self::{
    crossing::{Retag, crossing, is_reachable, may_enter_peer, retag},
    entry::{FdbBucket, FdbEntry, Source, Station, WAYS, at, bucket, marks, source, who},
};

/// Length of an epoch as a power of two in nanoseconds: 17 s. In each epoch the bridge receives one
/// frame of every source, because it forgets a station after 300 s (IEEE 802.1Q-2022 table 8-6).
const EPOCH_SHIFT: u32 = 34;
/// Validity of [`Fresh::until`] in nanoseconds. Without the agent the fast path ends after this
/// time, and as long after it the limits of frames to unknown stations: see [`says_who_is_known`].
pub const FRESH_FOR: u64 = 1_000_000_000;

/// How long the FDB map may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Fresh {
    /// Time until which the map is up to date (CLOCK_MONOTONIC, nanoseconds); 0: it is out of date.
    pub until: u64,
    /// The hash seed of the buckets. It does not change while the map exists.
    pub seed: u64,
}

/// Frames that a port received and the fast path forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PathStats {
    /// By TC redirect.
    pub tc: u64,
    /// By XDP redirect.
    pub xdp: u64,
}

/// Whether a station is unknown to its bridge if the map does not have it. That holds a while
/// longer than the map may be used to forward: the agent may lag behind a flood of new addresses,
/// from which the limits protect.
#[inline(always)]
pub const fn says_who_is_known(until: u64, now: u64) -> bool {
    now < until + FRESH_FOR
}

/// The epoch of a time in nanoseconds.
#[inline(always)]
pub const fn epoch(now: u64) -> u32 {
    // The lower half of a number that is incremented every 17 seconds.
    (now >> EPOCH_SHIFT) as u32
}

#[cfg(feature = "user")]
mod user {
    use super::{FdbEntry, Fresh, PathStats};

    // SAFETY: repr(C), integers only, no padding (asserted in the tests).
    unsafe impl aya::Pod for FdbEntry {}
    // SAFETY: repr(C), integers only, no padding (asserted in the tests).
    unsafe impl aya::Pod for Fresh {}
    // SAFETY: repr(C), integers only, no padding (asserted in the tests).
    unsafe impl aya::Pod for PathStats {}
}

#[cfg(test)]
mod tests {
    use core::mem::size_of;

    use super::*;

    #[test]
    fn the_values_have_no_padding() {
        assert_eq!((size_of::<Fresh>(), size_of::<PathStats>()), (16, 16));
    }

    #[test]
    fn limits_hold_for_a_second_after_the_fast_path() {
        let hour = 3600 * FRESH_FOR;
        for (until, now, expected) in [
            (hour, hour - 1, true),
            (hour, hour, true),
            (hour, hour + FRESH_FOR - 1, true),
            (hour, hour + FRESH_FOR, false),
            (0, hour, false),
        ] {
            assert_eq!(says_who_is_known(until, now), expected, "{until} {now}");
        }
    }

    #[test]
    fn an_epoch_lasts_17_seconds() {
        assert_eq!(epoch(0), epoch(17_179_869_183));
        assert_ne!(epoch(0), epoch(17_179_869_184));
    }
}
