//! IPv4: DHCP servers.

use super::{Bytes, Packet, UDP, before, ports};
use crate::counters::Reason;

/// Bytes of a header without options.
const HEADER: usize = 20;

/// DHCP over IPv4 (RFC 2131 §4.1): a server sends from port 67, and to port 68.
///
/// The total length matters for UDP only: that of a TCP segment which a device will cut may be 0,
/// as it does not fit (BIG TCP).
#[inline(always)]
pub fn check(frame: &(impl Bytes + ?Sized), packet: Packet) -> Result<(), Reason> {
    let start = packet.start;
    let [first, _, a, b, _, _, c, d, _, protocol] = before::<10>(packet.end, frame, start)?;
    let header = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || header < HEADER {
        return Err(Reason::Malformed);
    }
    // The ports are in the first fragment. A later one begins eight bytes behind them at least: it
    // can neither hold them nor replace them (RFC 1858, RFC 3128), and without the first it comes
    // to nothing.
    if protocol != UDP || u16::from_be_bytes([c, d]) & 0x1fff != 0 {
        return Ok(());
    }
    let end = start + usize::from(u16::from_be_bytes([a, b]));
    if end > packet.end {
        return Err(Reason::Malformed);
    }
    let (from, to) = ports(end, frame, start + header)?;
    if from == 67 || to == 68 { Err(Reason::DhcpServer) } else { Ok(()) }
}
