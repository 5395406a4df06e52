//! Samples of dropped frames, which the programs send to `netagent monitor` while it runs.

/// Bytes of the ring buffer.
pub const RING_BYTES: u32 = 256 * 1024;
/// Maximum number of bytes of a frame in its sample.
pub const CAPTURE: usize = 128;
/// Default number of samples of one port in one [`window`].
pub const LIMIT: u32 = 100;
/// Number of windows: one per port, and one for all other devices.
pub const WINDOWS: u32 = crate::MAX_PORTS + 1;
/// In a [`SampleFilter`]: any value.
pub const ALL: u32 = u32::MAX;

/// A frame in the state in which it was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Sample {
    /// Time in nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub time: u64,
    /// Interface index of the device at which the frame was dropped; at XDP on a bond: the member.
    pub ifindex: u32,
    /// Bytes of the frame, without the tag in `tpid` and `tci`.
    pub length: u32,
    /// Number of bytes in `bytes`.
    pub captured: u32,
    /// As in [`DropKey`](crate::counters::DropKey).
    pub port: u16,
    /// As in [`DropKey`](crate::counters::DropKey).
    pub vid: u16,
    /// A [`Direction`](crate::counters::Direction).
    pub direction: u16,
    /// A [`Reason`](crate::counters::Reason).
    pub reason: u16,
    /// TPID of the tag in the metadata of the frame; 0: none.
    pub tpid: u16,
    /// TCI of the tag in the metadata.
    pub tci: u16,
    /// The beginning of the frame; bytes beyond `captured` are undefined.
    pub bytes: [u8; CAPTURE],
}

/// The drops that the monitor wants samples of, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SampleFilter {
    /// Time until which samples are taken (`CLOCK_BOOTTIME`, ns); 0: no monitor runs. The monitor
    /// extends it, so that it ends by itself if the monitor is killed; the first drop after that
    /// sets it to 0.
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
    /// No monitor runs.
    pub const NOTHING: Self = Self { until: 0, port: ALL, vid: ALL, reason: ALL, limit: LIMIT };

    /// Whether the filter matches a drop.
    #[inline(always)]
    pub const fn wants(&self, port: u16, vid: u16, reason: u16) -> bool {
        (self.port == ALL || self.port == port as u32)
            && (self.vid == ALL || self.vid == vid as u32)
            && (self.reason == ALL || self.reason == reason as u32)
    }
}

/// The samples of a port in a window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Window {
    /// Number of the window.
    pub number: u32,
    /// Samples taken in it.
    pub taken: u32,
}

/// The number of the window that contains a time. A window is about one second long.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "repeats after 140 years")]
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

/// Drops without a sample while a monitor runs; per CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Unsampled {
    /// The filter did not match.
    pub filtered: u64,
    /// Above the limit of the port.
    pub limited: u64,
    /// The ring buffer was full.
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

    #[test]
    fn a_window_lasts_a_power_of_two_nanoseconds() {
        let second = 1 << 30;
        let times = [0, second - 1, second, 5 * second, (1 << 62) + second];
        assert_eq!(times.map(window), [0, 0, 1, 5, 1]);
    }
}
