//! Permanent neighbours (`ip neighbour`): an operator or a daemon has set their MAC addresses.

use std::net::IpAddr;

use libc::{
    AF_BRIDGE, AF_INET, AF_INET6, NDA_VLAN, NTF_MASTER, NUD_REACHABLE, RTM_DELNEIGH, RTM_GETNEIGH,
    RTM_NEWNEIGH,
};

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};

use super::{Failure, Netlink, request::Request, route, wire};
use crate::names::Mac;

/// `struct ndmsg`
const HEADER_BYTES: usize = 12;
/// `NDA_DST`, `NDA_LLADDR`
pub(super) const DESTINATION: u16 = 1;
const MAC: u16 = 2;
/// `NUD_PERMANENT`
const PERMANENT: u16 = 0x80;
/// `NTF_PROXY`, `NTF_EXT_LEARNED`: entries of another kind, and those of a daemon.
const OTHERS: u8 = 0x08 | 0x10;

impl Netlink {
    /// Lets a bridge know that a station is behind a port.
    pub async fn learn(&self, port: u32, mac: Mac, vid: Option<u16>) -> Result<(), Failure> {
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.socket.request(learn(port, mac, vid), flags).await.map(drop)
    }
}

/// `ip neighbour show`, `ip -6 neighbour show`
pub(super) fn all() -> Request {
    // Of both families (AF_UNSPEC).
    Request::new(RTM_GETNEIGH, vec![0; HEADER_BYTES])
}

/// A permanent unicast neighbour: the index of the link, the IP and the MAC address.
pub(super) fn read(payload: &[u8]) -> Option<(u32, IpAddr, Mac)> {
    let family = i32::from(*payload.first()?);
    let (state, flags) = (wire::u16_at(payload, 8)?, *payload.get(10)?);
    let attributes = payload.get(HEADER_BYTES..)?;
    if ![AF_INET, AF_INET6].contains(&family) || state & PERMANENT == 0 || flags & OTHERS != 0 {
        return None;
    }
    let address = route::address(wire::find(attributes, DESTINATION)?)?;
    let mac = Mac(wire::find(attributes, MAC)?.try_into().ok()?);
    (!address.is_multicast()).then_some((wire::u32_at(payload, 4)?, address, mac))
}

/// The request to add a permanent neighbour, or to change its MAC address.
pub(super) fn add(index: u32, address: IpAddr, mac: Mac) -> Request {
    let mut payload = header(index, address);
    payload[8..10].copy_from_slice(&PERMANENT.to_ne_bytes());
    wire::push(&mut payload, DESTINATION, &wire::octets(address));
    wire::push(&mut payload, MAC, &mac.0);
    Request::new(RTM_NEWNEIGH, payload)
}

/// The request to remove a neighbour.
pub(super) fn remove(index: u32, address: IpAddr) -> Request {
    let mut payload = header(index, address);
    wire::push(&mut payload, DESTINATION, &wire::octets(address));
    Request::new(RTM_DELNEIGH, payload)
}

/// `bridge fdb replace MAC dev DEVICE master dynamic [vlan VID]`
pub(super) fn learn(index: u32, mac: Mac, vid: Option<u16>) -> Request {
    // A bridge ages it, as what it has learnt.
    let state = NUD_REACHABLE.to_ne_bytes();
    let mut payload = vec![u8::try_from(AF_BRIDGE).unwrap_or_default(), 0, 0, 0];
    payload.extend(index.to_ne_bytes());
    payload.extend([state[0], state[1], NTF_MASTER, 0]);
    wire::push(&mut payload, MAC, &mac.0);
    if let Some(vid) = vid {
        wire::push(&mut payload, NDA_VLAN, &vid.to_ne_bytes());
    }
    Request::new(RTM_NEWNEIGH, payload)
}

/// `struct ndmsg`: family, interface, state, flags, type.
pub(super) fn header(index: u32, neighbour: IpAddr) -> Vec<u8> {
    let mut payload = vec![family(neighbour), 0, 0, 0];
    payload.extend(index.to_ne_bytes());
    payload.extend([0; 4]);
    payload
}

pub(super) fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    u8::try_from(family).unwrap_or_default()
}
