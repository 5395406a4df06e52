//! Ports of bridges (`bridge link`).

use std::collections::{BTreeMap, BTreeSet};

use libc::{IFLA_INFO_SLAVE_DATA, IFLA_LINKINFO, IFLA_MASTER, IFLA_PROTINFO};
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec,
    packet_route::{AddressFamily, RouteNetlinkMessage},
};

use super::{Failure, Netlink, link::Header, request, socket::Reply, vlan, wire};
use crate::state::PortFlag;

/// `IFLA_BRPORT_...` (include/uapi/linux/if_link.h).
const STATE: u16 = 1;
const MODE: u16 = 4;
const LEARNING: u16 = 8;
const VLAN_TUNNEL: u16 = 29;
const GROUP_FWD_MASK: u16 = 31;
const ISOLATED: u16 = 33;
const LOCKED: u16 = 39;
/// `BR_STATE_FORWARDING`
const FORWARDING: u8 = 3;

impl Netlink {
    /// `bridge -details link show`: the interface indexes of the ports that forward and learn
    /// without restriction, each with the index of its bridge. A port that STP or MSTP blocks, in
    /// all VLANs or in one, an isolated, a locked and a `vlan_tunnel` port are left out.
    pub async fn plain_ports(&self) -> Result<BTreeMap<u32, u32>, Failure> {
        let message =
            LinkMessageBuilder::<LinkUnspec>::new().interface_family(AddressFamily::Bridge).build();
        let replies = self.socket.dump(RouteNetlinkMessage::GetLink(message)).await?;
        let ports = replies.iter().filter_map(Reply::new_link).filter_map(Header::read);
        let plain = |port: Header<'_>| {
            let info = wire::find(port.attributes, IFLA_PROTINFO)?;
            Some((port.index, plain(&port, info)?))
        };
        let mut ports: BTreeMap<_, _> = ports.filter_map(plain).collect();
        for index in self.blocked_in_a_vlan(0).await? {
            ports.remove(&index);
        }
        Ok(ports)
    }

    /// `bridge -details vlan show`: the interface indexes of the links, or of the one with this
    /// index, that do not forward in one of their VLANs.
    async fn blocked_in_a_vlan(&self, index: u32) -> Result<BTreeSet<u32>, Failure> {
        let replies = match self.socket.dump(request::vlan_ranges(index)).await {
            // The kernel has no VLAN filter, or the link is no port of a bridge any more.
            Err(Failure::Refused {
                errno: libc::EOPNOTSUPP | libc::EINVAL | libc::ENODEV, ..
            }) => return Ok(BTreeSet::new()),
            replies => replies?,
        };
        let payloads = replies.iter().filter_map(|reply| reply.of_kind(request::RTM_NEWVLAN));
        Ok(payloads.filter_map(vlan::blocked).collect())
    }

    /// `ip -details link show` for one link: its bond or bridge, and, if it is in
    /// [`plain_ports`](Self::plain_ports), its bridge.
    pub async fn plain_port(&self, index: u32) -> Result<(Option<u32>, Option<u32>), Failure> {
        let reply = self.link_reply(index).await?;
        let link = reply.as_ref().and_then(Reply::new_link).and_then(Header::read);
        let Some(link) = link else { return Ok((None, None)) };
        let controller = wire::find_u32(link.attributes, IFLA_MASTER);
        let info = wire::find(link.attributes, IFLA_LINKINFO).filter(|_| link.is_bridge_port());
        let info = info.and_then(|info| wire::find(info, IFLA_INFO_SLAVE_DATA));
        let bridge = info.and_then(|info| plain(&link, info));
        let is_blocked = bridge.is_some() && !self.blocked_in_a_vlan(index).await?.is_empty();
        Ok((controller, bridge.filter(|_| !is_blocked)))
    }
}

/// The flags of a port that are on, from its IFLA_LINKINFO.
pub(super) fn flags(info: &[u8]) -> BTreeSet<PortFlag> {
    let data = wire::find(info, IFLA_INFO_SLAVE_DATA).unwrap_or_default();
    let is_on = |kind| wire::find(data, kind).and_then(|value| value.first()) == Some(&1);
    let flags = [(PortFlag::Hairpin, MODE), (PortFlag::Isolated, ISOLATED)];
    flags.into_iter().filter(|(_, kind)| is_on(*kind)).map(|(flag, _)| flag).collect()
}

/// The link-local groups that are forwarded from a port, from its IFLA_LINKINFO.
pub(super) fn group_fwd_mask(info: &[u8]) -> u16 {
    let data = wire::find(info, IFLA_INFO_SLAVE_DATA).unwrap_or_default();
    wire::find(data, GROUP_FWD_MASK).and_then(|mask| wire::u16_at(mask, 0)).unwrap_or_default()
}

/// The bridge of a port that forwards and learns without restriction.
fn plain(port: &Header<'_>, info: &[u8]) -> Option<u32> {
    let bridge = wire::find_u32(port.attributes, IFLA_MASTER)?;
    let byte = |kind| wire::find(info, kind).and_then(|value| value.first()).copied();
    let off = |kind| byte(kind).unwrap_or_default() == 0;
    let forwards = byte(STATE) == Some(FORWARDING) && byte(LEARNING) == Some(1);
    (forwards && off(VLAN_TUNNEL) && off(ISOLATED) && off(LOCKED)).then_some(bridge)
}
