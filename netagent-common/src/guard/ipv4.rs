//! IPv4: sources, DHCP servers, and multicast queriers.

use super::{Bytes, IGMP, Owner, Packet, UDP, before, owner::has_v4, ports};
use crate::{
    counters::Reason,
    policy::{DHCP_GUARD, IP_GUARD, QUERIER_GUARD},
};

/// Bytes of a header without options.
const HEADER: usize = 20;
/// The IGMP type of a query, in each version (RFC 3376 §4).
const QUERY: u8 = 0x11;

/// DHCP over IPv4 (RFC 2131 §4.1): a server sends from port 67, and to port 68. IGMP: a querier
/// sends queries.
///
/// The total length of other packets does not matter: that of a TCP segment which a device will cut
/// may be 0, as it does not fit (BIG TCP).
#[inline(always)]
pub fn check(
    flags: u32,
    frame: &(impl Bytes + ?Sized),
    packet: Packet,
    owner: impl Owner,
) -> Result<(), Reason> {
    let start = packet.start;
    let [first, _, a, b, _, _, c, d, _, protocol] = before::<10>(packet.end, frame, start)?;
    let header = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || header < HEADER {
        return Err(Reason::Malformed);
    }
    // In every fragment.
    if flags & IP_GUARD != 0 && !has_v4(owner, before(packet.end, frame, start + 12)?) {
        return Err(Reason::IpSpoofed);
    }
    // The ports are in the first fragment. A later one begins eight bytes behind them at least: it
    // can neither hold them nor replace them (RFC 1858, RFC 3128), and without the first it comes
    // to nothing.
    let is_later = u16::from_be_bytes([c, d]) & 0x1fff != 0;
    let may_be_dhcp = protocol == UDP && flags & DHCP_GUARD != 0 && !is_later;
    let may_be_query = protocol == IGMP && flags & QUERIER_GUARD != 0;
    if !may_be_dhcp && !may_be_query {
        return Ok(());
    }
    let end = start + usize::from(u16::from_be_bytes([a, b]));
    if end > packet.end {
        return Err(Reason::Malformed);
    }
    if may_be_query {
        // In every fragment: the bridge takes each for a whole message (`ip_mc_check_iphdr` in
        // net/ipv4/igmp.c).
        let [kind] = before(end, frame, start + header)?;
        return if kind == QUERY { Err(Reason::MulticastQuery) } else { Ok(()) };
    }
    let (from, to) = ports(end, frame, start + header)?;
    if from == 67 || to == 68 { Err(Reason::DhcpServer) } else { Ok(()) }
}
