//! Frames with DHCP messages and ARP packets.

use std::net::Ipv4Addr;

use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
        EthernetRepr, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
    },
};

use crate::names::Mac;

/// The port of a DHCP server.
pub const SERVER_PORT: u16 = 67;
/// The port of a DHCP client.
pub const CLIENT_PORT: u16 = 68;

/// A received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A DHCP message.
    Dhcp(Vec<u8>),
    /// An ARP packet: the sender.
    Arp(Mac, Ipv4Addr),
}

/// A broadcast frame with a DHCP message, from nowhere to everybody.
pub fn broadcast(mac: Mac, message: &[u8]) -> Vec<u8> {
    let udp = UdpRepr { src_port: CLIENT_PORT, dst_port: SERVER_PORT };
    let (from, to) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + message.len(),
        hop_limit: 64,
    };
    let length = EthernetFrame::<&[u8]>::header_len() + ip.buffer_len() + ip.payload_len;
    let mut bytes = vec![0; length];
    let checksums = ChecksumCapabilities::default();
    let mut frame = ethernet(&mut bytes, mac, EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
    let fill = |payload: &mut [u8]| payload.copy_from_slice(message);
    udp.emit(&mut datagram, &from.into(), &to.into(), message.len(), fill, &checksums);
    bytes
}

/// A broadcast frame that asks who has an address (RFC 5227 section 2.1.1).
pub fn probe(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(mac.0),
        source_protocol_addr: Ipv4Addr::UNSPECIFIED,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: address,
    };
    let mut bytes = vec![0; EthernetFrame::<&[u8]>::header_len() + arp.buffer_len()];
    let mut frame = ethernet(&mut bytes, mac, EthernetProtocol::Arp);
    arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    bytes
}

fn ethernet(bytes: &mut [u8], mac: Mac, ethertype: EthernetProtocol) -> EthernetFrame<&mut [u8]> {
    let mut frame = EthernetFrame::new_unchecked(bytes);
    let (src_addr, dst_addr) = (EthernetAddress(mac.0), EthernetAddress::BROADCAST);
    EthernetRepr { src_addr, dst_addr, ethertype }.emit(&mut frame);
    frame
}

/// Reads a frame; `None`: it is of no interest, or malformed.
///
/// Checksums are not checked: between two ends on one node, the kernel leaves them open.
pub fn read(bytes: &[u8]) -> Option<Frame> {
    let frame = EthernetFrame::new_checked(bytes).ok()?;
    match frame.ethertype() {
        EthernetProtocol::Arp => {
            let arp = ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).ok()?).ok()?;
            let ArpRepr::EthernetIpv4 { source_hardware_addr, source_protocol_addr, .. } = arp
            else {
                return None;
            };
            Some(Frame::Arp(Mac(source_hardware_addr.0), source_protocol_addr))
        }
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            let is_whole = !packet.more_frags() && packet.frag_offset() == 0;
            if packet.next_header() != IpProtocol::Udp || !is_whole {
                return None;
            }
            let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
            let is_for_client =
                datagram.dst_port() == CLIENT_PORT && datagram.src_port() == SERVER_PORT;
            is_for_client.then(|| Frame::Dhcp(datagram.payload().to_vec()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

    #[test]
    fn a_message_is_in_a_frame_whose_checksums_are_right() {
        let bytes = broadcast(MAC, b"message");
        let frame = EthernetFrame::new_checked(&bytes[..]).unwrap();
        assert_eq!(frame.dst_addr(), EthernetAddress::BROADCAST);
        let packet = Ipv4Packet::new_checked(frame.payload()).unwrap();
        let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
        let datagram = UdpPacket::new_checked(packet.payload()).unwrap();
        assert!(packet.verify_checksum() && datagram.verify_checksum(&from, &to));
        assert_eq!((datagram.src_port(), datagram.dst_port()), (68, 67));
        assert_eq!(datagram.payload(), b"message");
    }

    #[test]
    fn only_answers_and_arp_are_read() {
        let mut answer = broadcast(MAC, b"message");
        assert_eq!(read(&answer), None, "from a client");
        answer[34..38].copy_from_slice(&[0, 67, 0, 68]);
        assert_eq!(read(&answer), Some(Frame::Dhcp(b"message".to_vec())));
        let mut other = answer.clone();
        other[37] = 69;
        assert_eq!(read(&other), None, "to another port");
        for length in 0..answer.len() {
            assert_eq!(read(&answer[..length]), None, "{length}");
        }
        // Another fragment follows.
        answer[20] |= 0x20;
        assert_eq!(read(&answer), None);
        let probe = probe(MAC, Ipv4Addr::new(10, 0, 0, 5));
        assert_eq!(read(&probe), Some(Frame::Arp(MAC, Ipv4Addr::UNSPECIFIED)));
    }
}
