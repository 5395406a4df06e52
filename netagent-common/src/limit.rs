//! Limits of the source addresses and of the broadcast, multicast and unknown unicast frames of a
//! VM.

use core::ptr;

/// Maximum of a limit of source addresses.
pub const MAC_SLOTS: usize = 32;
/// Age at which an address no longer counts, in nanoseconds: the ageing time of a bridge (IEEE
/// 802.1Q-2022 table 8-6).
pub const MAC_AGE: u64 = 300_000_000_000;
/// Precision of [`MacSlot::seen`], in nanoseconds.
const MAC_PRECISION: u64 = 1_000_000_000;
/// Burst that a limit admits after silence: the frames of one second, in nanoseconds.
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

/// State of a port's limits. Each is the time, in nanoseconds since boot, at which the frames that
/// the port has sent are due at its rate (the generic cell rate algorithm of ITU-T I.371: a token
/// bucket with one number).
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

/// Whether an address may be used: it has one of the first `limit` slots, or takes a free or an
/// aged one.
///
/// CPUs share the slots without a lock: two addresses that they admit at the same moment may get
/// one slot.
///
/// # Safety
///
/// `slots` is valid for reads and writes.
#[inline(always)]
#[expect(unsafe_code, reason = "map memory is shared: no reference to it may exist")]
pub unsafe fn admit_mac(slots: *mut [MacSlot; MAC_SLOTS], limit: u16, mac: u64, now: u64) -> bool {
    let mut free = ptr::null_mut::<MacSlot>();
    for number in 0..MAC_SLOTS {
        if number >= usize::from(limit) {
            break;
        }
        // SAFETY: one of the slots.
        let slot = unsafe { slots.cast::<MacSlot>().add(number) };
        // SAFETY: the fields of a slot are valid for reads and writes.
        let (its_mac, its_seen) = unsafe { (&raw mut (*slot).mac, &raw mut (*slot).seen) };
        // SAFETY: valid for reads.
        let used_by = unsafe { its_mac.read_volatile() };
        // SAFETY: valid for reads.
        let age = || now.wrapping_sub(unsafe { its_seen.read_volatile() });
        if used_by == mac {
            if age() > MAC_PRECISION {
                // SAFETY: valid for writes.
                unsafe { its_seen.write_volatile(now) };
            }
            return mac != 0;
        }
        // Signed: another CPU may have written a later time than `now`.
        if used_by == 0 || age().cast_signed() > MAC_AGE.cast_signed() {
            free = slot;
        }
    }
    // One pointer, null for none: with more state in the loop the verifier gives up.
    if free.is_null() || mac == 0 {
        return false;
    }
    // SAFETY: one of the slots.
    unsafe {
        (&raw mut (*free).mac).write_volatile(mac);
        (&raw mut (*free).seen).write_volatile(now);
    }
    true
}

/// When the frames of a port are due after `packets` more, if these are within `limit` frames per
/// second (0: no limit); `due` is when they were due before. `None`: above the limit.
///
/// CPUs share the due time without a lock: frames of one port that two of them judge at the same
/// moment may count once.
#[inline(always)]
pub fn admit_rate(due: u64, limit: u32, packets: u64, now: u64) -> Option<u64> {
    if limit == 0 {
        return Some(due);
    }
    if due > now + BURST {
        return None;
    }
    Some(due.max(now) + SECOND / u64::from(limit) * packets)
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

    #[expect(unsafe_code, reason = "the slots are the test's own")]
    fn admit_mac(slots: &mut [MacSlot; MAC_SLOTS], limit: u16, mac: u64, now: u64) -> bool {
        // SAFETY: a variable of the test.
        unsafe { super::admit_mac(slots, limit, mac, now) }
    }

    /// Admits frames and keeps the due time.
    fn admit_rate(due: &mut u64, limit: u32, packets: u64, now: u64) -> bool {
        let admitted = super::admit_rate(*due, limit, packets, now);
        *due = admitted.unwrap_or(*due);
        admitted.is_some()
    }

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
