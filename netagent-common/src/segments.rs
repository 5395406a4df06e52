//! The number of frames that a device sends for one GSO frame. The kernel has counted them unless
//! the frame comes from a guest or a packet socket (`virtio_net_hdr_to_skb` leaves `gso_segs` 0).
//!
//! Each segment has the headers, and at most `gso_size` bytes behind them. The count is that of the
//! kernel for TCP and for UDP that is segmented (SKB_GSO_UDP_L4), over IPv4, or over IPv6 with at
//! most two extension headers. Of frames with more headers (tunnels, more tags) it counts the
//! further headers as payload: it is never too small, and too great by these bytes divided by
//! `gso_size`.

use core::num::{NonZeroU32, NonZeroU64};

use crate::{
    guard::{Bytes, IPV4, IPV6, TCP, UDP},
    vlan::is_tpid,
};

/// Bytes of a UDP header.
const UDP_HEADER: usize = 8;

/// Extension headers that the kernel repeats in each segment (INET6_PROTO_GSO_EXTHDR): hop-by-hop
/// and destination options, routing.
const EXTENSIONS: [u8; 3] = [0, 60, 43];
const IPV6_HEADER: usize = 40;
const ETHERNET: usize = 14;
/// Instead of a protocol whose header is not known.
const UNKNOWN: u8 = 255;

/// A number of frames, and the greatest that it may be, in one word: a function of the programs
/// returns one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Frames(u64);

impl Frames {
    /// One frame.
    pub const ONE: Self = Self::new(1, 1);

    #[inline(always)]
    const fn new(count: u32, most: u32) -> Self {
        Self((most as u64) << 32 | count as u64)
    }

    /// Frames that the kernel has counted.
    #[inline(always)]
    pub const fn counted(count: u32) -> Self {
        Self::new(count, count)
    }

    /// What [`word`](Self::word) returned.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Both numbers.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The number.
    #[inline(always)]
    pub const fn count(self) -> u64 {
        self.0 & u32::MAX as u64
    }

    /// The greatest number: UDP may be cut into fragments, of which only the first has the header
    /// (SKB_GSO_UDP). The programs cannot tell.
    #[inline(always)]
    pub const fn most(self) -> u64 {
        self.0 >> 32
    }
}

/// The frames for one frame with segments of this size.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a frame has a length of 32 bits")]
pub fn segments(frame: &(impl Bytes + ?Sized), size: NonZeroU32) -> Frames {
    let (headers, udp_header) = headers(frame);
    // In words of 64 bits, and without a panic for 0, which the programs cannot have.
    let (length, size) = (frame.length() as u64, NonZeroU64::from(size));
    let count = |headers: usize| {
        let payload = length.saturating_sub(headers as u64);
        ((payload + size.get() - 1) / size).max(1) as u32
    };
    Frames::new(count(headers + udp_header), count(headers))
}

/// The length of the longest segment of this size, with its headers. It is never too great: the
/// header of UDP, which fragments but the first do not have, and headers that are not known, are
/// left out.
#[inline(always)]
pub fn longest_segment(frame: &(impl Bytes + ?Sized), size: u32) -> u64 {
    let (headers, _) = headers(frame);
    (headers as u64 + u64::from(size)).min(frame.length() as u64)
}

/// Bytes of the headers, as far as they are known, and of a UDP header.
#[inline(always)]
fn headers(frame: &(impl Bytes + ?Sized)) -> (usize, usize) {
    let ethertype = frame.read(ETHERNET - 2).map_or(0, u16::from_be_bytes);
    let at = behind_tag(frame, behind_tag(frame, (ethertype, ETHERNET)));
    let (protocol, start) = match at {
        (IPV4, start) => ipv4(frame, start),
        (IPV6, start) => ipv6(frame, start),
        (_, start) => (UNKNOWN, start),
    };
    match protocol {
        TCP => {
            let words = frame.read(start + 12).map_or(0, |[words]: [u8; 1]| words >> 4);
            (start + usize::from(words) * 4, 0)
        }
        UDP => (start, UDP_HEADER),
        _ => (start, 0),
    }
}

/// The next Ethertype, and the offset behind it.
#[inline(always)]
fn behind_tag(frame: &(impl Bytes + ?Sized), (ethertype, start): (u16, usize)) -> (u16, usize) {
    if !is_tpid(ethertype) {
        return (ethertype, start);
    }
    (frame.read(start + 2).map_or(0, u16::from_be_bytes), start + 4)
}

/// The protocol, and where its header begins.
#[inline(always)]
fn ipv4(frame: &(impl Bytes + ?Sized), start: usize) -> (u8, usize) {
    match frame.read::<10>(start) {
        Some([first, .., protocol]) => (protocol, start + usize::from(first & 0xf) * 4),
        None => (UNKNOWN, start),
    }
}

#[inline(always)]
fn ipv6(frame: &(impl Bytes + ?Sized), start: usize) -> (u8, usize) {
    match frame.read(start + 6) {
        Some([next]) => {
            let at = (next, start + IPV6_HEADER);
            behind_extension(frame, behind_extension(frame, at))
        }
        None => (UNKNOWN, start),
    }
}

#[inline(always)]
fn behind_extension(frame: &(impl Bytes + ?Sized), (next, start): (u8, usize)) -> (u8, usize) {
    if !EXTENSIONS.contains(&next) {
        return (next, start);
    }
    match frame.read(start) {
        Some([next, length]) => (next, start + (usize::from(length) + 1) * 8),
        None => (UNKNOWN, start),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{vec, vec::Vec};

    use super::*;

    /// The headers of frames.
    fn frames() -> Vec<(&'static str, Vec<u8>)> {
        let ip4 = |words: u8, protocol| {
            let mut header = vec![0; usize::from(words) * 4];
            (header[0], header[9]) = (0x40 | words, protocol);
            [&[8, 0][..], &header].concat()
        };
        let ip6 = |next| {
            let mut header = vec![0; 40];
            header[6] = next;
            [&[0x86, 0xdd][..], &header].concat()
        };
        let tcp = |words: u8| {
            let mut header = vec![0; usize::from(words) * 4];
            header[12] = words << 4;
            header
        };
        let extension = |next: u8, length: u8| {
            let mut header = vec![0; (usize::from(length) + 1) * 8];
            (header[0], header[1]) = (next, length);
            header
        };
        let udp = [0; UDP_HEADER];
        let behind = |parts: &[&[u8]]| [&[0; 12][..], &parts.concat()].concat();
        vec![
            ("TCP", behind(&[&ip4(5, TCP), &tcp(5)])),
            ("with options", behind(&[&ip4(15, TCP), &tcp(15)])),
            ("UDP", behind(&[&ip4(5, UDP), &udp])),
            ("TCP over IPv6", behind(&[&ip6(TCP), &tcp(8)])),
            ("UDP over IPv6", behind(&[&ip6(UDP), &udp])),
            ("BIG TCP", behind(&[&ip6(0), &extension(TCP, 0), &tcp(8)])),
            ("two headers", behind(&[&ip6(43), &extension(60, 2), &extension(UDP, 1), &udp])),
            ("a tag", behind(&[&[0x81, 0, 0, 100], &ip4(5, TCP), &tcp(5)])),
            ("tags", behind(&[&[0x88, 0xa8, 0, 9, 0x81, 0, 0, 5], &ip6(TCP), &tcp(5)])),
            ("another protocol over IPv6", behind(&[&ip6(47)])),
            ("another protocol", behind(&[&ip4(6, 47)])),
            ("another Ethertype", behind(&[&[0x88, 0x47]])),
            ("further headers", behind(&[&ip6(0), &extension(60, 0), &extension(60, 0)])),
            ("further tags", behind(&[&[0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0]])),
        ]
    }

    #[test]
    fn each_segment_has_the_headers() {
        for (kind, headers) in frames() {
            for (size, payload, count) in [
                (100, 0, 1),
                (100, 1, 1),
                (100, 100, 1),
                (100, 101, 2),
                (100, 50_000, 500),
                (1448, 1448 * 38, 38),
                (1448, 1448 * 38 + 1, 39),
                (1, 50_000, 50_000),
                (65_535, 500_000, 8),
            ] {
                let frame = [&headers[..], &vec![0xff; payload]].concat();
                let size = NonZeroU32::new(size).unwrap();
                assert_eq!(segments(&frame[..], size).count(), count, "{kind} {payload}");
            }
        }
    }

    #[test]
    fn the_header_of_udp_is_in_the_first_fragment_only() {
        let size = NonZeroU32::new(100).unwrap();
        for (kind, headers) in frames() {
            let more = u64::from(kind.contains("UDP") || kind == "two headers");
            for (payload, count) in [(92, 1), (93, 1 + more), (100, 1 + more), (101, 2)] {
                let frame = [&headers[..], &vec![0xff; payload]].concat();
                assert_eq!(segments(&frame[..], size).most(), count, "{kind} {payload}");
            }
        }
    }

    #[test]
    fn the_longest_segment_is_at_most_the_frame() {
        for (kind, headers) in frames() {
            let more = u64::from(kind.contains("UDP") || kind == "two headers") * 8;
            let known = headers.len() as u64 - more;
            for (size, payload) in [(100, 0), (100, 99), (100, 100), (100, 50_000), (9000, 60_000)]
            {
                let frame = [&headers[..], &vec![0xff; payload]].concat();
                let expected = (known + u64::from(size)).min(frame.len() as u64);
                assert_eq!(longest_segment(&frame[..], size), expected, "{kind} {payload}");
            }
        }
    }

    #[test]
    fn a_frame_that_is_cut_is_one() {
        let size = NonZeroU32::new(10_000).unwrap();
        for (kind, headers) in frames() {
            for length in 0..headers.len() {
                assert_eq!(segments(&headers[..length], size), Frames::ONE, "{kind} {length}");
            }
        }
    }
}
