//! A DHCPv6 server whose leases are shorter than those of any other server, and that fails as it is
//! told.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use super::serving::{Serving, Shared};
use crate::lab::Netns;

pub const SOLICIT: u8 = 1;
pub const REQUEST: u8 = 3;
pub const CONFIRM: u8 = 4;
pub const RENEW: u8 = 5;
pub const REBIND: u8 = 6;
pub const RELEASE: u8 = 8;
pub const DECLINE: u8 = 9;
const ADVERTISE: u8 = 2;
const REPLY: u8 = 7;
/// Status codes.
pub const NO_BINDING: u16 = 3;
pub const NOT_ON_LINK: u16 = 4;

/// The DUID of the server.
const SERVER: [u8; 10] = [0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
/// All_DHCP_Relay_Agents_and_Servers
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// What the server does.
#[derive(Clone)]
pub struct Behaviour {
    /// The address that it gives.
    pub address: Ipv6Addr,
    /// T1, T2, the preferred and the valid lifetime, in seconds.
    pub times: [u32; 4],
    /// The messages that it answers.
    pub answers: fn(u8) -> bool,
    /// The status of an address that is to be renewed, and of the Reply to Confirm.
    pub renewal: u16,
    pub confirmation: u16,
    /// What it sends before each answer, to the answer itself: hostile messages.
    pub before: fn(&[u8]) -> Vec<Vec<u8>>,
}

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub kind: u8,
    /// The DUID of the client.
    pub client: Vec<u8>,
    /// Whether it is for this server alone.
    pub to_server: bool,
    /// The address in IA_NA.
    pub address: Option<Ipv6Addr>,
    /// The codes of all options.
    pub options: Vec<u16>,
}

pub type Server = Serving<Behaviour, Heard>;

impl Server {
    /// Starts a server on a link.
    pub fn start(netns: &Netns, link: &str, behaviour: Behaviour) -> Self {
        let index = netns.ifindex(link);
        let socket = netns.inside(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 547)).unwrap());
        socket.join_multicast_v6(&SERVERS, index).unwrap();
        let mut server = Self::new(behaviour);
        server.spawn(socket, serve);
        server
    }
}

fn serve(socket: &UdpSocket, shared: &Shared<Behaviour, Heard>) {
    let mut buffer = [0; 2048];
    while let Some((message, client)) = shared.receive(socket, &mut buffer) {
        let heard = read(message);
        let behaviour = shared.note(heard.clone());
        if !(behaviour.answers)(heard.kind) {
            continue;
        }
        let answer = answer(message, &heard, &behaviour);
        for message in (behaviour.before)(&answer).iter().chain([&answer]) {
            send(socket, message, client);
        }
    }
}

fn send(socket: &UdpSocket, message: &[u8], client: SocketAddr) {
    socket.send_to(message, client).unwrap();
}

/// The options of a message or of another option.
pub fn options(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut options = vec![];
    while let [code, code2, length, length2, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*length, *length2]));
        options.push((u16::from_be_bytes([*code, *code2]), &rest[..length]));
        bytes = &rest[length..];
    }
    options
}

fn option(code: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [&code.to_be_bytes()[..], &length.to_be_bytes(), data].concat()
}

fn read(message: &[u8]) -> Heard {
    let all = options(&message[4..]);
    let one = |code: u16| all.iter().find(|(other, _)| *other == code).map(|(_, data)| *data);
    let address = one(3).and_then(|association| {
        let (_, data) = *options(&association[12..]).first()?;
        Some(Ipv6Addr::from(<[u8; 16]>::try_from(&data[..16]).unwrap()))
    });
    Heard {
        kind: message[0],
        client: one(1).unwrap().to_vec(),
        to_server: one(2) == Some(&SERVER),
        address,
        options: all.iter().map(|(code, _)| *code).collect(),
    }
}

/// The answer to a message: its transaction, its client and its interface, and what the server
/// gives.
fn answer(message: &[u8], heard: &Heard, behaviour: &Behaviour) -> Vec<u8> {
    let kind = if heard.kind == SOLICIT { ADVERTISE } else { REPLY };
    let mut bytes = [&[kind][..], &message[1..4]].concat();
    bytes.extend(option(1, &heard.client));
    bytes.extend(option(2, &SERVER));
    let status = |code: u16| option(13, &code.to_be_bytes());
    match heard.kind {
        CONFIRM => bytes.extend(status(behaviour.confirmation)),
        SOLICIT | REQUEST | RENEW | REBIND => {
            let all = options(&message[4..]);
            let (_, asked) = all.iter().find(|(code, _)| *code == 3).unwrap();
            let [t1, t2, preferred, valid] = behaviour.times.map(u32::to_be_bytes);
            let mut association = [&asked[..4], &t1, &t2].concat();
            if matches!(heard.kind, RENEW | REBIND) && behaviour.renewal != 0 {
                association.extend(status(behaviour.renewal));
            } else {
                let data = [&behaviour.address.octets()[..], &preferred, &valid].concat();
                association.extend(option(5, &data));
            }
            bytes.extend(option(3, &association));
        }
        _ => bytes.extend(status(0)),
    }
    bytes
}
