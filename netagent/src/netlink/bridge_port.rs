//! Ports of bridges (`bridge link`).

use std::collections::BTreeMap;

use libc::{IFLA_MASTER, IFLA_PROTINFO};
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec,
    packet_route::{AddressFamily, RouteNetlinkMessage},
};

use super::{Failure, Netlink, link::Header, socket::Reply, wire};

/// `IFLA_BRPORT_...` (include/uapi/linux/if_link.h).
const STATE: u16 = 1;
const LEARNING: u16 = 8;
const VLAN_TUNNEL: u16 = 29;
const ISOLATED: u16 = 33;
const LOCKED: u16 = 39;
/// `BR_STATE_FORWARDING`
const FORWARDING: u8 = 3;

impl Netlink {
    /// `bridge -details link show`: the interface indexes of the ports that forward and learn
    /// without restriction, each with the index of its bridge. A port that STP blocks, an isolated,
    /// a locked and a `vlan_tunnel` port are left out.
    pub async fn plain_ports(&self) -> Result<BTreeMap<u32, u32>, Failure> {
        let message =
            LinkMessageBuilder::<LinkUnspec>::new().interface_family(AddressFamily::Bridge).build();
        let replies = self.socket.dump(RouteNetlinkMessage::GetLink(message)).await?;
        let ports = replies.iter().filter_map(Reply::new_link).filter_map(Header::read);
        Ok(ports.filter_map(|port| Some((port.index, plain(port.attributes)?))).collect())
    }
}

/// The bridge of a port that forwards and learns without restriction.
fn plain(attributes: &[u8]) -> Option<u32> {
    let bridge = wire::find_u32(attributes, IFLA_MASTER)?;
    let info = wire::find(attributes, IFLA_PROTINFO)?;
    let byte = |kind| wire::find(info, kind).and_then(|value| value.first()).copied();
    let off = |kind| byte(kind).unwrap_or_default() == 0;
    let forwards = byte(STATE) == Some(FORWARDING) && byte(LEARNING) == Some(1);
    (forwards && off(VLAN_TUNNEL) && off(ISOLATED) && off(LOCKED)).then_some(bridge)
}
