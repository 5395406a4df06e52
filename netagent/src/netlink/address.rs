//! Addresses of links (`ip address`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::{
    AF_INET, AF_INET6, IFA_ADDRESS, IFA_CACHEINFO, IFA_F_DADFAILED, IFA_F_NODAD, IFA_F_PERMANENT,
    IFA_F_SECONDARY, IFA_F_TENTATIVE, IFA_FLAGS, IFA_LABEL, IFA_LOCAL, RT_SCOPE_HOST,
    RT_SCOPE_UNIVERSE,
};

use super::{request::Request, wire};
use crate::{
    clock::boot_seconds,
    names::{Cidr, IfName},
    state::{Address, Lifetime, PROTOCOL},
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
    let address = own(family, attributes)?;
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

/// The index of a link and one of its addresses, of link scope too, if the node uses it: it is not
/// being checked for duplicates, and is none.
pub(super) fn in_use(payload: &[u8]) -> Option<(u32, IpAddr)> {
    let [family, _, flags, scope, ..] = *payload else { return None };
    let attributes = payload.get(HEADER_BYTES..)?;
    let flags = wire::find_u32(attributes, IFA_FLAGS).unwrap_or_else(|| flags.into());
    if scope >= RT_SCOPE_HOST || flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) != 0 {
        return None;
    }
    Some((wire::u32_at(payload, 4)?, own(family, attributes)?))
}

/// On a point-to-point link IFA_ADDRESS is the address of the other end.
fn own(family: u8, attributes: &[u8]) -> Option<IpAddr> {
    let address =
        wire::find(attributes, IFA_LOCAL).or_else(|| wire::find(attributes, IFA_ADDRESS))?;
    match libc::c_int::from(family) {
        AF_INET => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?))),
        AF_INET6 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?))),
        _ => None,
    }
}

/// The index of a link and its IPv6 address, from the notification that the address is removed, if
/// that is because another station has it (RFC 4862 section 5.4.5).
pub(super) fn duplicate(payload: &[u8]) -> Option<(u32, Ipv6Addr)> {
    let attributes = payload.get(HEADER_BYTES..)?;
    let flags = wire::find_u32(attributes, IFA_FLAGS)?;
    if payload.first().copied().map(libc::c_int::from) != Some(AF_INET6)
        || flags & IFA_F_DADFAILED == 0
    {
        return None;
    }
    let octets = <[u8; 16]>::try_from(wire::find(attributes, IFA_ADDRESS)?).ok()?;
    Some((wire::u32_at(payload, 4)?, Ipv6Addr::from(octets)))
}

/// The request to add an address that the agent owns. rtnetlink's builder lacks `IFA_PROTO`.
///
/// Without duplicate address detection (RFC 4862 section 5.4): it keeps an address from use for a
/// second, and the file says whose address it is.
pub(super) fn owned(index: u32, cidr: Cidr) -> Request {
    request(index, cidr, IFA_F_NODAD)
}

fn request(index: u32, Cidr { address, prefix }: Cidr, flags: u32) -> Request {
    let mut payload = header(index, address, prefix);
    wire::push(&mut payload, IFA_LOCAL, &wire::octets(address));
    wire::push(&mut payload, IFA_ADDRESS, &wire::octets(address));
    wire::push(&mut payload, IFA_FLAGS, &flags.to_ne_bytes());
    wire::push(&mut payload, IFA_PROTO, &[PROTOCOL]);
    Request::new(libc::RTM_NEWADDR, payload)
}

/// The request to add an address of a lease, or to change its lifetime: the kernel removes it by
/// itself at the end. It looks for other stations that have an IPv6 address; the DHCPv4 client does
/// so itself.
pub(super) fn leased(index: u32, cidr: Cidr, lifetime: Lifetime) -> Request {
    let now = boot_seconds();
    let left = |end: u64| u32::try_from(end.saturating_sub(now)).unwrap_or(u32::MAX - 1);
    let flags = if cidr.address.is_ipv4() { IFA_F_NODAD } else { 0 };
    let mut request = request(index, cidr, flags);
    // An end that has passed cannot be said to the kernel.
    let valid = left(lifetime.until).max(1);
    push_lifetime(&mut request, left(lifetime.preferred).min(valid), valid);
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

/// The request to add the address of this message, with all its attributes, to another link.
pub(super) fn copy(payload: &[u8], index: u32, from: &IfName, to: &IfName) -> Request {
    let mut request = again(payload, index, &[IFA_LABEL, IFA_FLAGS]);
    let attributes = payload.get(HEADER_BYTES..).unwrap_or_default();
    if let Some(label) = wire::find(attributes, IFA_LABEL).and_then(|it| label(it, from, to)) {
        wire::push(&mut request.payload, IFA_LABEL, &label);
    }
    request
}

/// The label of an IPv4 address on another link: `eth0:1` becomes `mgmt-br:1`. The kernel labels
/// others with the name of their link.
fn label(label: &[u8], from: &IfName, to: &IfName) -> Option<Vec<u8>> {
    let label = std::str::from_utf8(label).ok()?.trim_end_matches('\0');
    let rest = label.strip_prefix(from.as_str())?.strip_prefix(':')?;
    let label = format!("{to}:{rest}\0");
    (label.len() <= libc::IFNAMSIZ).then(|| label.into_bytes())
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
    Request::new(libc::RTM_NEWADDR, header)
}

fn header(index: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    let family = u8::try_from(family).unwrap_or_default();
    // family, prefix length, flags, scope, index
    [&[family, prefix, 0, RT_SCOPE_UNIVERSE][..], &index.to_ne_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_follows_its_link() {
        let [eth0, bridge, long] =
            ["eth0", "mgmt-br", "br-corp-net"].map(|name| name.parse::<IfName>().unwrap());
        let moved = |text: &[u8], to| label(text, &eth0, to);
        assert_eq!(moved(b"eth0:vip\0", &bridge), Some(b"mgmt-br:vip\0".to_vec()));
        assert_eq!(moved(b"eth0\0", &bridge), None);
        assert_eq!(moved(b"eth01:1\0", &bridge), None);
        assert_eq!(moved(b"eth0:vip\0", &long), Some(b"br-corp-net:vip\0".to_vec()));
        assert_eq!(moved(b"eth0:vip9\0", &long), None, "too long for the kernel");
    }
}
