//! Routes (`ip route`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::{
    AF_INET, AF_INET6, RT_SCOPE_LINK, RT_SCOPE_UNIVERSE, RT_TABLE_LOCAL, RTA_DST, RTA_EXPIRES,
    RTA_GATEWAY, RTA_MULTIPATH, RTA_OIF, RTA_PRIORITY, RTA_TABLE, RTA_VIA, RTN_UNICAST,
    RTPROT_KERNEL,
};

use super::{request::Request, wire};
use crate::{
    names::Cidr,
    state::{DHCP_PROTOCOL, MAIN_TABLE, PROTOCOL, Route},
};

/// `struct rtmsg`
pub(super) const HEADER_BYTES: usize = 12;
/// `struct rtnexthop`
const HOP_BYTES: usize = 8;
/// `struct rta_cacheinfo`: the offset of `rta_expires`, in ticks of USER_HZ.
const CACHEINFO_EXPIRES: usize = 8;
/// USER_HZ
const TICKS: u32 = 100;
/// `RTNH_F_ONLINK`: the only flag that a request may have and that is not a result.
const ONLINK: u32 = 4;

/// A route, with its device as an index.
pub(super) struct Entry {
    /// The devices; several of a multipath route.
    pub(super) devices: Vec<u32>,
    to: Cidr,
    via: Option<IpAddr>,
    table: u32,
    metric: u32,
    protocol: u8,
    message: Vec<u8>,
}

impl Entry {
    /// A unicast route that the kernel did not add for an address.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let [family, prefix, _, _, table, protocol, _scope, kind, ..] = *payload else {
            return None;
        };
        let attributes = payload.get(HEADER_BYTES..)?;
        let table = wire::find_u32(attributes, RTA_TABLE).unwrap_or_else(|| table.into());
        if kind != RTN_UNICAST || protocol == RTPROT_KERNEL || table == u32::from(RT_TABLE_LOCAL) {
            return None;
        }
        let unspecified = match i32::from(family) {
            AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => return None,
        };
        let to = wire::find(attributes, RTA_DST).map_or(Some(unspecified), address)?;
        let via = gateway(attributes);
        let metric = wire::find_u32(attributes, RTA_PRIORITY).unwrap_or_default();
        let to = Cidr { address: to, prefix };
        let (devices, message) = (devices(attributes), payload.to_vec());
        Some(Self { devices, to, via, table, metric, protocol, message })
    }

    /// Whether a notification of this route is worth another look: of the default routes, and of
    /// what the agent added. Others come and go with every pod and every routing daemon.
    pub(super) fn is_of_interest(&self) -> bool {
        [PROTOCOL, DHCP_PROTOCOL].contains(&self.protocol)
            || self.to.prefix == 0 && self.table == MAIN_TABLE
    }

    /// The route over the device of this name.
    pub(super) fn route(&self, device: &crate::names::IfName) -> Route {
        Route {
            device: device.clone(),
            to: self.to,
            via: self.via,
            table: self.table,
            metric: self.metric,
            protocol: self.protocol,
            source: None,
            message: self.message.clone(),
        }
    }
}

/// The gateway of a route.
pub(super) fn gateway(attributes: &[u8]) -> Option<IpAddr> {
    // struct rtvia: family, address. The gateway of an IPv4 route may be an IPv6 address.
    wire::find(attributes, RTA_GATEWAY)
        .or_else(|| wire::find(attributes, RTA_VIA)?.get(2..))
        .and_then(address)
}

pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        16 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))),
        _ => None,
    }
}

fn devices(attributes: &[u8]) -> Vec<u32> {
    let mut devices: Vec<u32> = wire::find_u32(attributes, RTA_OIF).into_iter().collect();
    // struct rtnexthop: length, flags, hops, interface; then attributes, and the next one.
    let mut hops = wire::find(attributes, RTA_MULTIPATH).unwrap_or_default();
    while let (Some(length), Some(index)) = (wire::u16_at(hops, 0), wire::u32_at(hops, 4)) {
        devices.push(index);
        let length = usize::from(length).max(HOP_BYTES).next_multiple_of(4);
        hops = hops.get(length..).unwrap_or_default();
    }
    devices
}

/// The request to add or remove a route over the device with this index: with everything that the
/// kernel said of the route, such as its preferred source and its MTU. rtnetlink's builder has only
/// the attributes that it knows.
pub(super) fn request(kind: u16, route: &Route, index: u32) -> Request {
    let (header, attributes) = route.message.split_at_checked(HEADER_BYTES).unwrap_or_default();
    let mut header = <[u8; HEADER_BYTES]>::try_from(header).unwrap_or_else(|_| new_header(route));
    let flags = wire::u32_at(&header, 8).unwrap_or_default() & ONLINK;
    header[8..].copy_from_slice(&flags.to_ne_bytes());
    let ours =
        [RTA_OIF, RTA_DST, RTA_GATEWAY, RTA_VIA, RTA_PRIORITY, RTA_TABLE, libc::RTA_CACHEINFO];
    let mut payload = header.to_vec();
    for other in wire::attributes(attributes) {
        if !ours.contains(&other.kind()) {
            wire::push(&mut payload, other.kind(), wire::value(other));
        }
    }
    let expires = wire::find(attributes, libc::RTA_CACHEINFO);
    let expires = expires.and_then(|info| wire::u32_at(info, CACHEINFO_EXPIRES)).unwrap_or(0);
    if expires > 0 && expires.cast_signed() > 0 && route.to.address.is_ipv6() {
        wire::push(&mut payload, RTA_EXPIRES, &(expires / TICKS).max(1).to_ne_bytes());
    }
    if let Some(source) = route.source.filter(|_| route.message.is_empty()) {
        wire::push(&mut payload, libc::RTA_PREFSRC, &wire::octets(source));
    }
    if route.to.prefix > 0 {
        wire::push(&mut payload, RTA_DST, &wire::octets(route.to.address));
    }
    match route.via {
        Some(IpAddr::V6(via)) if route.to.address.is_ipv4() => {
            let family = u16::try_from(AF_INET6).unwrap_or_default().to_ne_bytes();
            wire::push(&mut payload, RTA_VIA, &[&family[..], &via.octets()].concat());
        }
        Some(via) => wire::push(&mut payload, RTA_GATEWAY, &wire::octets(via)),
        None => {}
    }
    if route.metric > 0 {
        wire::push(&mut payload, RTA_PRIORITY, &route.metric.to_ne_bytes());
    }
    wire::push(&mut payload, RTA_TABLE, &route.table.to_ne_bytes());
    wire::push(&mut payload, RTA_OIF, &index.to_ne_bytes());
    Request::new(kind, payload)
}

/// The header of a route that the kernel has not told.
fn new_header(route: &Route) -> [u8; HEADER_BYTES] {
    let family = if route.to.address.is_ipv4() { AF_INET } else { AF_INET6 };
    // An IPv6 route has no scope.
    let scope = match route.via {
        None if route.to.address.is_ipv4() => RT_SCOPE_LINK,
        _ => RT_SCOPE_UNIVERSE,
    };
    let family = u8::try_from(family).unwrap_or_default();
    let mut header = [0; HEADER_BYTES];
    // family, destination, source, TOS, table, protocol, scope, type
    let known = [family, route.to.prefix, 0, 0, 0, route.protocol, scope, RTN_UNICAST];
    header[..known.len()].copy_from_slice(&known);
    header
}
