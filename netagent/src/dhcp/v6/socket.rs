//! The socket of the client: UDP port 546 on the link-local address of an interface.

use std::{
    fs, io,
    net::{Ipv6Addr, SocketAddrV6},
};

use anyhow::Result;
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt},
    thread::CapabilitySet,
};
use tokio::net::UdpSocket;

use crate::{dhcp::client::require, names::Family};

const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;
/// All_DHCP_Relay_Agents_and_Servers
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// More than the longest datagram without fragments. The rest of a longer one is lost, and the
/// message is malformed.
const BUFFER_BYTES: usize = 2048;

/// The kernel's list of addresses.
const ADDRESSES: &str = "/proc/self/net/if_inet6";
/// The scope of link-local addresses there.
const LINK_SCOPE: &str = "20";
/// IFA_F_TENTATIVE and IFA_F_DADFAILED: the address cannot be used.
const UNUSABLE: u32 = 0x48;

/// The socket.
pub struct Socket {
    socket: UdpSocket,
    servers: SocketAddrV6,
}

impl Socket {
    /// Opens the socket on the interface with this index. `None`: the interface has no link-local
    /// address that can be used yet.
    pub fn open(index: u32) -> io::Result<Option<Self>> {
        let Some(own) = link_local(&fs::read_to_string(ADDRESSES)?, index) else {
            return Ok(None);
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::INET6, SocketType::DGRAM, flags, None)?;
        // Another client of the node may listen on all interfaces.
        sockopt::set_socket_reuseaddr(&fd, true)?;
        // A link-local address binds the socket to the interface.
        bind(&fd, &SocketAddrV6::new(own, CLIENT_PORT, 0, index))?;
        let socket = UdpSocket::from_std(fd.into())?;
        Ok(Some(Self { socket, servers: SocketAddrV6::new(SERVERS, SERVER_PORT, 0, index) }))
    }

    /// The next datagram.
    pub async fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; BUFFER_BYTES];
        let length = self.socket.recv(&mut buffer).await?;
        Ok(buffer[..length].to_vec())
    }

    /// Sends a message to all servers on the link.
    pub async fn send(&self, message: &[u8]) -> io::Result<()> {
        self.socket.send_to(message, self.servers).await?;
        Ok(())
    }
}

/// The first link-local address of an interface that can be used. A line of the list has an
/// address, and the index, the prefix length, the scope and the flags in hexadecimal digits.
fn link_local(list: &str, index: u32) -> Option<Ipv6Addr> {
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    list.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        let is_of = hex(words.next()?)? == index;
        let is_local = words.nth(1)? == LINK_SCOPE;
        let is_usable = hex(words.next()?)? & UNUSABLE == 0;
        (is_of && is_local && is_usable).then_some(Ipv6Addr::from_bits(address))
    })
}

/// Refuses a process that cannot open the socket.
pub fn check_rights() -> Result<()> {
    require(Family::V6, &[("CAP_NET_BIND_SERVICE", CapabilitySet::NET_BIND_SERVICE)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_is_found_once_it_can_be_used() {
        let list = "fd000000000000000000000000000005 07 80 00 80 br\n\
                    fe800000000000000000000000000001 06 40 20 80 eth0\n\
                    fe800000000000000000000000000002 07 40 20 c0 br\n";
        let found = |list: &str| link_local(list, 7);
        assert_eq!(found(list), None, "tentative, or of another interface");
        assert_eq!(found(&list.replace("c0 br", "80 br")), Some("fe80::2".parse().unwrap()));
        assert_eq!(found("fe80"), None);
    }
}
