//! What bridges do with their ports.

use std::collections::BTreeMap;

use libc::{IFLA_MASTER, IFLA_PROTINFO};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Failure, Netlink, link::Header, message, socket::Reply, wire};

/// `IFLA_BRPORT_...` (include/uapi/linux/if_link.h).
const STATE: u16 = 1;
const LEARNING: u16 = 8;
const VLAN_TUNNEL: u16 = 29;
const ISOLATED: u16 = 33;
const LOCKED: u16 = 39;
/// `BR_STATE_FORWARDING`
const FORWARDING: u8 = 3;

impl Netlink {
    /// `bridge -details link show`: the ports, by interface index, that forward and learn without any condition of the
    /// bridge's own, with the index of their bridge. STP blocks none of them, nor are they isolated or locked.
    pub async fn plain_ports(&self) -> Result<BTreeMap<u32, u32>, Failure> {
        let mut message = message(0, Vec::new());
        message.header.interface_family = AddressFamily::Bridge;
        let replies = self.socket.dump(RouteNetlinkMessage::GetLink(message)).await?;
        let ports = replies.iter().filter_map(Reply::new_link).filter_map(Header::read);
        Ok(ports.filter_map(|port| Some((port.index, plain(port.attributes)?))).collect())
    }
}

/// The bridge of such a port.
fn plain(attributes: &[u8]) -> Option<u32> {
    let bridge = wire::find_u32(attributes, IFLA_MASTER)?;
    let info = wire::find(attributes, IFLA_PROTINFO)?;
    let byte = |kind| wire::find(info, kind).and_then(|value| value.first()).copied();
    let off = |kind| byte(kind).unwrap_or_default() == 0;
    let forwards = byte(STATE) == Some(FORWARDING) && byte(LEARNING) == Some(1);
    (forwards && off(VLAN_TUNNEL) && off(ISOLATED) && off(LOCKED)).then_some(bridge)
}
