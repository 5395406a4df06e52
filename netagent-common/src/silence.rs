//! Ports that stay silent: the other end of a migration. Until the VM itself sends from there, no
//! frame may move its address in the switches, as the VM still runs elsewhere.

use crate::guard::{
    ARP, Bytes, ICMPV6, IPV4, IPV6, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, RARP,
    ROUTER_SOLICITATION, arp_sender, before, packet, upper_layer,
};

const IGMP: u8 = 2;
/// Multicast listeners (RFC 2710, RFC 3810).
const LISTENERS: [u8; 4] = [130, 131, 132, 143];
/// The flag S of an advertisement (RFC 4861 §4.4): it answers a solicitation.
const SOLICITED: u8 = 0x40;

/// State of a silent port. The programs write the first two fields, the agent the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Silence {
    /// The source address of a frame from the port, by [`crate::mac::number`]; 0: there was none.
    pub mac: u64,
    /// Not 0: the VM has sent frames of its own.
    pub own: u32,
    /// [`TOLD`] or [`ANNOUNCED`]; 0: neither.
    pub told: u32,
}

/// The operator has said that the VM runs here. Its next frame shows its address.
pub const TOLD: u32 = 1;
/// The agent has announced the VM.
pub const ANNOUNCED: u32 = 2;

impl Silence {
    /// Whether the port is not silent any more.
    pub const fn is_over(&self) -> bool {
        self.own != 0 || self.told != 0
    }
}

/// Whether a network stack or a hypervisor sends such a frame by itself, to make an address known
/// or to find its way: gratuitous ARP and probes (RFC 5227), RARP, unsolicited neighbour
/// advertisements, duplicate address detection, router solicitations, reports of multicast
/// listeners, and groups of protocols other than IP and ARP. A frame that cannot be read is one.
#[inline(always)]
pub fn is_unprompted(frame: &(impl Bytes + ?Sized)) -> bool {
    read(frame).unwrap_or(true)
}

#[inline(always)]
fn read(frame: &(impl Bytes + ?Sized)) -> Option<bool> {
    let [first] = frame.read(0)?;
    let is_group = first & 1 != 0;
    let packet = packet(frame).ok()?;
    let offset = packet.start;
    Some(match packet.protocol {
        // A sender that is its own target, or has no address yet.
        ARP => {
            arp_sender(frame, packet).ok()?;
            let (sender, target): ([u8; 4], [u8; 4]) =
                (frame.read(offset + 14)?, frame.read(offset + 24)?);
            sender == target || sender == [0; 4]
        }
        RARP => true,
        IPV4 => {
            let [protocol] = frame.read(offset + 9)?;
            protocol == IGMP
        }
        IPV6 => {
            // A later fragment without the first one says nothing.
            let Some(upper) = upper_layer(frame, packet).ok()? else { return Some(true) };
            if upper.protocol != ICMPV6 {
                return Some(false);
            }
            let [kind, _, _, _, flags] = before(upper.end, frame, upper.start).ok()?;
            if LISTENERS.contains(&kind) || kind == ROUTER_SOLICITATION {
                return Some(true);
            }
            match kind {
                // An answer goes to the one who asked.
                NEIGHBOUR_ADVERTISEMENT => is_group || flags & SOLICITED == 0,
                // From the unspecified address: duplicate address detection.
                NEIGHBOUR_SOLICITATION => {
                    let source: [[u8; 8]; 2] = [frame.read(offset + 8)?, frame.read(offset + 16)?];
                    source == [[0; 8]; 2]
                }
                _ => false,
            }
        }
        _ => is_group,
    })
}

#[cfg(feature = "user")]
mod user {
    use super::Silence;

    // SAFETY: repr(C), integers only, no padding.
    unsafe impl aya::Pod for Silence {}
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{vec, vec::Vec};

    use super::*;

    const VM: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const EVERYBODY: [u8; 6] = [0xff; 6];
    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn frame(destination: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let ethertype = ethertype.to_be_bytes();
        [&destination[..], &VM, &ethertype, payload].concat()
    }

    fn arp(destination: [u8; 6], kind: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
        let head = [0, 1, 8, 0, 6, 4, 0, kind];
        frame(destination, ARP, &[&head[..], &VM, &sender, &[0; 6], &target].concat())
    }

    fn ipv4(destination: [u8; 6], protocol: u8) -> Vec<u8> {
        let mut header = [0; 28];
        (header[0], header[9]) = (0x45, protocol);
        frame(destination, IPV4, &header)
    }

    /// With these headers before the ICMPv6 message.
    fn icmpv6(source: u8, headers: &[u8], kind: u8, flags: u8) -> Vec<u8> {
        let mut payload = vec![0; 40];
        payload[0] = 0x60;
        payload[5] = u8::try_from(headers.len() + 35).unwrap();
        payload[6] = if headers.is_empty() { ICMPV6 } else { 0 };
        payload[8 + 15] = source;
        payload.extend(headers);
        payload.extend([kind, 0, 0, 0, flags]);
        payload.resize(payload.len() + 30, 0);
        frame([0x33, 0x33, 0, 0, 0, 1], IPV6, &payload)
    }

    #[test]
    fn what_makes_an_address_known_is_unprompted() {
        let mine = [10, 0, 0, 1];
        let mut long_addresses = arp(EVERYBODY, 1, mine, [10, 0, 0, 2]);
        long_addresses[18] = 8;
        let hop_by_hop = [ICMPV6, 0, 5, 2, 0, 0, 1, 0];
        let mut lldp = frame([1, 0x80, 0xc2, 0, 0, 0xe], 0x88cc, &[0; 46]);
        for bytes in [
            arp(EVERYBODY, 1, mine, mine),
            arp(EVERYBODY, 2, mine, mine),
            arp(PEER, 2, mine, mine),
            arp(EVERYBODY, 1, [0; 4], mine),
            frame(EVERYBODY, RARP, &[0; 46]),
            frame(PEER, RARP, &[0; 46]),
            ipv4([1, 0, 0x5e, 0, 0, 22], IGMP),
            icmpv6(1, &[], NEIGHBOUR_ADVERTISEMENT, 0x20),
            icmpv6(1, &[], NEIGHBOUR_ADVERTISEMENT, 0x60),
            [&PEER, &icmpv6(1, &[], NEIGHBOUR_ADVERTISEMENT, 0x20)[6..]].concat(),
            icmpv6(0, &[], NEIGHBOUR_SOLICITATION, 0),
            icmpv6(1, &[], ROUTER_SOLICITATION, 0),
            icmpv6(1, &hop_by_hop, 143, 0),
            // The addresses are elsewhere.
            long_addresses,
            lldp.clone(),
            lldp.drain(..20).collect(),
            Vec::new(),
        ] {
            assert!(is_unprompted(&bytes[..]), "{bytes:02x?}");
            // Behind a tag as well.
            if bytes.len() > 12 {
                let tagged = [&bytes[..12], &[0x81, 0, 0, 100], &bytes[12..]].concat();
                assert!(is_unprompted(&tagged[..]), "{tagged:02x?}");
            }
        }
    }

    #[test]
    fn what_a_vm_asks_and_answers_is_its_own() {
        let (mine, other) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        for bytes in [
            arp(EVERYBODY, 1, mine, other),
            arp(PEER, 2, mine, other),
            ipv4(EVERYBODY, 17),
            ipv4(PEER, 6),
            icmpv6(1, &[], NEIGHBOUR_SOLICITATION, 0),
            icmpv6(1, &[], 128, 0),
            [&PEER, &icmpv6(1, &[], NEIGHBOUR_ADVERTISEMENT, 0x60)[6..]].concat(),
            frame(PEER, 0x88b5, &[0; 46]),
        ] {
            assert!(!is_unprompted(&bytes[..]), "{bytes:02x?}");
        }
    }

    #[test]
    fn silence_ends_with_a_frame_of_the_vm_or_when_the_agent_is_told() {
        for (own, told, over) in
            [(0, 0, false), (1, 0, true), (0, TOLD, true), (1, ANNOUNCED, true)]
        {
            assert_eq!(Silence { mac: 7, own, told }.is_over(), over, "{own} {told}");
        }
    }
}
