//! How many source addresses, and how many broadcast, multicast and unknown unicast frames a VM may use.

/// Most source addresses that a limit can allow.
pub const MAC_SLOTS: usize = 32;
/// How long an address counts after its last frame, in nanoseconds: as long as a bridge remembers one (IEEE 802.1Q-2022
/// table 8-6).
pub const MAC_AGE: u64 = 300_000_000_000;
/// How stale `seen` may become, in nanoseconds, before it is written again.
const MAC_PRECISION: u64 = 1_000_000_000;
/// What a limit lets through at once after silence: the frames of one second, in nanoseconds.
const BURST: u64 = 1_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// A source address of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MacSlot {
    /// The address by [`crate::mac::number`]; 0: the slot is free.
    pub mac: u64,
    /// Time of its last frame, in nanoseconds since boot.
    pub seen: u64,
}

/// What a port has used of its limits: for each the time, in nanoseconds since boot, at which the frames that it sent would
/// have been due at its rate (the generic cell rate algorithm of ITU-T I.371, a token bucket with one number).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StormState {
    /// Broadcast.
    pub broadcast: u64,
    /// Multicast.
    pub multicast: u64,
    /// Unknown unicast.
    pub unknown: u64,
}

/// Whether an address may be used: it has a slot among the first `limit`, or finds a free or an aged one.
#[inline(always)]
pub fn admit_mac(slots: &mut [MacSlot; MAC_SLOTS], limit: u16, mac: u64, now: u64) -> bool {
    let mut free = None;
    for (slot, number) in slots.iter_mut().zip(0..) {
        if number >= limit {
            break;
        }
        if slot.mac == mac {
            if now.wrapping_sub(slot.seen) > MAC_PRECISION {
                slot.seen = now;
            }
            return mac != 0;
        }
        // Signed: another CPU may have written a later time than ours.
        if slot.mac == 0 || now.wrapping_sub(slot.seen).cast_signed() > MAC_AGE.cast_signed() {
            free = Some(slot);
        }
    }
    match free {
        Some(slot) if mac != 0 => {
            *slot = MacSlot { mac, seen: now };
            true
        }
        _ => false,
    }
}

/// Whether `packets` more frames are within `limit` frames per second (0: no limit).
///
/// CPUs share `due` without a lock: frames of one port that two of them judge at the same moment may count once.
#[inline(always)]
pub fn admit_rate(due: &mut u64, limit: u32, packets: u64, now: u64) -> bool {
    if limit == 0 {
        return true;
    }
    if *due > now + BURST {
        return false;
    }
    *due = (*due).max(now) + SECOND / u64::from(limit) * packets;
    true
}

#[cfg(feature = "user")]
mod user {
    use super::{MacSlot, StormState};

    // SAFETY: repr(C), integers of one size only.
    unsafe impl aya::Pod for MacSlot {}
    // SAFETY: as above.
    unsafe impl aya::Pod for StormState {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_addresses_as_allowed_and_new_ones_when_old_ones_age() {
        let mut slots = [MacSlot::default(); MAC_SLOTS];
        let start = 7 * SECOND;
        assert!(admit_mac(&mut slots, 2, 1, start));
        assert!(admit_mac(&mut slots, 2, 2, start));
        assert!(!admit_mac(&mut slots, 2, 3, start + SECOND));
        assert!(!admit_mac(&mut slots, 2, 0, start));
        assert!(admit_mac(&mut slots, 2, 1, start + 200 * SECOND));
        assert!(admit_mac(&mut slots, 2, 3, start + 301 * SECOND), "2 has aged");
        assert!(!admit_mac(&mut slots, 2, 2, start + 301 * SECOND), "1 was used meanwhile");
        assert!(admit_mac(&mut slots, 32, 2, start + 301 * SECOND));
    }

    #[test]
    fn an_old_clock_ages_nothing() {
        let mut slots = [MacSlot::default(); MAC_SLOTS];
        assert!(admit_mac(&mut slots, 1, 1, 100 * SECOND));
        assert!(!admit_mac(&mut slots, 1, 2, 99 * SECOND));
    }

    #[test]
    fn a_burst_of_a_second_then_the_rate() {
        let mut due = 0;
        let mut now = 1000 * SECOND;
        let burst = (0..1000).filter(|_| admit_rate(&mut due, 100, 1, now)).count();
        assert_eq!(burst, 101);
        let mut later = 0;
        for _ in 0..1000 {
            now += SECOND / 1000;
            later += u32::from(admit_rate(&mut due, 100, 1, now));
        }
        assert!((99..=101).contains(&later), "{later} in a second");
        assert!((0..1000).all(|_| admit_rate(&mut due, 0, 1, now)), "0 is no limit");
    }

    #[test]
    fn the_segments_of_a_super_frame_count() {
        let mut due = 0;
        let now = 1000 * SECOND;
        assert_eq!((0..100).filter(|_| admit_rate(&mut due, 100, 50, now)).count(), 3);
    }
}
