//! Samples of dropped frames: what the programs hand to `netagent monitor` while it runs.

/// Bytes of the ring buffer.
pub const RING_BYTES: u32 = 256 * 1024;
/// Most bytes of a frame that go into its sample.
pub const CAPTURE: usize = 128;
/// Samples of one port in one [`window`], unless the monitor asks for another number.
pub const LIMIT: u32 = 100;
/// Elements of the windows: one per port, and one for all that is no port of ours.
pub const WINDOWS: u32 = crate::MAX_PORTS + 1;
/// In a [`SampleFilter`]: whatever it is.
pub const ALL: u32 = u32::MAX;

/// A dropped frame, as it was when it was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Sample {
    /// When, in nanoseconds since the boot (`CLOCK_BOOTTIME`).
    pub time: u64,
    /// Interface index of the device whose program dropped it: under a bond, at XDP, the member.
    pub ifindex: u32,
    /// Bytes of the frame, without what `tpid` and `tci` stand for.
    pub length: u32,
    /// How many of them are in `bytes`.
    pub captured: u32,
    /// As in [`DropKey`](crate::counters::DropKey).
    pub port: u16,
    /// As in [`DropKey`](crate::counters::DropKey).
    pub vid: u16,
    /// A [`Direction`](crate::counters::Direction).
    pub direction: u16,
    /// A [`Reason`](crate::counters::Reason).
    pub reason: u16,
    /// TPID of the tag that was in the frame's metadata rather than in its bytes; 0: there was none.
    pub tpid: u16,
    /// TCI of that tag.
    pub tci: u16,
    /// The beginning of the frame; what is beyond `captured` means nothing.
    pub bytes: [u8; CAPTURE],
}

/// What the monitor wants, for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SampleFilter {
    /// Until when (`CLOCK_BOOTTIME`, ns); 0: nobody reads. A time rather than a flag: the monitor keeps extending it,
    /// so that one that was killed is forgotten by itself; the first drop after that makes it 0.
    pub until: u64,
    /// Dense number of the port, or [`ALL`].
    pub port: u32,
    /// The VID of the drop, or [`ALL`].
    pub vid: u32,
    /// A [`Reason`](crate::counters::Reason), or [`ALL`].
    pub reason: u32,
    /// Samples of one port in one window.
    pub limit: u32,
}

impl SampleFilter {
    /// Nobody reads.
    pub const NOTHING: Self = Self { until: 0, port: ALL, vid: ALL, reason: ALL, limit: LIMIT };

    /// Whether a drop is asked for.
    #[inline(always)]
    pub const fn wants(&self, port: u16, vid: u16, reason: u16) -> bool {
        (self.port == ALL || self.port == port as u32)
            && (self.vid == ALL || self.vid == vid as u32)
            && (self.reason == ALL || self.reason == reason as u32)
    }
}

/// How many samples a port has had of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Window {
    /// Which window.
    pub number: u32,
    /// How many in it.
    pub taken: u32,
}

/// The window that a time is in: about a second each.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "comes again after 140 years")]
pub const fn window(time: u64) -> u32 {
    (time >> 30) as u32
}

impl Window {
    /// The window with this number after one more sample; `None` if it has as many as the limit.
    #[inline(always)]
    pub const fn take(self, number: u32, limit: u32) -> Option<Self> {
        let taken = if self.number == number { self.taken } else { 0 };
        if taken < limit { Some(Self { number, taken: taken + 1 }) } else { None }
    }
}

/// Drops that occurred while somebody read, and of which there is no sample; per CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Unsampled {
    /// Not asked for.
    pub filtered: u64,
    /// Above the port's limit.
    pub limited: u64,
    /// Found the ring buffer full.
    pub lost: u64,
}

#[cfg(feature = "user")]
mod user {
    use super::{Sample, SampleFilter, Unsampled, Window};

    // SAFETY: repr(C), integers and arrays of them only, no padding (asserted below).
    unsafe impl aya::Pod for Sample {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SampleFilter {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Window {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Unsampled {}
}

#[cfg(test)]
mod tests {
    use core::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn layouts_have_no_padding() {
        assert_eq!(offset_of!(Sample, bytes), 8 + 3 * 4 + 6 * 2);
        assert_eq!(size_of::<Sample>(), 32 + CAPTURE);
        assert_eq!(size_of::<SampleFilter>(), 8 + 4 * 4);
        assert_eq!(size_of::<Window>(), 8);
        assert_eq!(size_of::<Unsampled>(), 24);
    }

    #[test]
    fn a_filter_wants_drops_that_match_all_of_it() {
        assert!(SampleFilter::NOTHING.wants(0xffff, 0, 19));
        let filter = SampleFilter { port: 3, reason: 1, ..SampleFilter::NOTHING };
        assert!(filter.wants(3, 200, 1) && filter.wants(3, 0, 1));
        assert!(!filter.wants(4, 200, 1) && !filter.wants(3, 200, 2));
        assert!(!SampleFilter { vid: 0, ..SampleFilter::NOTHING }.wants(3, 200, 1));
    }

    #[test]
    fn each_window_has_as_many_samples_as_the_limit() {
        let taken = |taken| Window { number: 7, taken };
        assert_eq!(Window::default().take(7, 3), Some(taken(1)));
        assert_eq!(taken(2).take(7, 3), Some(taken(3)));
        assert_eq!(taken(3).take(7, 3), None);
        assert_eq!(taken(3).take(8, 3), Some(Window { number: 8, taken: 1 }));
        assert_eq!(taken(3).take(9, 0), None);
    }
}
