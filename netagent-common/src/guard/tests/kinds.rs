//! Every guard alone, and none, over every kind of frame, however it is wrapped: a guard sees what
//! it is for, and nothing else.

extern crate std;

use std::{vec, vec::Vec};

use super::{refused, *};

/// What no guard, and the guards of addresses, DHCP, router advertisements and queries each alone
/// say.
pub type Verdicts = [Option<Reason>; 5];

pub const FINE: Verdicts = [None; 5];
const SOURCE: Verdicts = [None, Some(Reason::MacSpoofed), None, None, None];
const ARP_OF_OTHER: Verdicts = [None, Some(Reason::ArpSpoofed), None, None, None];
const ND_OF_OTHER: Verdicts = [None, Some(Reason::NdSpoofed), None, None, None];
const SERVER: Verdicts = [None, None, Some(Reason::DhcpServer), None, None];
pub const ROUTER: Verdicts = [None, None, None, Some(Reason::RouterAdvertisement), None];
const QUERIER: Verdicts = [None, None, None, None, Some(Reason::MulticastQuery)];
/// IPv6 whose extension headers cannot be read is refused whatever the guards.
pub const UNREADABLE: Verdicts = [Some(Reason::Malformed); 5];
/// The headers of IPv4 cannot be read.
pub const UNREADABLE_IPV4: Verdicts =
    [None, None, Some(Reason::Malformed), None, Some(Reason::Malformed)];

/// What gives addresses cannot be read.
pub const UNREADABLE_ADDRESSES: Verdicts = [None, Some(Reason::Malformed), None, None, None];

/// A frame behind its addresses, from the Ethertype on.
pub type Frame = (&'static str, Vec<u8>, Verdicts);

pub fn arp(ethertype: u16, sender: Mac) -> Vec<u8> {
    let operation = if ethertype == RARP { 4 } else { 2 };
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [&ethertype.to_be_bytes()[..], &head, &sender, &[10, 0, 0, 1], &OTHER, &[10, 0, 0, 2]].concat()
}

/// With a header of so many words, and the field of the fragment.
pub fn v4(words: u8, fragment: u16, protocol: u8, ports: [u16; 2]) -> Vec<u8> {
    let mut header = vec![0xff; usize::from(words) * 4];
    header[..4].copy_from_slice(&[0x40 | words, 0, 0, words * 4 + 8]);
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[9] = protocol;
    [&IPV4.to_be_bytes()[..], &header, &udp(ports[0], ports[1])].concat()
}

/// An IGMP message of a type, with a header of so many words, and the field of the fragment.
fn igmp(words: u8, fragment: u16, kind: u8) -> Vec<u8> {
    v4(words, fragment, IGMP, [u16::from(kind) << 8, 0])
}

/// Behind these extension headers, each with its type.
pub fn v6(extensions: &[(u8, Vec<u8>)], protocol: u8, message: &[u8]) -> Vec<u8> {
    let kinds = extensions.iter().map(|(kind, _)| *kind).chain([protocol]);
    let mut kinds = kinds.collect::<Vec<_>>().into_iter();
    let mut packet = vec![0xff; 40];
    (packet[0], packet[6]) = (0x60, kinds.next().unwrap());
    for ((_, header), next) in extensions.iter().zip(kinds) {
        packet.push(next);
        packet.extend(&header[1..]);
    }
    packet.extend(message);
    let length = u16::try_from(packet.len() - 40).unwrap();
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    [&IPV6.to_be_bytes()[..], &packet].concat()
}

/// An extension header: its length field, and the bytes that it has.
pub fn extension(kind: u8, length: u8, bytes: usize) -> (u8, Vec<u8>) {
    let mut header = vec![0xff; bytes];
    header[1] = length;
    (kind, header)
}

/// The reserved byte is where other headers have their length.
pub fn fragment(field: u16) -> (u8, Vec<u8>) {
    let [high, low] = field.to_be_bytes();
    (44, vec![0, 9, high, low, 0, 0, 0, 7])
}

/// Ports, with the rest of a header of UDP.
pub fn udp(from: u16, to: u16) -> [u8; 8] {
    let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
    [a, b, c, d, 0, 8, 0, 0]
}

/// An ICMPv6 message with a header of so many bytes, and options.
pub fn icmp(kind: u8, header: usize, options: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![0; header];
    message[0] = kind;
    [message, options.concat()].concat()
}

/// An option with a link-layer address.
pub fn address(option: u8, mac: Mac) -> [u8; 8] {
    let mut bytes = [option, 1, 0, 0, 0, 0, 0, 0];
    bytes[2..].copy_from_slice(&mac);
    bytes
}

/// Whatever is before the protocol: each guard finds the same behind it.
fn chains() -> Vec<Vec<(u8, Vec<u8>)>> {
    let mut chains = vec![
        vec![],
        vec![extension(0, 0, 8), extension(60, 1, 16), extension(43, 2, 24)],
        // One less than too many.
        vec![extension(60, 0, 8); 7],
    ];
    // The length of AH counts four bytes each, and two of them less.
    let lengths = [(51, 1, 12), (51, 4, 24), (51, 5, 28)];
    let others = [0, 43, 60, 135, 139, 140].into_iter();
    let others = others.flat_map(|kind| [(kind, 0, 8), (kind, 2, 24)]);
    chains.extend(
        lengths
            .into_iter()
            .chain(others)
            .map(|(kind, length, bytes)| vec![extension(kind, length, bytes)]),
    );
    chains
}

/// What is behind the extension headers: its protocol, and its bytes.
fn messages() -> Vec<(&'static str, u8, Vec<u8>, Verdicts)> {
    let own = address(1, OWN);
    let other = address(1, OTHER);
    let prefix = [3, 4].into_iter().chain([1; 30]).collect::<Vec<u8>>();
    let nothing = [5, 1, 0, 0, 0, 0, 0, 0];
    let seven = nothing.repeat(7);
    vec![
        ("DHCPv6 of a server", 17, udp(547, 1000).to_vec(), SERVER),
        ("DHCPv6 of a server to a relay", 17, udp(547, 547).to_vec(), SERVER),
        ("DHCPv6 to a client", 17, udp(1000, 546).to_vec(), SERVER),
        ("DHCPv6 of a client", 17, udp(546, 547).to_vec(), FINE),
        ("TCP with these ports", TCP, [&udp(547, 546)[..], &[0; 12]].concat(), FINE),
        // Its checksum is the port of a client.
        ("echo", 58, [&[128, 0, 2, 0x22], &other[..], &other, &other].concat(), FINE),
        ("advertisement", 58, icmp(134, 16, &[&own, &prefix]), ROUTER),
        (
            "advertisement with the address of another",
            58,
            icmp(134, 16, &[&prefix, &other]),
            [None, ND_OF_OTHER[1], None, ROUTER[3], None],
        ),
        ("advertisement, no more", 58, icmp(134, 16, &[]), ROUTER),
        ("redirect about another", 58, icmp(137, 40, &[&address(2, OTHER)]), ROUTER),
        ("router solicitation", 58, icmp(133, 8, &[&own]), FINE),
        ("router solicitation of another", 58, icmp(133, 8, &[&other]), ND_OF_OTHER),
        ("solicitation", 58, icmp(135, 24, &[&own]), FINE),
        ("solicitation of another", 58, icmp(135, 24, &[&other]), ND_OF_OTHER),
        ("own, then another", 58, icmp(136, 24, &[&own, &prefix, &other]), ND_OF_OTHER),
        ("seven options", 58, icmp(136, 24, &[&seven]), FINE),
        ("seven options and more", 58, icmp(136, 24, &[&seven, &own]), ND_OF_OTHER),
        ("a listener query", 58, icmp(130, 24, &[]), QUERIER),
        ("a listener query of version 2", 58, icmp(130, 28, &[]), QUERIER),
        ("a listener report", 58, icmp(131, 24, &[]), FINE),
        ("a listener report of version 2", 58, icmp(143, 8, &[]), FINE),
        ("an address that is cut", 58, icmp(136, 24, &[&other[..7]]), UNREADABLE_ADDRESSES),
    ]
}

/// Neighbour discovery in fragments: nodes do not send it, and ignore it (RFC 6980).
const IN_FRAGMENT: Verdicts = [None, Some(Reason::Malformed), None, Some(Reason::Malformed), None];

fn in_fragments() -> Vec<Frame> {
    let chains = [
        vec![fragment(0)],
        vec![fragment(1), extension(51, 4, 24)],
        vec![extension(0, 0, 8), extension(60, 1, 16), extension(43, 2, 24), fragment(1)],
    ];
    let frame = |chain: &[_], (kind, protocol, message, expected): (_, u8, Vec<u8>, _)| {
        let expected = match (protocol, message[0]) {
            (58, 134 | 137) => [None, IN_FRAGMENT[1], None, ROUTER[3], None],
            (58, 133..137) => IN_FRAGMENT,
            _ => expected,
        };
        (kind, v6(chain, protocol, &message), expected)
    };
    let of_chain = |chain: &Vec<_>| messages().into_iter().map(|it| frame(chain, it)).collect();
    chains.iter().flat_map(|chain| -> Vec<Frame> { of_chain(chain) }).collect()
}

pub fn frames() -> Vec<Frame> {
    let mut frames = vec![
        ("ARP", arp(ARP, OWN), FINE),
        ("ARP of another", arp(ARP, OTHER), ARP_OF_OTHER),
        ("RARP", arp(RARP, OWN), FINE),
        ("RARP of another", arp(RARP, OTHER), ARP_OF_OTHER),
        ("another protocol", arp(0x88cc, OTHER), FINE),
        ("IPv4", v4(5, 0, 17, [1000, 53]), FINE),
        ("DHCP of a client", v4(5, 0, 17, [68, 67]), FINE),
        ("a server", v4(5, 0, 17, [67, 1000]), SERVER),
        ("a server, to a client", v4(5, 0, 17, [1000, 68]), SERVER),
        ("with options", v4(6, 0, 17, [67, 68]), SERVER),
        ("with all options", v4(15, 0, 17, [67, 68]), SERVER),
        ("that must not be a fragment", v4(5, 0x4000, 17, [67, 68]), SERVER),
        ("the first fragment", v4(5, 0x2000, 17, [67, 68]), SERVER),
        ("a later one", v4(5, 0x2001, 17, [67, 68]), FINE),
        ("a much later one", v4(5, 0x1000, 17, [67, 68]), FINE),
        ("TCP with these ports", v4(5, 0, TCP, [67, 68]), FINE),
        ("a query", igmp(6, 0, 0x11), QUERIER),
        ("a query without the router alert", igmp(5, 0, 0x11), QUERIER),
        ("the first fragment of a query", igmp(6, 0x2000, 0x11), QUERIER),
        ("what the bridge takes for a query", igmp(6, 0x2001, 0x11), QUERIER),
        ("a report", igmp(6, 0, 0x16), FINE),
        ("a report of version 3", igmp(6, 0, 0x22), FINE),
        ("UDP that begins as a query", v4(5, 0, 17, [0x1100, 53]), FINE),
        ("a later fragment of an advertisement", v6(&[fragment(8)], 58, &[134, 0, 0, 0]), FINE),
        ("a much later one", v6(&[fragment(0x100)], 58, &[134, 0, 0, 0]), FINE),
        (
            "too many headers",
            v6(&vec![extension(60, 0, 8); 8], 58, &icmp(134, 16, &[])),
            UNREADABLE,
        ),
        ("a cut header", v6(&[], 60, &[58, 0, 0]), UNREADABLE),
        ("behind a header that says more", v6(&[], 60, &[0, 200, 0, 0]), UNREADABLE),
    ];
    for chain in chains() {
        let behind = |(kind, protocol, message, expected): (_, _, Vec<u8>, _)| {
            (kind, v6(&chain, protocol, &message), expected)
        };
        frames.extend(messages().into_iter().map(behind));
    }
    frames.extend(in_fragments());
    frames.extend(refused::frames());
    frames
}

/// Between the addresses and the Ethertype of so many bytes.
fn wraps(bytes: usize) -> [Vec<u8>; 5] {
    let [high, low] = u16::try_from(6 + bytes).unwrap().to_be_bytes();
    [
        vec![],
        vec![0x81, 0, 0, 100],
        vec![0x88, 0xa8, 0x2b, 0xb8, 0x81, 0, 0, 0, 0x81, 0, 0, 5],
        vec![high, low, 0xaa, 0xaa, 3, 0, 0, 0],
        vec![0x81, 0, 0, 5, high, low, 0xaa, 0xaa, 3, 0, 0, 0xf8],
    ]
}

pub fn verdicts(frame: &[u8]) -> Verdicts {
    [0, MAC_GUARD, DHCP_GUARD, RA_GUARD, QUERIER_GUARD].map(|guard| verdict(guard, frame))
}

#[test]
fn each_guard_finds_what_it_is_for_and_nothing_else() {
    for (kind, bytes, expected) in frames() {
        for wrap in wraps(bytes.len()) {
            let from = |source: Mac| [&[0xff; 6][..], &source, &wrap, &bytes].concat();
            let frame = from(OWN);
            assert_eq!(verdicts(&frame), expected, "{kind}: {frame:02x?}");
            let any = expected.iter().any(Option::is_some);
            assert_eq!(verdict(GUARDS & !IP_GUARD, &frame).is_some(), any, "{kind}: all guards");
            // The guard of addresses looks at the source first.
            let [none, _, dhcp, ra, querier] = expected;
            let of_other = [none, SOURCE[1], dhcp, ra, querier];
            assert_eq!(verdicts(&from(OTHER)), of_other, "{kind} from another");
        }
    }
}

#[test]
fn four_tags_are_too_many_whatever_is_behind_them() {
    for (kind, bytes, _) in frames() {
        let tags = [0x81, 0, 0, 1].repeat(4);
        let frame = [&[0xff; 6][..], &OWN, &tags, &bytes].concat();
        assert_eq!(verdicts(&frame), [Some(Reason::StackedTag); 5], "{kind}");
    }
}
