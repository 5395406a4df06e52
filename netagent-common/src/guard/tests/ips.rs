//! IP addresses: what a VM may give as source, in ARP and in neighbour discovery.

use std::{vec, vec::Vec};

use super::{kinds, *};

const NOBODY: [u8; 4] = [0; 4];
const MINE: [u8; 4] = [10, 0, 0, 5];
const IN_PREFIX: [u8; 4] = [10, 0, 8, 77];
const GATEWAY: [u8; 4] = [10, 0, 0, 1];
const BESIDE: [u8; 4] = [10, 0, 9, 0];

const UNSPECIFIED: [u8; 16] = [0; 16];
const MINE_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
const OTHER_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
/// That which follows from the VM's address, and that of a router.
const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1];
const ROUTER: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn v4_from(source: [u8; 4], fragment: u16) -> Vec<u8> {
    let mut bytes = kinds::v4(5, fragment, 6, [1, 2]);
    bytes[2 + 12..2 + 16].copy_from_slice(&source);
    bytes
}

fn arp(protocol: u16, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut bytes = kinds::arp(protocol, OWN);
    bytes[2 + 14..2 + 18].copy_from_slice(&sender);
    bytes[2 + 24..2 + 28].copy_from_slice(&target);
    bytes
}

fn v6_from(source: [u8; 16], protocol: u8, message: &[u8]) -> Vec<u8> {
    behind(source, &[], protocol, message)
}

fn behind(source: [u8; 16], chain: &[(u8, Vec<u8>)], protocol: u8, message: &[u8]) -> Vec<u8> {
    let mut bytes = kinds::v6(chain, protocol, message);
    bytes[2 + 8..2 + 24].copy_from_slice(&source);
    bytes
}

/// Neighbour discovery about an address.
fn about(kind: u8, target: [u8; 16]) -> Vec<u8> {
    let mut message = kinds::icmp(kind, 24, &[]);
    message[8..24].copy_from_slice(&target);
    message
}

fn cases() -> Vec<(&'static str, Vec<u8>, Option<Reason>)> {
    let (ip, arps, nd) =
        (Some(Reason::IpSpoofed), Some(Reason::ArpIpSpoofed), Some(Reason::NdIpSpoofed));
    let malformed = Some(Reason::Malformed);
    let hops = || [kinds::extension(0, 0, 8)];
    let fragment = || [kinds::fragment(0)];
    vec![
        ("own", v4_from(MINE, 0), None),
        ("of a prefix", v4_from(IN_PREFIX, 0), None),
        ("without an address, as DHCP clients", v4_from(NOBODY, 0), None),
        ("of another", v4_from(GATEWAY, 0), ip),
        ("beside a prefix", v4_from(BESIDE, 0), ip),
        ("broadcast", v4_from([0xff; 4], 0), ip),
        ("a later fragment of another", v4_from(GATEWAY, 0x2001), ip),
        ("cut before the source", v4_from(MINE, 0)[..2 + 15].to_vec(), malformed),
        ("a reply", arp(ARP, MINE, GATEWAY), None),
        ("a reply for another", arp(ARP, GATEWAY, MINE), arps),
        ("an announcement for another", arp(ARP, GATEWAY, GATEWAY), arps),
        ("a probe", arp(ARP, NOBODY, MINE), None),
        ("a probe for the address of another", arp(ARP, NOBODY, GATEWAY), arps),
        ("an announcement of a VM that moved", arp(RARP, NOBODY, NOBODY), None),
        ("RARP for another", arp(RARP, GATEWAY, NOBODY), arps),
        ("own", v6_from(MINE_V6, 6, &[0; 20]), None),
        ("none as yet", v6_from(UNSPECIFIED, 58, &kinds::icmp(133, 8, &[])), None),
        ("the own link-local one", v6_from(LINK_LOCAL, 58, &kinds::icmp(133, 8, &[])), None),
        ("of another", v6_from(OTHER_V6, 6, &[0; 20]), ip),
        ("the router's", v6_from(ROUTER, 58, &kinds::icmp(134, 16, &[])), ip),
        ("of another, behind options", behind(OTHER_V6, &hops(), 6, &[0; 20]), ip),
        ("a fragment of another", behind(OTHER_V6, &fragment(), 6, &[0; 20]), ip),
        ("asks for a neighbour", v6_from(MINE_V6, 58, &about(135, OTHER_V6)), None),
        ("looks for a duplicate of its own", v6_from(UNSPECIFIED, 58, &about(135, MINE_V6)), None),
        ("of its link-local one", v6_from(UNSPECIFIED, 58, &about(135, LINK_LOCAL)), None),
        ("claims one as a duplicate", v6_from(UNSPECIFIED, 58, &about(135, OTHER_V6)), nd),
        ("advertises its own", v6_from(MINE_V6, 58, &about(136, MINE_V6)), None),
        ("advertises that of another", v6_from(MINE_V6, 58, &about(136, OTHER_V6)), nd),
        ("behind options", behind(MINE_V6, &hops(), 58, &about(136, ROUTER)), nd),
        ("in a fragment", behind(MINE_V6, &fragment(), 58, &about(136, MINE_V6)), malformed),
        (
            "an advertisement that is cut",
            v6_from(MINE_V6, 58, &about(136, MINE_V6)[..23]),
            malformed,
        ),
    ]
}

#[test]
fn a_vm_gives_only_its_own_ip_addresses() {
    for (kind, bytes, expected) in cases() {
        for wrap in [&[][..], &[0x81, 0, 0, 100], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 0]] {
            let frame = [&[0xff; 6][..], &OWN, wrap, &bytes].concat();
            assert_eq!(verdict(IP_GUARD, &frame), expected, "{kind}: {frame:x?}");
            let others = verdict(GUARDS & !IP_GUARD, &frame);
            assert!(others.is_none_or(|it| Some(it) != expected || it == Reason::Malformed));
        }
    }
}

#[test]
fn the_link_local_address_follows_from_the_source_of_the_frame() {
    let bytes = v6_from(LINK_LOCAL, 58, &kinds::icmp(133, 8, &[]));
    let frame = [&[0xff; 6][..], &OTHER, &bytes].concat();
    assert_eq!(verdict(IP_GUARD, &frame), Some(Reason::IpSpoofed));
}
