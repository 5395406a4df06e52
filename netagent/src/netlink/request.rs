//! Requests to the kernel, and the messages that rtnetlink's builders cannot express: each function
//! says why.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rtnetlink::{
    AddressMessageBuilder,
    packet_core::NetlinkSerializable as _,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        address::{AddressAttribute, AddressMessage},
        neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage},
        route::RouteMessage,
        tc::{TcHandle, TcMessage},
    },
};

use super::wire;
use crate::names::Cidr;

/// `RTM_..VLAN` (include/uapi/linux/rtnetlink.h), which libc lacks.
pub(super) const RTM_NEWVLAN: u16 = 112;
pub(super) const RTM_DELVLAN: u16 = 113;
const RTM_GETVLAN: u16 = 114;

/// A message to the kernel, without the netlink header.
pub(super) struct Request {
    pub(super) kind: u16,
    /// Whether the kind is a family of generic netlink, rather than a message of rtnetlink.
    pub(super) is_generic: bool,
    /// The bytes after the netlink header.
    pub(super) payload: Vec<u8>,
}

impl Request {
    /// A message of rtnetlink.
    pub(super) const fn new(kind: u16, payload: Vec<u8>) -> Self {
        Self { kind, is_generic: false, payload }
    }
}

impl From<RouteNetlinkMessage> for Request {
    fn from(message: RouteNetlinkMessage) -> Self {
        let mut payload = vec![0; message.buffer_len()];
        message.serialize(&mut payload);
        Self::new(message.message_type(), payload)
    }
}

/// For the log: the message type, and the interface index where the message has one.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_generic {
            let command = self.payload.first().copied().unwrap_or_default();
            return write!(f, "generic netlink family {} command {command}", self.kind);
        }
        let name = match self.kind {
            libc::RTM_NEWLINK => "RTM_NEWLINK",
            libc::RTM_DELLINK => "RTM_DELLINK",
            libc::RTM_GETLINK => "RTM_GETLINK",
            libc::RTM_SETLINK => "RTM_SETLINK",
            libc::RTM_NEWADDR => "RTM_NEWADDR",
            libc::RTM_DELADDR => "RTM_DELADDR",
            libc::RTM_GETADDR => "RTM_GETADDR",
            libc::RTM_GETROUTE => return f.write_str("RTM_GETROUTE"),
            libc::RTM_NEWROUTE => return f.write_str("RTM_NEWROUTE"),
            libc::RTM_DELROUTE => return f.write_str("RTM_DELROUTE"),
            libc::RTM_GETTFILTER => "RTM_GETTFILTER",
            RTM_GETVLAN => "RTM_GETVLAN",
            kind => return write!(f, "message type {kind}"),
        };
        // All these headers have the index at this offset.
        match wire::u32_at(&self.payload, 4) {
            None | Some(0) => f.write_str(name),
            Some(index) => write!(f, "{name} index {index}"),
        }
    }
}

/// The addresses of one link, or with index 0 of all links. The builder has no message without an
/// address family.
pub(super) fn addresses(index: u32) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    RouteNetlinkMessage::GetAddress(message)
}

/// An address of a link. For IPv4 the builder adds a broadcast address, which `ip` does not.
pub(super) fn address(index: u32, Cidr { address, prefix }: Cidr) -> AddressMessage {
    let mut message = match address {
        IpAddr::V4(address) => {
            AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, prefix).build()
        }
        IpAddr::V6(address) => {
            AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(address, prefix).build()
        }
    };
    message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
    message
}

/// `ip neigh replace NEIGHBOUR dev DEV use`: the kernel asks for the neighbour's MAC address, as if
/// a packet for it were to be sent.
pub(super) fn resolve(index: u32, neighbour: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family =
        if neighbour.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.ifindex = index;
    message.header.flags = NeighbourFlags::Use;
    message.attributes.push(NeighbourAttribute::Destination(neighbour.into()));
    message
}

/// The routes of all tables. The builder sets a protocol and a scope, which are filters here.
pub(super) fn routes(family: AddressFamily) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    RouteNetlinkMessage::GetRoute(message)
}

/// The TC filters of a link below a parent. There is no builder.
pub(super) fn filters(index: u32, parent: u32) -> RouteNetlinkMessage {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.parent = TcHandle::from(parent);
    RouteNetlinkMessage::GetTrafficFilter(message)
}

/// `BRIDGE_VLANDB_DUMP_FLAGS`
const VLANDB_DUMP_FLAGS: u16 = 1;
/// `BRIDGE_VLANDB_DUMPF_STATS`
const VLANDB_DUMPF_STATS: u32 = 1;

/// The VLANs of a bridge port, or of a bridge itself. rtnetlink lacks `RTM_GETVLAN`.
///
/// With counters, as then each VLAN has an entry of its own. Otherwise a kernel leaves out VLANs
/// that follow a PVID whose flags are theirs: it puts them into one range, and omits the end of a
/// range with a PVID (`br_vlan_fill_vids`; seen on 6.1).
pub(super) fn vlans(index: u32) -> Request {
    let mut request = vlan_ranges(index);
    wire::push(&mut request.payload, VLANDB_DUMP_FLAGS, &VLANDB_DUMPF_STATS.to_ne_bytes());
    request
}

/// [`vlans`], of all links with index 0, in ranges of equal state.
pub(super) fn vlan_ranges(index: u32) -> Request {
    let family = u8::try_from(libc::AF_BRIDGE).unwrap_or_default();
    // `struct br_vlan_msg`
    Request::new(RTM_GETVLAN, [&[family, 0, 0, 0][..], &index.to_ne_bytes()].concat())
}

/// A message of a generic netlink family, with one attribute or none. rtnetlink has only routing
/// messages.
pub(super) fn generic(family: u16, command: u8, attribute: Option<(u16, &[u8])>) -> Request {
    // `struct genlmsghdr`: command, version, reserved
    let mut payload = vec![command, 1, 0, 0];
    if let Some((kind, value)) = attribute {
        wire::push(&mut payload, kind, value);
    }
    Request { kind: family, is_generic: true, payload }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_of_generic_netlink_is_no_message_of_rtnetlink() {
        let request = generic(libc::RTM_NEWADDR, 3, None);
        assert_eq!(request.to_string(), "generic netlink family 20 command 3");
        let request = Request::from(addresses(7));
        assert_eq!(request.to_string(), "RTM_GETADDR index 7");
    }
}
