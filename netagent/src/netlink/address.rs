//! Addresses of links (`ip address`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::{IFA_ADDRESS, IFA_F_PERMANENT, IFA_FLAGS, IFA_LOCAL, RT_SCOPE_UNIVERSE};
use rtnetlink::packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressMessage},
};

use super::wire;
use crate::names::Cidr;

/// `struct ifaddrmsg`
const HEADER_BYTES: usize = 8;

/// A message about an address of the link with this index. No broadcast address, as with `ip`.
pub(super) fn message(index: u32, Cidr { address, prefix }: Cidr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.index = index;
    message.header.prefix_len = prefix;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message
}

/// The index of a link and an address that it has; `None` unless that is of global scope and someone
/// gave it to the link. IPv6 addresses that expire come from router advertisements: who removes them
/// has them back with the next one.
pub(super) fn read(payload: &[u8]) -> Option<(u32, Cidr)> {
    let [family, prefix, flags, scope, ..] = *payload else { return None };
    let attributes = payload.get(HEADER_BYTES..)?;
    if scope != RT_SCOPE_UNIVERSE {
        return None;
    }
    // On a point-to-point link IFA_ADDRESS is the other end's.
    let address =
        wire::find(attributes, IFA_LOCAL).or_else(|| wire::find(attributes, IFA_ADDRESS))?;
    let address = match libc::c_int::from(family) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
        libc::AF_INET6 => {
            let flags = wire::find_u32(attributes, IFA_FLAGS).unwrap_or_else(|| flags.into());
            if flags & IFA_F_PERMANENT == 0 {
                return None;
            }
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?))
        }
        _ => return None,
    };
    Some((wire::u32_at(payload, 4)?, Cidr { address, prefix }))
}
