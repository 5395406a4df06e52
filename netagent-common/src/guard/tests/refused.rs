//! Frames whose lengths and headers contradict each other, or that no stack sends: receivers differ
//! in what they are, so that each is refused, for a reason.

extern crate std;

use std::{vec, vec::Vec};

use super::{
    kinds::{
        FINE, Frame, ROUTER, UNREADABLE, UNREADABLE_ADDRESSES, UNREADABLE_IPV4, Verdicts, address,
        arp, extension, fragment, icmp, udp, v4, v6, verdicts,
    },
    *,
};

const UNREADABLE_DHCP: Verdicts = [None, None, Some(Reason::Malformed), None, None];
const UNREADABLE_QUERY: Verdicts = [None, None, None, None, Some(Reason::Malformed)];
/// Offsets behind the Ethertype.
const IPV6_LENGTH: usize = 4;
const IPV4_LENGTH: usize = 2;

/// Adds to a length field.
fn longer(mut bytes: Vec<u8>, field: usize, by: i16) -> Vec<u8> {
    let [high, low] = &mut bytes[2 + field..][..2] else { unreachable!() };
    let length = u16::from_be_bytes([*high, *low]).wrapping_add_signed(by);
    [*high, *low] = length.to_be_bytes();
    bytes
}

/// Changes a byte behind the Ethertype.
fn with(mut bytes: Vec<u8>, offset: usize, byte: u8) -> Vec<u8> {
    bytes[2 + offset] = byte;
    bytes
}

pub fn frames() -> Vec<Frame> {
    [ipv6_lengths(), ipv6_headers(), ipv6_messages(), ipv4(), arps()].concat()
}

fn ipv6_lengths() -> Vec<Frame> {
    let cut = |bytes, by: i16| longer(bytes, IPV6_LENGTH, -by);
    let options = || extension(60, 0, 8);
    let echo = icmp(128, 8, &[]);
    let advertisement = icmp(134, 16, &[]);
    let spoofed = v6(&[], 58, &icmp(136, 24, &[&address(2, OTHER)]));
    vec![
        // The second fragment would be the advertisement (RFC 7113 §2).
        (
            "an echo behind the first fragment",
            cut(v6(&[fragment(1), options()], 58, &echo), 8),
            UNREADABLE,
        ),
        ("the same, options before", cut(v6(&[options(), fragment(1)], 58, &echo), 8), UNREADABLE),
        ("a message behind the packet", cut(v6(&[options()], 58, &advertisement), 16), UNREADABLE),
        ("a type without checksum", cut(v6(&[options()], 58, &advertisement), 13), UNREADABLE),
        ("a header behind the packet", cut(v6(&[options()], 6, &[0; 20]), 21), UNREADABLE),
        ("an option behind the message", cut(spoofed.clone(), 8), FINE),
        ("half an option", cut(spoofed.clone(), 4), UNREADABLE_ADDRESSES),
        ("one byte of an option", cut(spoofed.clone(), 7), UNREADABLE_ADDRESSES),
        ("more than the frame", cut(spoofed.clone(), -1), UNREADABLE),
        // Jumbograms
        ("no length", cut(spoofed, 32), UNREADABLE),
        ("no length in a fragment", cut(v6(&[fragment(8)], 17, &[0; 8]), 16), UNREADABLE),
        ("no length of UDP", cut(v6(&[], 17, &udp(1, 2)), 8), UNREADABLE),
        ("segments to be cut", cut(v6(&[], 6, &[0; 20]), 20), FINE),
        ("more segments", cut(v6(&[extension(0, 0, 8)], 6, &[0; 20]), 28), FINE),
        ("no UDP header", v6(&[], 17, &udp(1000, 1000)[..7]), UNREADABLE_DHCP),
    ]
}

fn ipv6_headers() -> Vec<Frame> {
    let (hop, options, authentication) =
        (|| extension(0, 0, 8), || extension(60, 0, 8), || extension(51, 4, 24));
    let advertisement = icmp(134, 16, &[]);
    let router = ROUTER;
    let behind = |chain: &[_], protocol| v6(chain, protocol, &advertisement);
    vec![
        ("another version", with(behind(&[], 58), 0, 0x40), UNREADABLE),
        ("another version of 15", with(behind(&[], 58), 0, 0xf0), UNREADABLE),
        ("hop-by-hop options, not first", behind(&[options(), hop()], 6), UNREADABLE),
        ("hop-by-hop options twice", behind(&[hop(), hop()], 6), UNREADABLE),
        ("fragment headers, nested", behind(&[fragment(0), fragment(0)], 6), UNREADABLE),
        ("options in a fragment", behind(&[fragment(1), options()], 6), UNREADABLE),
        ("routing in a fragment", behind(&[fragment(0), extension(43, 0, 8)], 6), UNREADABLE),
        (
            "options behind authentication, in a fragment",
            behind(&[fragment(1), authentication(), options()], 6),
            UNREADABLE,
        ),
        ("options behind authentication", behind(&[authentication(), options()], 58), router),
        ("an unassigned protocol", behind(&[], 148), UNREADABLE),
        ("an experiment", behind(&[options()], 253), UNREADABLE),
        ("the last assigned protocol", behind(&[], 147), FINE),
        // What is encrypted, or ignored (RFC 8200 §4.7).
        ("ESP", behind(&[], 50), FINE),
        ("no next header", behind(&[], 59), FINE),
        ("no next header in a fragment", v6(&[fragment(1)], 59, &[]), FINE),
        ("seven bytes of UDP in a fragment", v6(&[fragment(1)], 17, &[0; 7]), UNREADABLE),
        ("eight bytes of UDP in a fragment", v6(&[fragment(1)], 17, &[0; 8]), FINE),
        ("half of a header of TCP in a fragment", v6(&[fragment(1)], 6, &[0; 16]), UNREADABLE),
        ("a header of TCP in a fragment", v6(&[fragment(1)], 6, &[0; 20]), FINE),
        ("three bytes of ICMPv6 in a fragment", v6(&[fragment(1)], 58, &[128, 0, 0]), UNREADABLE),
        ("four bytes of ICMPv6 in a fragment", v6(&[fragment(1)], 58, &[128, 0, 0, 0]), FINE),
    ]
}

fn ipv6_messages() -> Vec<Frame> {
    let message = |kind, header, options: &[&[u8]]| v6(&[], 58, &icmp(kind, header, options));
    let other = address(2, OTHER);
    vec![
        ("half a router solicitation", message(133, 7, &[]), UNREADABLE_ADDRESSES),
        ("half a neighbour solicitation", message(135, 23, &[]), UNREADABLE_ADDRESSES),
        ("half a neighbour advertisement", message(136, 20, &[]), UNREADABLE_ADDRESSES),
        ("an option without length", message(136, 24, &[&[5, 0], &other]), UNREADABLE_ADDRESSES),
        ("padding", message(136, 24, &[&[0; 8]]), UNREADABLE_ADDRESSES),
    ]
}

fn ipv4() -> Vec<Frame> {
    let udp = |fragment| v4(5, fragment, 17, [1000, 1000]);
    let by = |bytes, by| longer(bytes, IPV4_LENGTH, by);
    vec![
        ("another version", with(udp(0), 0, 0x65), UNREADABLE_IPV4),
        ("another version of TCP", with(v4(5, 0, TCP, [1, 1]), 0, 0x65), UNREADABLE_IPV4),
        ("four words", with(udp(0), 0, 0x44), UNREADABLE_IPV4),
        ("a query behind the packet", with(v4(6, 0, IGMP, [0x1100, 0]), 0, 0x4f), UNREADABLE_QUERY),
        ("more than the frame", by(v4(6, 0, IGMP, [0x1100, 0]), 1), UNREADABLE_QUERY),
        ("more than the frame", by(udp(0), 1), UNREADABLE_DHCP),
        ("ports behind the packet", by(udp(0), -8), UNREADABLE_DHCP),
        ("half a header of UDP", by(udp(0), -1), UNREADABLE_DHCP),
        // RFC 1858
        ("half a header in the first fragment", by(udp(0x2000), -4), UNREADABLE_DHCP),
        ("no length", by(udp(0), -28), UNREADABLE_DHCP),
        ("segments to be cut", by(v4(5, 0, TCP, [1, 1]), -28), FINE),
        // RFC 3128: it replaces no port.
        ("the second eight bytes", udp(1), FINE),
    ]
}

fn arps() -> Vec<Frame> {
    let own = || arp(ARP, OWN);
    vec![
        ("of IEEE 802", with(own(), 1, 6), FINE),
        ("of Frame Relay", with(own(), 1, 15), UNREADABLE_ADDRESSES),
        ("of 256 and Ethernet", with(own(), 0, 1), UNREADABLE_ADDRESSES),
        ("of IPv6", with(with(own(), 2, 0x86), 3, 0xdd), UNREADABLE_ADDRESSES),
        // The sender's address is elsewhere.
        ("with addresses of eight bytes", with(own(), 4, 8), UNREADABLE_ADDRESSES),
        ("without hardware addresses", with(own(), 4, 0), UNREADABLE_ADDRESSES),
        ("with protocol addresses of 16 bytes", with(own(), 5, 16), UNREADABLE_ADDRESSES),
        ("of operation 0", with(own(), 7, 0), UNREADABLE_ADDRESSES),
        ("of operation 257", with(own(), 6, 1), UNREADABLE_ADDRESSES),
        ("of operation 10", with(own(), 7, 10), UNREADABLE_ADDRESSES),
        ("a reverse request in ARP", with(own(), 7, 3), FINE),
        ("a request in RARP", with(arp(RARP, OWN), 7, 1), FINE),
        ("cut", own()[..29].to_vec(), UNREADABLE_ADDRESSES),
    ]
}

/// Lengths of IEEE 802.3, and LLC headers.
#[test]
fn what_is_behind_a_length_is_as_long() {
    const ADVERTISEMENT: [u8; 2] = [0x86, 0xdd];
    let bytes = v6(&[], 58, &icmp(134, 16, &[]));
    assert_eq!(bytes[..2], ADVERTISEMENT);
    let router = ROUTER;
    let snap = [0xaa, 0xaa, 3, 0, 0, 0];
    let length = u16::try_from(snap.len() + bytes.len()).unwrap();
    for (kind, length, llc, expected) in [
        ("as long", length, snap, router),
        ("longer than the frame", length + 1, snap, UNREADABLE),
        ("shorter than the packet", length - 1, snap, UNREADABLE),
        ("shorter than SNAP", 7, snap, UNREADABLE),
        ("as long as LLC", 3, snap, UNREADABLE),
        ("nothing", 0, snap, UNREADABLE),
        ("longer than any frame", 1500, snap, UNREADABLE),
        // IEEE 802.3 §3.2.6: undefined.
        ("the first that is no length", 1501, snap, UNREADABLE),
        ("the last that is no Ethertype", 1535, snap, UNREADABLE),
        ("the first Ethertype", 1536, snap, FINE),
        ("of bridge tunnels", length, [0xaa, 0xaa, 3, 0, 0, 0xf8], router),
        ("of others", length, [0xaa, 0xaa, 3, 0, 0, 1], FINE),
        ("of others, longer than the frame", length + 1, [0xaa, 0xaa, 3, 0, 0, 1], UNREADABLE),
        ("a test", length, [0xaa, 0xaa, 0xe3, 0, 0, 0], UNREADABLE),
        ("from another LLC address", length, [0xaa, 0x42, 3, 0, 0, 0], UNREADABLE),
        ("a response", length, [0xaa, 0xab, 3, 0, 0, 0], UNREADABLE),
        ("to a group", length, [0xab, 0xaa, 3, 0, 0, 0], UNREADABLE),
        ("to another LLC address", length, [0x42, 0xaa, 3, 0, 0, 0], UNREADABLE),
        ("a spanning tree", length, [0x42, 0x42, 3, 0, 0, 0], FINE),
        ("a spanning tree that is cut", length + 1, [0x42, 0x42, 3, 0, 0, 0], UNREADABLE),
    ] {
        let length = length.to_be_bytes();
        let frame = [&[0xff; 6][..], &OWN, &length, &llc, &bytes].concat();
        assert_eq!(verdicts(&frame), expected, "{kind}");
        let tagged = [&[0xff; 6][..], &OWN, &[0x81, 0, 0, 7], &length, &llc, &bytes].concat();
        assert_eq!(verdicts(&tagged), expected, "{kind}, tagged");
        // Short frames are padded, the packet ends before.
        if kind == "as long" {
            assert_eq!(verdicts(&[&frame[..], &[0; 20]].concat()), expected, "padded");
        }
    }
    let nested = [&[0, 76][..], &snap, &[0, 62], &snap, &bytes].concat();
    let frame = [&[0xff; 6][..], &OWN, &nested, &[0; 20]].concat();
    assert_eq!(verdicts(&frame), UNREADABLE, "SNAP in SNAP");
    let cut = [&[0xff; 6][..], &OWN, &[0, 3, 0xaa, 0xaa, 3]].concat();
    assert_eq!(verdicts(&cut), UNREADABLE);
}

/// Padding behind a packet changes nothing, whatever it is.
#[test]
fn padding_says_nothing() {
    let padding = address(1, OTHER).repeat(4);
    for (kind, bytes, expected) in kinds::frames() {
        let frame = [&[0xff; 6][..], &OWN, &bytes].concat();
        let padded = [&frame[..], &padding].concat();
        // With bytes that were missing, a packet is as long as it says.
        if expected != UNREADABLE && !kind.contains("cut") && kind != "more than the frame" {
            assert_eq!(verdicts(&padded), expected, "{kind}");
        }
    }
}
