//! A link message into a [`Link`].

use std::collections::BTreeSet;

use libc::{
    IFF_LOWER_UP, IFF_PROMISC, IFF_UP, IFLA_ADDRESS, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_DATA,
    IFLA_INFO_KIND, IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_LINK, IFLA_LINK_NETNSID,
    IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_QDISC, IFLA_TXQLEN,
};
use netagent_common::vlan::Vid;
use rtnetlink::{
    packet_core::Parseable,
    packet_route::link::{InfoVlan, VlanProtocol},
};

use super::{bond, bridge, bridge_port, rules, wire};
use crate::{
    names::{IfName, Mac},
    state::{Kind, Link, Member, PortFlag},
};

/// `struct ifinfomsg`
const HEADER_BYTES: usize = 16;
/// `IFLA_INET6_CONF` (include/uapi/linux/if_link.h), which libc lacks: an array of numbers.
const IFLA_INET6_CONF: u16 = 2;
/// `DEVCONF_FORWARDING`, `DEVCONF_ACCEPT_RA` (include/uapi/linux/ipv6.h): indexes of the array.
const DEVCONF_FORWARDING: usize = 0;
const DEVCONF_ACCEPT_RA: usize = 3;

/// `IFLA_PROP_LIST`, `IFLA_ALT_IFNAME` (include/uapi/linux/if_link.h, Linux 5.5), which libc lacks.
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;

/// `IFLA_XDP_PROG_ID`, `.._DRV_..`, `.._SKB_..`, `.._HW_..` (include/uapi/linux/if_link.h), which
/// libc lacks.
const XDP_PROGRAMS: [u16; 4] = [4, 5, 6, 7];

/// The header of a message about a link, and the attributes.
pub(super) struct Header<'a> {
    pub(super) index: u32,
    flags: u32,
    /// Flags that changed; all bits if the link is new, or came from another namespace.
    pub(super) changed: u32,
    pub(super) attributes: &'a [u8],
}

impl<'a> Header<'a> {
    pub(super) fn read(payload: &'a [u8]) -> Option<Self> {
        Some(Self {
            index: wire::u32_at(payload, 4)?,
            flags: wire::u32_at(payload, 8)?,
            changed: wire::u32_at(payload, 12)?,
            attributes: payload.get(HEADER_BYTES..)?,
        })
    }

    /// Whether a flag (`IFF_...`) is set.
    pub(super) fn is(&self, flag: libc::c_int) -> bool {
        self.flags & flag.cast_unsigned() != 0
    }

    /// The name; `None` for a name that no configuration can contain.
    pub(super) fn name(&self) -> Option<IfName> {
        wire::find_text(self.attributes, IFLA_IFNAME)?.parse().ok()
    }

    /// The name, escaped.
    pub(super) fn escaped_name(&self) -> String {
        let name = wire::find(self.attributes, IFLA_IFNAME).unwrap_or_default();
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        name[..end].escape_ascii().to_string()
    }

    /// The alternative names. One that is longer than a name can be is in no configuration.
    fn altnames(&self) -> BTreeSet<IfName> {
        let list = wire::find(self.attributes, IFLA_PROP_LIST).unwrap_or_default();
        let names = wire::attributes(list).filter(|property| property.kind() == IFLA_ALT_IFNAME);
        let text =
            |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.trim_end_matches('\0').parse().ok();
        names.filter_map(|name| text(wire::value(name))).collect()
    }

    /// The address; all zero for an address that is not an Ethernet address.
    pub(super) fn mac(&self) -> Mac {
        let address = wire::find(self.attributes, IFLA_ADDRESS).and_then(|a| a.try_into().ok());
        Mac(address.unwrap_or_default())
    }

    /// The link; `name_of` gives the name of another link by its index.
    pub(super) fn link(&self, name_of: &dyn Fn(u32) -> Option<IfName>) -> Link {
        let Self { index, attributes, .. } = *self;
        let number = |kind| wire::find_u32(attributes, kind).unwrap_or_default();
        let info = wire::find(attributes, IFLA_LINKINFO).unwrap_or_default();
        Link {
            index,
            up: self.is(IFF_UP),
            carrier: self.is(IFF_LOWER_UP),
            mtu: number(IFLA_MTU),
            txqlen: number(IFLA_TXQLEN),
            mac: self.mac(),
            controller: wire::find_u32(attributes, IFLA_MASTER).and_then(name_of),
            alias: wire::find_text(attributes, IFLA_IFALIAS).filter(|alias| !alias.is_empty()),
            kind: self.kind(info, name_of),
            lower: self.lower(info).and_then(name_of),
            accept_ra: self.accept_ra(),
            addresses: <_>::default(),
            vlans: <_>::default(),
            member: self.member(),
            rules: rules::of_queue(wire::find_text(attributes, IFLA_QDISC)),
            takes_xdp_frames: false,
            xdp: self.xdp(),
            promiscuous: self.is(IFF_PROMISC),
            port_flags: self.port_flags(info),
            group_fwd_mask: self.group_fwd_mask(info),
            altnames: self.altnames(),
            // A device with noop is down, and gets noqueue when it is set up.
            leads_elsewhere: wire::find(attributes, IFLA_LINK_NETNSID).is_some()
                && wire::find_text(info, IFLA_INFO_KIND).as_deref() == Some("veth")
                && matches!(
                    wire::find_text(attributes, IFLA_QDISC).as_deref(),
                    Some("noqueue" | "noop")
                ),
        }
    }

    /// `net.ipv6.conf.<name>.accept_ra`
    fn accept_ra(&self) -> Option<u32> {
        self.ipv6_conf(DEVCONF_ACCEPT_RA)
    }

    /// Whether the node is an IPv6 router on the link: `net.ipv6.conf.<name>.forwarding`.
    pub(super) fn is_router(&self) -> bool {
        self.ipv6_conf(DEVCONF_FORWARDING).is_some_and(|forwarding| forwarding != 0)
    }

    fn ipv6_conf(&self, number: usize) -> Option<u32> {
        let families = wire::find(self.attributes, libc::IFLA_AF_SPEC)?;
        let ipv6 = wire::find(families, u16::try_from(libc::AF_INET6).ok()?)?;
        wire::u32_at(wire::find(ipv6, IFLA_INET6_CONF)?, 4 * number)
    }

    /// The ID of the XDP program: in any mode, or in one of them if there are several.
    fn xdp(&self) -> Option<u32> {
        let xdp = wire::find(self.attributes, libc::IFLA_XDP)?;
        XDP_PROGRAMS.iter().find_map(|kind| wire::find_u32(xdp, *kind)).filter(|id| *id != 0)
    }

    fn port_flags(&self, info: &[u8]) -> BTreeSet<PortFlag> {
        if self.is_bridge_port() { bridge_port::flags(info) } else { BTreeSet::new() }
    }

    fn group_fwd_mask(&self, info: &[u8]) -> u16 {
        if self.is_bridge_port() { bridge_port::group_fwd_mask(info) } else { 0 }
    }

    /// The state of a member of a bond.
    pub(super) fn member(&self) -> Option<Member> {
        let info = wire::find(self.attributes, IFLA_LINKINFO)?;
        let of_bond = wire::find_text(info, IFLA_INFO_SLAVE_KIND)? == "bond";
        wire::find(info, IFLA_INFO_SLAVE_DATA).filter(|_| of_bond).map(bond::member)
    }

    /// The interface index of the active member of a bond, in modes that have one.
    pub(super) fn active_member(&self) -> Option<u32> {
        let info = wire::find(self.attributes, IFLA_LINKINFO)?;
        bond::active_member(wire::find(info, IFLA_INFO_DATA)?)
    }

    /// Whether the link is a port of a bridge.
    pub(super) fn is_bridge_port(&self) -> bool {
        let info = wire::find(self.attributes, IFLA_LINKINFO);
        let kind = info.and_then(|info| wire::find_text(info, IFLA_INFO_SLAVE_KIND));
        kind.is_some_and(|kind| kind == "bridge")
    }

    fn kind(&self, info: &[u8], name_of: &dyn Fn(u32) -> Option<IfName>) -> Kind {
        let kind = wire::find_text(info, IFLA_INFO_KIND).unwrap_or_default();
        let data = wire::find(info, IFLA_INFO_DATA).unwrap_or_default();
        match kind.as_str() {
            "bond" => Kind::Bond(bond::state(data, name_of)),
            "bridge" => Kind::Bridge(bridge::state(data)),
            "vlan" => match vlan(data) {
                Some(vid) => Kind::Vlan { parent: self.parent().and_then(name_of), vid },
                None => Kind::Other(kind),
            },
            _ => Kind::Other(kind),
        }
    }

    /// The index of the link that this one is stacked on. The link of a veth is its peer.
    fn lower(&self, info: &[u8]) -> Option<u32> {
        let kind = wire::find_text(info, IFLA_INFO_KIND).unwrap_or_default();
        self.parent().filter(|index| *index != 0 && *index != self.index && kind != "veth")
    }

    /// The index of the parent link. The index of a parent in another namespace has no meaning
    /// here.
    fn parent(&self) -> Option<u32> {
        match wire::find(self.attributes, IFLA_LINK_NETNSID) {
            Some(_) => None,
            None => wire::find_u32(self.attributes, IFLA_LINK),
        }
    }
}

/// The VID of an 802.1Q interface; `None` for an 802.1ad interface and for VID 0.
fn vlan(data: &[u8]) -> Option<Vid> {
    let mut vid = None;
    for attribute in wire::attributes(data) {
        match InfoVlan::parse(&attribute) {
            Ok(InfoVlan::Id(id)) => vid = Vid::new(id),
            Ok(InfoVlan::Protocol(protocol)) if protocol != VlanProtocol::Ieee8021Q => return None,
            Ok(_) | Err(_) => {}
        }
    }
    vid
}
