//! IPv6: sources, router advertisements, DHCPv6 servers, multicast queriers, and the link-layer
//! addresses of neighbour discovery.

use super::{
    Bytes, Owner, Packet, UDP, before,
    owner::{NOBODY, has_v6},
    ports,
};
use crate::{
    counters::Reason,
    policy::{DHCP_GUARD, IP_GUARD, MAC_GUARD, QUERIER_GUARD, RA_GUARD, v6},
};

mod chain;
mod options;

pub use self::chain::{ICMPV6, upper_layer};

/// A query, in both versions of MLD (RFC 3810 §5).
const LISTENER_QUERY: u8 = 130;
// RFC 4861 §4.1 to 4.5
pub const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

#[inline(always)]
pub fn check(
    flags: u32,
    frame: &(impl Bytes + ?Sized),
    packet: Packet,
    owner: impl Owner,
) -> Result<(), Reason> {
    let mut is_nobody = false;
    if flags & IP_GUARD != 0 {
        let source = v6(before(packet.end, frame, packet.start + 8)?);
        if !has_v6(owner, frame, source)? {
            return Err(Reason::IpSpoofed);
        }
        is_nobody = source == NOBODY;
    }
    let Some(upper) = upper_layer(frame, packet)? else { return Ok(()) };
    if upper.protocol == UDP && flags & DHCP_GUARD != 0 {
        // RFC 8415 §7.2: servers and relays listen on 547, clients on 546.
        let (from, to) = ports(upper.end, frame, upper.start)?;
        return if from == 547 || to == 546 { Err(Reason::DhcpServer) } else { Ok(()) };
    }
    if upper.protocol != ICMPV6 {
        return Ok(());
    }
    // The whole header of ICMPv6 (RFC 4443 §2.1).
    let [kind, ..] = before::<4>(upper.end, frame, upper.start)?;
    if flags & RA_GUARD != 0 && (kind == ROUTER_ADVERTISEMENT || kind == REDIRECT) {
        return Err(Reason::RouterAdvertisement);
    }
    if flags & QUERIER_GUARD != 0 && kind == LISTENER_QUERY {
        return Err(Reason::MulticastQuery);
    }
    if flags & (MAC_GUARD | RA_GUARD | IP_GUARD) == 0
        || !(ROUTER_SOLICITATION..=REDIRECT).contains(&kind)
    {
        return Ok(());
    }
    // RFC 6980 §5: nodes do not send these in fragments, and ignore them.
    if upper.in_fragment {
        return Err(Reason::Malformed);
    }
    // Without a source, a solicitation makes another station give up the address (RFC 4862 §5.4.3).
    let is_about_sender =
        kind == NEIGHBOUR_ADVERTISEMENT || kind == NEIGHBOUR_SOLICITATION && is_nobody;
    if flags & IP_GUARD != 0 && is_about_sender {
        let target = v6(before(upper.end, frame, upper.start + 8)?);
        if !has_v6(owner, frame, target)? {
            return Err(Reason::NdIpSpoofed);
        }
    }
    if flags & MAC_GUARD == 0 {
        return Ok(());
    }
    let header = match kind {
        ROUTER_SOLICITATION => 8,
        ROUTER_ADVERTISEMENT => 16,
        // The option of a redirect is about another station.
        REDIRECT => return Ok(()),
        _ => 24,
    };
    options::check(frame, upper.start + header, upper.end, owner)
}
