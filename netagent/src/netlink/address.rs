//! Addresses of links (`ip address`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::{IFA_ADDRESS, IFA_F_PERMANENT, IFA_FLAGS, IFA_LOCAL, RT_SCOPE_UNIVERSE};

use super::wire;
use crate::names::Cidr;

/// `struct ifaddrmsg`
const HEADER_BYTES: usize = 8;

/// The index of a link and one of its addresses. `None` for an address that is not of global scope,
/// and for an IPv6 address that expires: it comes from router advertisements, and the next one
/// would restore it.
pub(super) fn read(payload: &[u8]) -> Option<(u32, Cidr)> {
    let [family, prefix, flags, scope, ..] = *payload else { return None };
    let attributes = payload.get(HEADER_BYTES..)?;
    if scope != RT_SCOPE_UNIVERSE {
        return None;
    }
    // On a point-to-point link IFA_ADDRESS is the address of the other end.
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
