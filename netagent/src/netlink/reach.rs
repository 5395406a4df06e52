//! Whether a neighbour answers: the kernel is made to ask it, by ARP (RFC 826) or by neighbour
//! solicitation (RFC 4861 section 7.3).

use std::{net::IpAddr, time::Duration};

use libc::{
    NLM_F_CREATE, NLM_F_REPLACE, RTA_DST, RTA_OIF, RTM_GETNEIGH, RTM_GETROUTE, RTM_NEWNEIGH,
};
use tokio::time::{Instant, sleep};

use super::{
    Failure, Netlink, Reply,
    neighbour::{DESTINATION, family, header},
    request::Request,
    route, wire,
};

/// `NUD_INCOMPLETE`, `NUD_REACHABLE`, `NUD_PROBE`
const INCOMPLETE: u16 = 0x01;
const REACHABLE: u16 = 0x02;
const PROBE: u16 = 0x10;
const FAILED: u16 = 0x20;
/// `NUD_NOARP`, `NUD_PERMANENT`: neighbours that are never asked.
const NEVER_ASKED: u16 = 0x40 | 0x80;
/// `NTF_USE`
const USE: u8 = 0x01;

/// How long the kernel asks: three times, with a second between (`mcast_solicit`,
/// `ucast_solicit` and `retrans_time_ms` of Documentation/networking/ip-sysctl.rst).
const PATIENCE: Duration = Duration::from_millis(3500);
/// How often the state of the neighbour is read meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// Where packets for a destination go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The interface.
    pub index: u32,
    /// The gateway; `None`: the destination is a neighbour.
    pub via: Option<IpAddr>,
}

impl Netlink {
    /// `ip route get DESTINATION`: `None` where there is no route.
    pub async fn next_hop(&self, destination: IpAddr) -> Result<Option<NextHop>, Failure> {
        let bits = if destination.is_ipv4() { 32 } else { 128 };
        let mut payload = vec![family(destination), bits];
        payload.resize(route::HEADER_BYTES, 0);
        wire::push(&mut payload, RTA_DST, &wire::octets(destination));
        let found = self.socket.request(Request::new(RTM_GETROUTE, payload), 0).await;
        let replies = match found {
            Err(Failure::Refused { .. }) => return Ok(None),
            replies => replies?,
        };
        let hop = |reply: &Reply| {
            let attributes = reply.of_kind(libc::RTM_NEWROUTE)?.get(route::HEADER_BYTES..)?;
            let index = wire::find_u32(attributes, RTA_OIF)?;
            Some(NextHop { index, via: route::gateway(attributes) })
        };
        Ok(replies.iter().find_map(hop))
    }

    /// Whether a neighbour answers now. An answer that the kernel still remembers does not count.
    pub async fn answers(&self, index: u32, neighbour: IpAddr) -> Result<bool, Failure> {
        let end = Instant::now() + PATIENCE;
        let known = self.neighbour(index, neighbour).await?;
        if known & NEVER_ASKED != 0 {
            return Ok(true);
        }
        let is_known = known & !(INCOMPLETE | FAILED) != 0;
        let (state, flags) = if is_known { (PROBE, 0) } else { (0, USE) };
        let mut payload = header(index, neighbour);
        payload[8..10].copy_from_slice(&state.to_ne_bytes());
        payload[10] = flags;
        wire::push(&mut payload, DESTINATION, &wire::octets(neighbour));
        let ask = Request::new(RTM_NEWNEIGH, payload);
        let flags = u16::try_from(NLM_F_CREATE | NLM_F_REPLACE).unwrap_or_default();
        match self.socket.request(ask, flags).await {
            // A link that is down or gone, or an interface without neighbours.
            Err(Failure::Refused { .. }) => return Ok(false),
            asked => asked?,
        };
        while Instant::now() < end {
            match self.neighbour(index, neighbour).await? {
                state if state & (REACHABLE | NEVER_ASKED) != 0 => return Ok(true),
                state if state & FAILED != 0 => return Ok(false),
                _ => sleep(PAUSE).await,
            }
        }
        Ok(false)
    }

    /// `ip neigh get`: the state of a neighbour; 0 where the kernel does not know it.
    async fn neighbour(&self, index: u32, neighbour: IpAddr) -> Result<u16, Failure> {
        let mut payload = header(index, neighbour);
        wire::push(&mut payload, DESTINATION, &wire::octets(neighbour));
        let found = self.socket.request(Request::new(RTM_GETNEIGH, payload), 0).await;
        let replies = match found {
            Err(Failure::Refused { .. }) => return Ok(0),
            replies => replies?,
        };
        let state = |reply: &Reply| wire::u16_at(reply.of_kind(RTM_NEWNEIGH)?, 8);
        Ok(replies.iter().find_map(state).unwrap_or_default())
    }
}
