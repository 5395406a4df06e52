//! Frames that let switches and neighbours know where a station is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netagent_common::vlan::TPID_C;

use crate::{checksum, names::Mac};

/// The shortest frame without FCS (IEEE 802.3).
pub const SHORTEST: usize = 60;

const RARP: u16 = 0x8035;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const BROADCAST: [u8; 6] = [0xff; 6];
/// The start of an ARP packet: Ethernet, IPv4, and the lengths of their addresses.
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// ff02::1 and its MAC address (RFC 2464 section 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ICMPV6: u8 = 58;
/// Neighbour Advertisement (RFC 4861 section 4.4), with its flags R and O.
const ADVERTISEMENT: u8 = 136;
const ROUTER: u8 = 0x80;
const OVERRIDE: u8 = 0x20;
/// Option: the link-layer address of the target.
const TARGET_MAC: [u8; 2] = [2, 1];

/// "Request reverse" for the own address, as `qemu_announce_self` sends it.
pub fn rarp(mac: Mac, vid: Option<u16>) -> Vec<u8> {
    const REQUEST_REVERSE: [u8; 2] = [0, 3];
    let mut frame = ethernet(BROADCAST, mac, vid, RARP);
    frame.extend([&ARP_HEAD[..], &REQUEST_REVERSE].concat());
    for _ in ["sender", "target"] {
        frame.extend(mac.0);
        frame.extend([0; 4]);
    }
    padded(frame)
}

/// Says that an address of the node is at this MAC address. As the kernel does on a bond
/// (NETDEV_NOTIFY_PEERS): a request for the own IPv4 address (RFC 5227 section 3), or an
/// unsolicited Neighbour Advertisement (RFC 4861 section 7.2.6).
pub fn of_address(address: IpAddr, mac: Mac, is_router: bool) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => gratuitous_arp(address, mac),
        IpAddr::V6(address) => unsolicited_advertisement(address, mac, is_router),
    }
}

fn gratuitous_arp(address: Ipv4Addr, mac: Mac) -> Vec<u8> {
    const REQUEST: [u8; 2] = [0, 1];
    let mut frame = ethernet(BROADCAST, mac, None, ARP);
    frame.extend([&ARP_HEAD[..], &REQUEST, &mac.0, &address.octets()].concat());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    padded(frame)
}

fn unsolicited_advertisement(address: Ipv6Addr, mac: Mac, is_router: bool) -> Vec<u8> {
    const HOP_LIMIT: u8 = 255;
    let flags = if is_router { ROUTER | OVERRIDE } else { OVERRIDE };
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend(address.octets());
    message.extend(TARGET_MAC);
    message.extend(mac.0);
    let checksum = icmpv6_checksum(address, ALL_NODES, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let length = u16::try_from(message.len()).unwrap_or_default();
    let mut frame = ethernet(ALL_NODES_MAC, mac, None, IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([ICMPV6, HOP_LIMIT]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

fn ethernet(to: [u8; 6], from: Mac, vid: Option<u16>, ethertype: u16) -> Vec<u8> {
    let mut frame = [to, from.0].concat();
    if let Some(vid) = vid {
        frame.extend(TPID_C.to_be_bytes());
        frame.extend(vid.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame
}

fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(SHORTEST.max(frame.len()), 0);
    frame
}

/// The checksum of an ICMPv6 message, with the pseudo-header (RFC 8200 section 8.1).
fn icmpv6_checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or_default();
    let head = [&from.octets()[..], &to.octets(), &length.to_be_bytes(), &[0, 0, 0, ICMPV6]];
    checksum::internet(&[&head.concat(), message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    #[test]
    fn announcement_is_a_whole_frame_of_rarp() {
        let frame = rarp(MAC, Some(100));
        assert_eq!(frame.len(), SHORTEST);
        let head = [
            &[0xff; 6][..],
            &[2, 0, 0, 0, 0, 9, 0x81, 0, 0, 100, 0x80, 0x35],
            &[0, 1, 8, 0, 6, 4, 0, 3, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0],
        ];
        assert_eq!(frame[..46], head.concat());
        let untagged = rarp(MAC, None);
        assert_eq!((&untagged[..12], &untagged[12..14]), (&frame[..12], &[0x80, 0x35][..]));
    }

    #[test]
    fn ipv4_address_is_announced_by_a_request_for_itself() {
        let frame = of_address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5)), MAC, true);
        assert_eq!(frame.len(), SHORTEST);
        let expected = [
            &[0xff; 6][..],
            &[2, 0, 0, 0, 0, 9, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1],
            &[2, 0, 0, 0, 0, 9, 10, 0, 0, 5, 0, 0, 0, 0, 0, 0, 10, 0, 0, 5],
        ];
        assert_eq!(frame[..42], expected.concat());
    }

    #[test]
    fn ipv6_address_is_announced_by_an_advertisement_with_a_right_checksum() {
        let own = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 5);
        let frame = of_address(IpAddr::V6(own), MAC, false);
        assert_eq!(frame.len(), 14 + 40 + 32);
        assert_eq!(frame[..14], [0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd]);
        assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 32, 58, 255]);
        assert_eq!(frame[22..38], own.octets());
        assert_eq!(frame[38..54], ALL_NODES.octets());
        assert_eq!((frame[54], frame[58]), (136, 0x20), "O alone: nobody has asked");
        assert_eq!(frame[62..78], own.octets());
        assert_eq!(frame[78..], [2, 1, 2, 0, 0, 0, 0, 9]);
        // With a right checksum, the sum of all words is 0.
        assert_eq!(icmpv6_checksum(own, ALL_NODES, &frame[54..]), 0);
        let router = of_address(IpAddr::V6(own), MAC, true);
        assert_eq!(router[58], 0xa0, "without R, hosts give the router up");
        assert_eq!(icmpv6_checksum(own, ALL_NODES, &router[54..]), 0);
    }
}
