//! What a VM with the address 02:00:00:00:00:01 may say.

extern crate std;

use super::*;
use crate::policy::{Ip, mapped};

mod ips;
mod kinds;
mod refused;

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// The VM, with 10.0.0.5, 10.0.8.0/24 and 2001:db8::/64.
#[derive(Clone, Copy)]
struct Vm;

impl Owner for Vm {
    fn has_mac(self, mac: Mac) -> bool {
        mac == OWN
    }

    fn has_ip(self, ip: Ip) -> bool {
        let bytes = ip.map(u32::to_ne_bytes).concat();
        let is_in = |prefix: &[u8]| bytes.starts_with(prefix);
        ip == mapped([10, 0, 0, 5])
            || is_in(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 8])
            || is_in(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0])
    }
}

fn verdict(flags: u32, frame: &[u8]) -> Option<Reason> {
    check(flags, frame, Vm).err()
}

/// A frame from `source` with `parts` behind the addresses.
fn frame<const N: usize>(source: [u8; 6], parts: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..6].copy_from_slice(&[0xff; 6]);
    bytes[6..12].copy_from_slice(&source);
    let mut end = 12;
    for part in parts {
        bytes[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    bytes
}

const ARP_REQUEST: &[u8] = &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1];

/// An Ethertype and an IPv6 header, with addresses of no interest.
fn v6(length: u8, next: u8) -> [u8; 42] {
    let mut header = [0xff; 42];
    header[..9].copy_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, length, next]);
    header
}

#[test]
fn the_source_address_is_one_of_the_ports() {
    assert_eq!(verdict(MAC_GUARD, &frame::<60>(OWN, &[&[8, 0]])), None);
    assert_eq!(verdict(MAC_GUARD, &frame::<60>(OTHER, &[&[8, 0]])), Some(Reason::MacSpoofed));
    assert_eq!(verdict(MAC_GUARD, &frame::<60>([0; 6], &[&[8, 0]])), Some(Reason::MacSpoofed));
    assert_eq!(verdict(RA_GUARD, &frame::<60>(OTHER, &[&[8, 0]])), None);
    assert_eq!(verdict(MAC_GUARD, &frame::<60>(OWN, &[])[..11]), Some(Reason::Malformed));
}

#[test]
fn arp_names_the_ports_address_however_it_is_wrapped() {
    // The frame has 80 bytes.
    let wraps: [&[u8]; 5] = [
        &[],
        &[0x81, 0, 0, 100],
        &[0x81, 0, 0, 0, 0x81, 0, 0, 0],
        &[0, 66, 0xaa, 0xaa, 3, 0, 0, 0],
        &[0, 66, 0xaa, 0xaa, 3, 0, 0, 0, 0x81, 0, 0, 5],
    ];
    for wrap in wraps {
        let honest = frame::<80>(OWN, &[wrap, ARP_REQUEST, &OWN]);
        assert_eq!(verdict(MAC_GUARD, &honest), None, "{wrap:x?}");
        let spoofed = frame::<80>(OWN, &[wrap, ARP_REQUEST, &OTHER]);
        assert_eq!(verdict(MAC_GUARD, &spoofed), Some(Reason::ArpSpoofed), "{wrap:x?}");
    }
    let reverse = frame::<80>(OWN, &[&[0x80, 0x35], &ARP_REQUEST[2..9], &[3], &OTHER]);
    assert_eq!(verdict(MAC_GUARD, &reverse), Some(Reason::ArpSpoofed));
    let cut = frame::<80>(OWN, &[ARP_REQUEST, &OWN]);
    assert_eq!(verdict(MAC_GUARD, &cut[..27]), Some(Reason::Malformed));
}

#[test]
fn more_layers_than_anyone_sends_are_refused() {
    let tags = [0x81, 0, 0, 1].repeat(4);
    let deep = frame::<80>(OWN, &[&tags, ARP_REQUEST, &OTHER]);
    assert_eq!(verdict(MAC_GUARD, &deep), Some(Reason::StackedTag));
}

#[test]
fn dhcp_of_a_server_is_told_from_that_of_a_client() {
    let udp = |ports: [u8; 4], fragment: u8| {
        let header = [8, 0, 0x46, 0, 0, 32, 0, 0, 0, fragment, 64, 17];
        frame::<80>(OWN, &[&header, &[0; 14], &ports])
    };
    assert_eq!(verdict(DHCP_GUARD, &udp([0, 67, 0, 68], 0)), Some(Reason::DhcpServer));
    assert_eq!(verdict(DHCP_GUARD, &udp([1, 67, 0, 68], 0)), Some(Reason::DhcpServer));
    assert_eq!(verdict(DHCP_GUARD, &udp([0, 67, 0, 67], 0)), Some(Reason::DhcpServer));
    assert_eq!(verdict(DHCP_GUARD, &udp([0, 68, 0, 67], 0)), None);
    assert_eq!(verdict(DHCP_GUARD, &udp([0, 67, 0, 68], 9)), None);
    assert_eq!(verdict(RA_GUARD, &udp([0, 67, 0, 68], 0)), None);
    let udp = |ports: [u8; 4]| frame::<80>(OWN, &[&v6(8, 17), &ports]);
    assert_eq!(verdict(DHCP_GUARD, &udp([2, 0x23, 2, 0x22])), Some(Reason::DhcpServer));
    assert_eq!(verdict(DHCP_GUARD, &udp([9, 9, 2, 0x22])), Some(Reason::DhcpServer));
    assert_eq!(verdict(DHCP_GUARD, &udp([2, 0x22, 2, 0x23])), None);
}

#[test]
fn a_router_advertisement_is_found_behind_extension_headers() {
    let advertisement = [134, 0, 0, 0];
    let plain = frame::<80>(OWN, &[&v6(16, 58), &advertisement]);
    assert_eq!(verdict(RA_GUARD, &plain), Some(Reason::RouterAdvertisement));
    assert_eq!(verdict(DHCP_GUARD, &plain), None);
    let redirect = frame::<80>(OWN, &[&v6(16, 58), &[137, 0]]);
    assert_eq!(verdict(RA_GUARD, &redirect), Some(Reason::RouterAdvertisement));
    let hidden = frame::<128>(
        OWN,
        &[
            &v6(64, 0),
            &[60, 1],
            &[0; 14],
            &[44, 0, 0, 0, 0, 0, 0, 0],
            &[58, 0, 0, 1, 0, 0, 0, 7],
            &advertisement,
        ],
    );
    assert_eq!(verdict(RA_GUARD, &hidden), Some(Reason::RouterAdvertisement));
    let later = frame::<128>(OWN, &[&v6(24, 44), &[58, 0, 0, 8, 0, 0, 0, 7], &advertisement]);
    assert_eq!(verdict(RA_GUARD, &later), None);
    let cut = frame::<128>(OWN, &[&v6(64, 60), &[58, 200]]);
    assert_eq!(verdict(RA_GUARD, &cut), Some(Reason::Malformed));
    let endless = frame::<256>(OWN, &[&v6(200, 60), &[60; 200]]);
    assert_eq!(verdict(RA_GUARD, &endless), Some(Reason::Malformed));
}

#[test]
fn neighbour_discovery_names_the_ports_address() {
    for (kind, header) in [(133, 8), (134, 16), (135, 24), (136, 24)] {
        let with = |option: &[u8]| {
            let mut message = [0; 40];
            message[0] = kind;
            message[header..header + option.len()].copy_from_slice(option);
            let end = header + option.len();
            (frame::<128>(OWN, &[&v6(u8::try_from(end).unwrap(), 58), &message[..end]]), 54 + end)
        };
        for (mac, expected) in [(OWN, None), (OTHER, Some(Reason::NdSpoofed))] {
            for option in [1, 2] {
                let mut bytes = [option, 1, 0, 0, 0, 0, 0, 0];
                bytes[2..].copy_from_slice(&mac);
                let (frame, end) = with(&bytes);
                assert_eq!(verdict(MAC_GUARD, &frame[..end]), expected, "{kind} {option}");
            }
        }
        let (frame, end) = with(&[]);
        assert_eq!(verdict(MAC_GUARD, &frame[..end]), None, "{kind} without an option");
    }
}
