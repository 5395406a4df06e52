//! An ICMP echo request (RFC 792, RFC 4443 section 4.1), for addresses that are no neighbours.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};
use tokio::{net::UdpSocket, time::timeout};

use crate::checksum;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The types of a request and of its reply, in IPv4 and IPv6.
const ECHO4: (u8, u8) = (8, 0);
const ECHO6: (u8, u8) = (128, 129);
/// The length of an IPv4 header in words of 32 bits: the low bits of its first byte.
const IHL: u8 = 0x0f;

/// Whether an address answers an echo request.
pub async fn answers(address: IpAddr) -> io::Result<bool> {
    let (family, protocol, kinds) = match address {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, ECHO4),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, ECHO6),
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::RAW, flags, Some(protocol))?;
    // Sends and receives datagrams as a UDP socket does.
    let socket = UdpSocket::from_std(socket.into())?;
    // The socket hears every reply that the node gets: only one from the address counts.
    socket.connect(SocketAddr::new(address, 0)).await?;
    let id = std::process::id().to_be_bytes();
    let request = request(kinds.0, [id[2], id[3]], address.is_ipv4());
    socket.send(&request).await?;
    let mut buffer = [0; 256];
    let answered = async {
        while let Ok(length) = socket.recv(&mut buffer).await {
            if is_reply(&buffer[..length], kinds.1, request, address.is_ipv4()) {
                return true;
            }
        }
        // The network says that there is no way.
        false
    };
    Ok(timeout(PATIENCE, answered).await.unwrap_or(false))
}

/// Type, code, checksum, identifier, sequence number. The kernel computes the checksum of ICMPv6.
fn request(kind: u8, id: [u8; 2], is_ipv4: bool) -> [u8; 8] {
    let mut request = [kind, 0, 0, 0, id[0], id[1], 0, 1];
    if is_ipv4 {
        let checksum = checksum::internet(&request);
        request[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    request
}

/// An IPv4 raw socket gets the IP header as well.
fn is_reply(packet: &[u8], kind: u8, request: [u8; 8], is_ipv4: bool) -> bool {
    let skipped = match packet.first() {
        Some(first) if is_ipv4 => usize::from(first & IHL) * 4,
        _ => 0,
    };
    let Some(message) = packet.get(skipped..) else { return false };
    message.first() == Some(&kind) && message.get(4..8) == Some(&request[4..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_checksum_of_rfc_1071() {
        let request = request(8, [0x12, 0x34], true);
        let words =
            request.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
        assert_eq!(words.sum::<u32>(), 0xffff);
        let reply = [&[0x45; 20][..], &[0, 0, 0, 0, 0x12, 0x34, 0, 1]].concat();
        assert!(is_reply(&reply, 0, request, true));
        assert!(!is_reply(&reply[..24], 0, request, true), "cut short");
        let other = [&[0x45; 20][..], &[0, 0, 0, 0, 0x12, 0x35, 0, 1]].concat();
        assert!(!is_reply(&other, 0, request, true), "of another process");
    }
}
