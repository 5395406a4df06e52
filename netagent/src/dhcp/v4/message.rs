//! DHCP messages (RFC 2131, 2132, 3442): what the client asks, and what servers answer.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Range,
};

use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress};

use super::lease::Lease;
use crate::names::{Cidr, Mac};

const MASK: u8 = 1;
const ROUTER: u8 = 3;
const MTU: u8 = 26;
const NTP: u8 = 42;
const LEASE_TIME: u8 = 51;
const OVERLOAD: u8 = 52;
const TYPE: u8 = 53;
const SERVER: u8 = 54;
const T1: u8 = 58;
const T2: u8 = 59;
const CLASSLESS: u8 = 121;

/// The fields of a message (RFC 2131 section 2), and where its options begin.
const SNAME: Range<usize> = 44..108;
const FILE: Range<usize> = 108..236;
const OPTIONS: usize = 240;

/// The options that the client asks for: 121 before 3, as RFC 3442 demands.
const WANTED: &[u8] = &[MASK, CLASSLESS, ROUTER, MTU, NTP, LEASE_TIME, T1, T2];
/// The longest time of a lease in seconds. An address without an end would be no lease.
const LONGEST: u32 = i32::MAX as u32;

/// What the client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The type of message.
    pub kind: Ask,
    /// The transaction.
    pub xid: u32,
    /// Seconds since the client began.
    pub seconds: u16,
    /// The address that the client has and can be reached at.
    pub own: Option<Ipv4Addr>,
    /// The address that the client wants.
    pub wanted: Option<Ipv4Addr>,
    /// The server that is meant.
    pub server: Option<Ipv4Addr>,
}

/// The types of messages that the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// DHCPDISCOVER
    Discover,
    /// DHCPREQUEST
    Request,
    /// DHCPDECLINE
    Decline,
    /// DHCPRELEASE
    Release,
}

/// The types of messages that a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// DHCPOFFER
    Offer,
    /// DHCPACK
    Ack,
    /// DHCPNAK
    Nak,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The type of message.
    pub kind: Answer,
    /// The transaction.
    pub xid: u32,
    /// The client.
    pub mac: Mac,
    /// The client's address.
    pub yours: Ipv4Addr,
    /// The server.
    pub server: Option<Ipv4Addr>,
    /// The subnet mask.
    mask: Option<Ipv4Addr>,
    /// The time of the lease in seconds.
    time: Option<u32>,
    t1: Option<u32>,
    t2: Option<u32>,
    routers: Vec<Ipv4Addr>,
    /// The classless routes, which replace the routers.
    classless: Option<Vec<(Cidr, Option<Ipv4Addr>)>>,
    mtu: Option<u16>,
    ntp: Vec<Ipv4Addr>,
}

impl Question {
    /// The message of the client with this MAC address. Without a client identifier: servers know a
    /// node by its MAC address, whichever DHCP client it had before.
    pub fn bytes(&self, mac: Mac) -> Vec<u8> {
        let asks = matches!(self.kind, Ask::Discover | Ask::Request);
        let message = DhcpRepr {
            message_type: match self.kind {
                Ask::Discover => DhcpMessageType::Discover,
                Ask::Request => DhcpMessageType::Request,
                Ask::Decline => DhcpMessageType::Decline,
                Ask::Release => DhcpMessageType::Release,
            },
            transaction_id: self.xid,
            secs: self.seconds,
            client_hardware_address: EthernetAddress(mac.0),
            client_ip: self.own.unwrap_or(Ipv4Addr::UNSPECIFIED),
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            requested_ip: self.wanted,
            client_identifier: None,
            server_identifier: self.server,
            parameter_request_list: asks.then_some(WANTED),
            dns_servers: None,
            max_size: asks.then_some(1400),
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        // Some servers drop a message that is shorter than BOOTP's (RFC 1542 section 2.1).
        let mut bytes = vec![0; message.buffer_len().max(300)];
        // The buffer has the length that the message asks for.
        let _fits = message.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..]));
        bytes
    }
}

impl Reply {
    /// Reads a message. `None`: it is malformed, or no answer of a server.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let packet = DhcpPacket::new_checked(bytes).ok()?;
        // The rest is in `repr`: opcode, magic number, hardware type.
        let repr = DhcpRepr::parse(&packet).ok()?;
        let kind = match repr.message_type {
            DhcpMessageType::Offer => Answer::Offer,
            DhcpMessageType::Ack => Answer::Ack,
            DhcpMessageType::Nak => Answer::Nak,
            _ => return None,
        };
        let overloaded = overloaded(bytes, &packet);
        // The parts of a long option are one (RFC 3396).
        let option = |kind: u8| -> Option<Vec<u8>> {
            let more = overloaded.iter().flat_map(DhcpPacket::options);
            let all = packet.options().chain(more);
            let mut parts = all.filter(|option| option.kind == kind).peekable();
            parts.peek()?;
            Some(parts.flat_map(|option| option.data.iter().copied()).collect())
        };
        let number = |kind: u8| option(kind)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        let all = |kind: u8| addresses(&option(kind).unwrap_or_default());
        let mtu = option(MTU).and_then(|value| value.first_chunk().copied());
        option(TYPE)?;
        Some(Self {
            kind,
            xid: repr.transaction_id,
            mac: Mac(repr.client_hardware_address.0),
            yours: repr.your_ip,
            server: all(SERVER).first().copied(),
            mask: all(MASK).first().copied(),
            time: number(LEASE_TIME),
            t1: number(T1),
            t2: number(T2),
            routers: all(ROUTER),
            classless: option(CLASSLESS).as_deref().and_then(classless),
            mtu: mtu.map(u16::from_be_bytes),
            ntp: all(NTP),
        })
    }

    /// An answer with a lease of 800 s in 10.0.0.0/24, T1 after 400 and T2 after 700.
    #[cfg(test)]
    pub fn for_tests(kind: Answer, xid: u32, mac: Mac, yours: Ipv4Addr, server: Ipv4Addr) -> Self {
        Self {
            kind,
            xid,
            mac,
            yours,
            server: Some(server),
            mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
            time: Some(800),
            t1: Some(400),
            t2: Some(700),
            routers: vec![],
            classless: None,
            mtu: None,
            ntp: vec![],
        }
    }

    /// The lease that begins at this second. `None`: it has no address, no time, or no server.
    pub fn lease(&self, begin: u64) -> Option<Lease> {
        let time = self.time.filter(|time| *time > 0)?.min(LONGEST);
        let usable = |address: &Ipv4Addr| {
            !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast()
        };
        let yours = Some(self.yours).filter(usable)?;
        let mask = self.mask.unwrap_or(Ipv4Addr::BROADCAST).to_bits();
        let prefix = u8::try_from(mask.leading_ones()).ok().filter(|prefix| *prefix > 0)?;
        let address = Cidr { address: IpAddr::V4(yours), prefix };
        let half = self.t1.filter(|t1| *t1 > 0 && *t1 < time).unwrap_or(time / 2);
        let late = u32::try_from(u64::from(time) * 7 / 8).unwrap_or(time);
        let late = self.t2.filter(|t2| *t2 > half && *t2 < time).unwrap_or(late).max(half);
        let after = |seconds: u32| begin + u64::from(seconds);
        Some(Lease {
            address,
            server: self.server?,
            renew: after(half),
            rebind: after(late),
            until: after(time),
            routes: self.routes(address),
            mtu: self.mtu,
            ntp: self.ntp.clone(),
            replaces: None,
        })
    }

    /// The routes; those to gateways outside of the subnet included.
    fn routes(&self, address: Cidr) -> Vec<(Cidr, Option<Ipv4Addr>)> {
        let everywhere = Cidr { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix: 0 };
        let by_router = || self.routers.first().map(|router| (everywhere, Some(*router)));
        // The client ignores the routers where there are classless routes (RFC 3442).
        let mut routes = match &self.classless {
            Some(classless) => classless.clone(),
            None => by_router().into_iter().collect(),
        };
        let on_link: Vec<Cidr> =
            routes.iter().filter(|(_, via)| via.is_none()).map(|(to, _)| *to).collect();
        let is_near = |via: &Ipv4Addr| {
            let via = IpAddr::V4(*via);
            address.contains(via) || on_link.iter().any(|to| to.contains(via))
        };
        let mut far: Vec<Ipv4Addr> = routes.iter().filter_map(|(_, via)| *via).collect();
        far.retain(|via| !is_near(via));
        far.dedup();
        let near = far.into_iter().map(|via| (Cidr { address: via.into(), prefix: 32 }, None));
        routes.extend(near.collect::<Vec<_>>());
        routes
    }
}

/// The fields `file` and `sname`, in this order (RFC 3396 section 5), if option 52 says that they
/// have options (RFC 2132 section 9.3): each in a packet of its own.
fn overloaded(bytes: &[u8], packet: &DhcpPacket<&[u8]>) -> Vec<DhcpPacket<Vec<u8>>> {
    let which = packet.options().find(|option| option.kind == OVERLOAD);
    let which = which.and_then(|option| option.data.first().copied()).unwrap_or_default();
    let fields = [(1, FILE), (2, SNAME)].into_iter().filter(|(bit, _)| which & bit != 0);
    let packets = fields.filter_map(|(_, field)| {
        let header = bytes.get(..OPTIONS)?;
        DhcpPacket::new_checked([header, bytes.get(field)?].concat()).ok()
    });
    packets.collect()
}

fn addresses(bytes: &[u8]) -> Vec<Ipv4Addr> {
    let (chunks, _rest) = bytes.as_chunks::<4>();
    chunks.iter().map(|octets| Ipv4Addr::from(*octets)).collect()
}

/// Option 121: a prefix length, the significant octets of the destination, and the gateway.
fn classless(mut bytes: &[u8]) -> Option<Vec<(Cidr, Option<Ipv4Addr>)>> {
    let mut routes = Vec::new();
    while let Some((prefix, rest)) = bytes.split_first() {
        let prefix = Some(*prefix).filter(|prefix| *prefix <= 32)?;
        let (significant, rest) = rest.split_at_checked(usize::from(prefix.div_ceil(8)))?;
        let (gateway, rest) = rest.split_first_chunk::<4>()?;
        let mut octets = [0; 4];
        octets[..significant.len()].copy_from_slice(significant);
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let to = Ipv4Addr::from_bits(u32::from_be_bytes(octets) & mask);
        let via = Some(Ipv4Addr::from(*gateway)).filter(|via| !via.is_unspecified());
        let to = Cidr { address: to.into(), prefix };
        if routes.iter().all(|(other, _)| *other != to) {
            routes.push((to, via));
        }
        bytes = rest;
    }
    Some(routes)
}

#[cfg(test)]
mod tests;
