//! Addresses of links (`ip address`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::{
    AF_INET, AF_INET6, IFA_ADDRESS, IFA_CACHEINFO, IFA_F_NODAD, IFA_F_PERMANENT, IFA_F_SECONDARY,
    IFA_FLAGS, IFA_LABEL, IFA_LOCAL, RT_SCOPE_UNIVERSE,
};

use super::{request::Request, wire};
use crate::{
    clock::boot_seconds,
    names::Cidr,
    state::{Address, PROTOCOL},
};

/// `struct ifaddrmsg`
const HEADER_BYTES: usize = 8;
/// `IFA_PROTO` (include/uapi/linux/if_addr.h, 5.18), which libc lacks.
const IFA_PROTO: u16 = 11;
/// `IFA_F_NOPREFIXROUTE`, the flags that a request may have besides `IFA_F_NODAD`: the others are
/// results.
const REQUESTED: u32 = libc::IFA_F_NOPREFIXROUTE | libc::IFA_F_MANAGETEMPADDR;

/// The index of a link and one of its addresses. `None` for an address that is not of global scope.
pub(super) fn read(payload: &[u8]) -> Option<(u32, Cidr, Address)> {
    let [family, prefix, flags, scope, ..] = *payload else { return None };
    let attributes = payload.get(HEADER_BYTES..)?;
    if scope != RT_SCOPE_UNIVERSE {
        return None;
    }
    // On a point-to-point link IFA_ADDRESS is the address of the other end.
    let address =
        wire::find(attributes, IFA_LOCAL).or_else(|| wire::find(attributes, IFA_ADDRESS))?;
    let address = match libc::c_int::from(family) {
        AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
        _ => return None,
    };
    let flags = wire::find_u32(attributes, IFA_FLAGS).unwrap_or_else(|| flags.into());
    let protocol = wire::find(attributes, IFA_PROTO).and_then(|value| value.first());
    let known = Address {
        owned: protocol == Some(&PROTOCOL),
        until: until(attributes, flags),
        secondary: i32::from(family) == AF_INET && flags & IFA_F_SECONDARY != 0,
        message: payload.to_vec(),
    };
    Some((wire::u32_at(payload, 4)?, Cidr { address, prefix }, known))
}

/// The request to add an address that the agent owns. rtnetlink's builder lacks `IFA_PROTO`.
///
/// Without duplicate address detection (RFC 4862 section 5.4): it keeps an address from use for a
/// second, and the file says whose address it is.
pub(super) fn owned(index: u32, Cidr { address, prefix }: Cidr) -> Request {
    let mut payload = header(index, address, prefix);
    wire::push(&mut payload, IFA_LOCAL, &wire::octets(address));
    wire::push(&mut payload, IFA_ADDRESS, &wire::octets(address));
    wire::push(&mut payload, IFA_FLAGS, &IFA_F_NODAD.to_ne_bytes());
    wire::push(&mut payload, IFA_PROTO, &[PROTOCOL]);
    Request { kind: libc::RTM_NEWADDR, payload }
}

/// The request to add an address of a lease, or to change its lifetime in seconds: the kernel
/// removes it by itself at the end.
pub(super) fn leased(index: u32, cidr: Cidr, seconds: u32) -> Request {
    let mut request = owned(index, cidr);
    push_lifetime(&mut request, seconds, seconds);
    request
}

/// When an address expires, in seconds since the boot.
fn until(attributes: &[u8], flags: u32) -> Option<u64> {
    if flags & IFA_F_PERMANENT != 0 {
        return None;
    }
    let valid = wire::u32_at(wire::find(attributes, IFA_CACHEINFO)?, 4)?;
    Some(boot_seconds() + u64::from(valid))
}

/// The request to add the address of this message, with all its attributes, to another link. An
/// IPv4 label is the name of the old link.
pub(super) fn copy(payload: &[u8], index: u32) -> Request {
    again(payload, index, &[IFA_LABEL, IFA_FLAGS])
}

/// The request to add an address again, with all its attributes, to its link; `now` in seconds
/// since the boot. `None` if it has expired.
///
/// Without duplicate address detection: it was in use.
pub(super) fn restore(known: &Address, index: u32, now: u64) -> Option<Request> {
    let Some(until) = known.until else { return Some(again(&known.message, index, &[IFA_FLAGS])) };
    let left = u32::try_from(until.checked_sub(now).filter(|left| *left > 0)?).ok()?;
    let attributes = known.message.get(HEADER_BYTES..).unwrap_or_default();
    let lifetime = |offset| wire::u32_at(wire::find(attributes, IFA_CACHEINFO)?, offset);
    let (preferred, valid) = (lifetime(0).unwrap_or(left), lifetime(4).unwrap_or(left));
    let preferred = preferred.saturating_sub(valid.saturating_sub(left)).min(left);
    let mut request = again(&known.message, index, &[IFA_FLAGS, IFA_CACHEINFO]);
    push_lifetime(&mut request, preferred, left);
    Some(request)
}

/// struct ifa_cacheinfo: preferred, valid, created, updated
fn push_lifetime(request: &mut Request, preferred: u32, valid: u32) {
    let info = [preferred, valid, 0, 0].map(u32::to_ne_bytes).concat();
    wire::push(&mut request.payload, IFA_CACHEINFO, &info);
}

fn again(payload: &[u8], index: u32, without: &[u16]) -> Request {
    let (old, attributes) = payload.split_at_checked(HEADER_BYTES).unwrap_or_default();
    let mut header = old.to_vec();
    header.truncate(4);
    header.extend(index.to_ne_bytes());
    let flags = wire::find_u32(attributes, IFA_FLAGS).unwrap_or_default();
    for attribute in wire::attributes(attributes) {
        if !without.contains(&attribute.kind()) {
            wire::push(&mut header, attribute.kind(), wire::value(attribute));
        }
    }
    wire::push(&mut header, IFA_FLAGS, &(flags & REQUESTED | IFA_F_NODAD).to_ne_bytes());
    Request { kind: libc::RTM_NEWADDR, payload: header }
}

fn header(index: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    let family = u8::try_from(family).unwrap_or_default();
    // family, prefix length, flags, scope, index
    [&[family, prefix, 0, RT_SCOPE_UNIVERSE][..], &index.to_ne_bytes()].concat()
}
