//! A DHCP server whose leases are shorter than those of any other server, and that fails as it is
//! told.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use super::serving::{Serving, Shared};
use crate::lab::Netns;

pub const DISCOVER: u8 = 1;
pub const REQUEST: u8 = 3;
pub const DECLINE: u8 = 4;
pub const RELEASE: u8 = 7;
const OFFER: u8 = 2;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// The address of the server, which is that of the router as well.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// What the server does.
#[derive(Clone)]
pub struct Behaviour {
    /// The address that it gives.
    pub address: Ipv4Addr,
    /// The time of a lease, T1 and T2, in seconds.
    pub times: [u32; 3],
    /// Whether it answers.
    pub answers: bool,
    /// Whether it answers what is sent to itself alone.
    pub answers_unicast: bool,
    /// Whether it refuses requests that no offer has preceded.
    pub refuses: bool,
    /// Options of offers and leases.
    pub options: Vec<(u8, Vec<u8>)>,
    /// Options in the fields `file` and `sname` (option 52).
    pub overload: [Vec<(u8, Vec<u8>)>; 2],
}

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub kind: u8,
    /// Whether it was sent to the server alone.
    pub unicast: bool,
    /// `ciaddr`
    pub own: Ipv4Addr,
    /// Option 50
    pub wanted: Option<Ipv4Addr>,
    /// Option 54
    pub server: Option<Ipv4Addr>,
}

pub type Server = Serving<Behaviour, Heard>;

impl Server {
    /// Starts a server on a link, which gets its address.
    pub fn start(netns: &Netns, link: &str, behaviour: Behaviour) -> Self {
        netns.sh(&format!("ip address add {SERVER}/24 dev {link}"));
        // Where an answer to everybody goes.
        netns.sh(&format!("ip route add 255.255.255.255 dev {link}"));
        let mut server = Self::new(behaviour);
        for (address, unicast) in [(SERVER, true), (Ipv4Addr::BROADCAST, false)] {
            let socket = netns.inside(|| UdpSocket::bind((address, 67)).unwrap());
            socket.set_broadcast(true).unwrap();
            server.spawn(socket, move |socket, shared| serve(socket, unicast, shared));
        }
        server
    }
}

fn serve(socket: &UdpSocket, unicast: bool, shared: &Shared<Behaviour, Heard>) {
    let mut buffer = [0; 2048];
    while let Some((message, _)) = shared.receive(socket, &mut buffer) {
        let Some(heard) = read(message, unicast) else { continue };
        let behaviour = shared.note(heard.clone());
        if !behaviour.answers || unicast && !behaviour.answers_unicast {
            continue;
        }
        let is_refused = heard.kind == REQUEST
            && (behaviour.refuses && heard.server.is_none()
                || heard.wanted.is_some_and(|wanted| wanted != behaviour.address)
                || heard.wanted.is_none() && heard.own != behaviour.address);
        let kind = match heard.kind {
            DISCOVER => OFFER,
            REQUEST if is_refused => NAK,
            REQUEST => ACK,
            _ => continue,
        };
        let to = if unicast && kind != NAK { heard.own } else { Ipv4Addr::BROADCAST };
        let answer = answer(message, kind, &behaviour);
        socket.send_to(&answer, SocketAddr::from((to, 68))).unwrap();
    }
}

fn option(message: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = message.get(240..)?;
    loop {
        match *rest {
            [0, ..] => rest = &rest[1..],
            [kind, length, ..] if kind != 255 => {
                let value = rest.get(2..2 + usize::from(length))?;
                if kind == wanted {
                    return Some(value);
                }
                rest = &rest[2 + usize::from(length)..];
            }
            _ => return None,
        }
    }
}

fn read(message: &[u8], unicast: bool) -> Option<Heard> {
    let address = |octets: &[u8]| Ipv4Addr::from(<[u8; 4]>::try_from(octets).unwrap());
    Some(Heard {
        kind: *option(message, 53)?.first()?,
        unicast,
        own: address(message.get(12..16)?),
        wanted: option(message, 50).map(address),
        server: option(message, 54).map(address),
    })
}

/// The answer to a message: its transaction and its client, and what the server gives.
fn answer(message: &[u8], kind: u8, behaviour: &Behaviour) -> Vec<u8> {
    let mut bytes = message[..240].to_vec();
    bytes[0] = 2;
    let mut options = vec![(53, vec![kind]), (54, SERVER.octets().to_vec())];
    if kind != NAK {
        bytes[16..20].copy_from_slice(&behaviour.address.octets());
        options.push((1, vec![255, 255, 255, 0]));
        let times = [51, 58, 59].into_iter().zip(behaviour.times);
        options.extend(times.map(|(kind, seconds)| (kind, seconds.to_be_bytes().to_vec())));
        options.extend(behaviour.options.clone());
        if behaviour.overload.iter().any(|options| !options.is_empty()) {
            options.push((52, vec![3]));
            for (place, options) in [108, 44].into_iter().zip(&behaviour.overload) {
                let options = written(options);
                bytes[place..place + options.len()].copy_from_slice(&options);
            }
        }
    }
    bytes.extend(written(&options));
    bytes
}

/// Options, and the end of them.
fn written(options: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let one = |(kind, value): &(u8, Vec<u8>)| {
        [&[*kind, u8::try_from(value.len()).unwrap()][..], value].concat()
    };
    options.iter().flat_map(one).chain([255]).collect()
}
