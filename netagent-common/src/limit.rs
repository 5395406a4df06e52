//! Limits of the source addresses and of the broadcast, multicast and unknown unicast frames of a
//! VM.

use core::ops::ControlFlow;

use crate::policy::Policy;

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
/// Instead of the number of a slot.
const ADMITTED: usize = usize::MAX;

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

/// Whether an address may be used: it has one of the first slots of a port, or takes a free or an
/// aged one.
///
/// CPUs share the slots without a lock: two addresses that they admit at the same moment may get
/// one slot.
#[derive(Debug)]
#[repr(C)]
pub struct Admission {
    mac: u64,
    /// Nanoseconds since boot.
    now: u64,
    /// The number of a slot that may be taken; [`MAC_SLOTS`]: none; [`ADMITTED`]: it has one.
    free: usize,
}

#[expect(unsafe_code, reason = "map memory is shared: no reference to it may exist")]
impl Admission {
    /// An address at a port, and the time.
    #[inline(always)]
    pub const fn new(policy: &Policy, mac: u64, now: u64) -> Self {
        Self { mac, now, free: policy.unknown(MAC_SLOTS) }
    }

    /// Looks at a slot; breaks when the address has it.
    ///
    /// # Safety
    ///
    /// `slot` is valid for reads and writes.
    #[inline(always)]
    pub unsafe fn look(&mut self, number: usize, slot: *mut MacSlot) -> ControlFlow<()> {
        // SAFETY: the fields of a slot are valid for reads and writes.
        let (its_mac, its_seen) = unsafe { (&raw mut (*slot).mac, &raw mut (*slot).seen) };
        // SAFETY: valid for reads.
        let (used_by, seen) = unsafe { (its_mac.read_volatile(), its_seen.read_volatile()) };
        let age = self.now.wrapping_sub(seen);
        if used_by == self.mac {
            if age > MAC_PRECISION {
                // SAFETY: valid for writes.
                unsafe { its_seen.write_volatile(self.now) };
            }
            self.free = ADMITTED;
            return ControlFlow::Break(());
        }
        // Signed: another CPU may have written a later time than `now`.
        if used_by == 0 || age.cast_signed() > MAC_AGE.cast_signed() {
            self.free = number;
        }
        ControlFlow::Continue(())
    }

    /// The result, after all slots: takes the free slot if need be.
    ///
    /// # Safety
    ///
    /// `slots` is valid for writes.
    #[inline(always)]
    pub unsafe fn admits(&self, slots: *mut [MacSlot; MAC_SLOTS]) -> bool {
        if self.mac == 0 || self.free >= MAC_SLOTS {
            return self.mac != 0 && self.free == ADMITTED;
        }
        // SAFETY: one of the slots.
        unsafe {
            let slot = slots.cast::<MacSlot>().add(self.free);
            (&raw mut (*slot).mac).write_volatile(self.mac);
            (&raw mut (*slot).seen).write_volatile(self.now);
        }
        true
    }
}

/// Whether an address may be used, by a loop over the slots. The programs have another kind of
/// loop.
///
/// # Safety
///
/// `slots` is valid for reads and writes.
#[expect(unsafe_code, reason = "map memory is shared: no reference to it may exist")]
pub unsafe fn admit_mac(
    slots: *mut [MacSlot; MAC_SLOTS],
    policy: &Policy,
    mac: u64,
    now: u64,
) -> bool {
    let mut admission = Admission::new(policy, mac, now);
    for number in 0..MAC_SLOTS.min(policy.mac_limit.into()) {
        // SAFETY: one of the slots.
        if unsafe { admission.look(number, slots.cast::<MacSlot>().add(number)) }.is_break() {
            break;
        }
    }
    // SAFETY: all of them.
    unsafe { admission.admits(slots) }
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
        let policy = Policy { mac_limit: limit, ..Policy::EMPTY };
        // SAFETY: a variable of the test.
        unsafe { super::admit_mac(slots, &policy, mac, now) }
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

    /// One more nanosecond, at each limit of time.
    #[test]
    #[expect(unsafe_code, reason = "the slot is the test's own")]
    fn a_slot_is_written_and_free_after_its_time() {
        let start = 400 * SECOND;
        // Before an address is a second old, its time is not written for each frame.
        for (age, seen) in [(SECOND, start), (SECOND + 1, start + SECOND + 1)] {
            let mut slots = [MacSlot::default(); MAC_SLOTS];
            slots[0] = MacSlot { mac: 1, seen: start };
            assert!(admit_mac(&mut slots, 1, 1, start + age));
            assert_eq!(slots[0], MacSlot { mac: 1, seen });
        }
        for (age, admitted) in [(MAC_AGE, false), (MAC_AGE + 1, true)] {
            let mut slots = [MacSlot::default(); MAC_SLOTS];
            slots[0] = MacSlot { mac: 1, seen: start };
            assert_eq!(admit_mac(&mut slots, 1, 2, start + age), admitted);
            let old = MacSlot { mac: 1, seen: start };
            let new = MacSlot { mac: 2, seen: start + age };
            assert_eq!(slots[0], if admitted { new } else { old });
        }
        // An address that has its slot needs no other one, even if that is free: the look-up ends.
        let mut slots = [MacSlot { mac: 1, seen: start }, MacSlot::default()];
        let mut admission = Admission::new(&Policy::EMPTY, 1, start);
        // SAFETY: a variable of the test.
        let [first, second] =
            [0, 1].map(|slot| unsafe { admission.look(slot, &raw mut slots[slot]) });
        assert!(first.is_break() && second.is_continue());
    }

    #[test]
    fn no_address_of_zeros_takes_or_has_a_slot() {
        let mut slots = [MacSlot::default(); MAC_SLOTS];
        assert!(!admit_mac(&mut slots, 0, 1, SECOND), "no address at all");
        for limit in [1, 32] {
            assert!(!admit_mac(&mut slots, limit, 0, SECOND));
            assert_eq!(slots, [MacSlot::default(); MAC_SLOTS]);
        }
    }

    #[test]
    fn each_frame_is_due_a_share_of_a_second_after_the_one_before() {
        let now = 1000 * SECOND;
        for (due, limit, packets, expected) in [
            (7, 0, 1, Some(7)),
            (0, 4, 1, Some(now + SECOND / 4)),
            (now - 1, 4, 3, Some(now + SECOND / 4 * 3)),
            (now + 1, 4, 1, Some(now + 1 + SECOND / 4)),
            (now + SECOND, 1000, 1, Some(now + SECOND + SECOND / 1000)),
            (now + SECOND + 1, 1000, 1, None),
        ] {
            assert_eq!(super::admit_rate(due, limit, packets, now), expected, "{due} {limit}");
        }
    }
}
