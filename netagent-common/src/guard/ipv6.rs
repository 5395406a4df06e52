//! IPv6: router advertisements, DHCPv6 servers, and the link-layer addresses of neighbour
//! discovery.

use super::{Bytes, Mac, UDP, ports, read};
use crate::{
    counters::Reason,
    policy::{DHCP_GUARD, MAC_GUARD, RA_GUARD},
};

const HEADER: usize = 40;
/// Most extension headers before the protocol; a real stack sends three at most.
const MAX_EXTENSIONS: usize = 8;
/// Most options in a message of neighbour discovery.
const MAX_OPTIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const ICMPV6: u8 = 58;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

// RFC 4861 §4.1 to 4.5
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// Source and target link-layer address (RFC 4861 §4.6.1).
const LINK_LAYER_OPTIONS: [u8; 2] = [1, 2];

#[inline(always)]
pub fn check(
    flags: u32,
    frame: &(impl Bytes + ?Sized),
    offset: usize,
    owns: &impl Fn(Mac) -> bool,
) -> Result<(), Reason> {
    let Some((protocol, offset)) = upper_layer(frame, offset)? else { return Ok(()) };
    if protocol == UDP && flags & DHCP_GUARD != 0 {
        // RFC 8415 §7.2: servers and relays listen on 547, clients on 546.
        let (from, to) = ports(frame, offset)?;
        return if from == 547 || to == 546 { Err(Reason::DhcpServer) } else { Ok(()) };
    }
    if protocol != ICMPV6 {
        return Ok(());
    }
    let [kind] = read(frame, offset)?;
    if flags & RA_GUARD != 0 && (kind == ROUTER_ADVERTISEMENT || kind == REDIRECT) {
        return Err(Reason::RouterAdvertisement);
    }
    if flags & MAC_GUARD == 0 {
        return Ok(());
    }
    let options = match kind {
        ROUTER_SOLICITATION => 8,
        ROUTER_ADVERTISEMENT => 16,
        NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT => 24,
        // The option of a redirect is about another station.
        _ => return Ok(()),
    };
    link_layer_addresses(frame, offset + options, owns)
}

/// The protocol behind the extension headers, and where it begins; `None` in a fragment that has
/// none: nodes that see no first fragment have nothing to put it to. A chain that is not whole in a
/// first fragment is refused (RFC 7113 §3).
#[inline(always)]
fn upper_layer(
    frame: &(impl Bytes + ?Sized),
    offset: usize,
) -> Result<Option<(u8, usize)>, Reason> {
    let [mut next] = read(frame, offset + 6)?;
    let mut offset = offset + HEADER;
    for _ in 0..MAX_EXTENSIONS {
        let length = match next {
            HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY | HIP | SHIM6 | AUTHENTICATION => {
                let [_, length] = read(frame, offset)?;
                // RFC 4302 §2.2 counts in other units than RFC 8200.
                let authentication = next == AUTHENTICATION;
                if authentication {
                    (usize::from(length) + 2) * 4
                } else {
                    (usize::from(length) + 1) * 8
                }
            }
            FRAGMENT => {
                let position = u16::from_be_bytes(read(frame, offset + 2)?) & 0xfff8;
                if position != 0 {
                    return Ok(None);
                }
                8
            }
            protocol => return Ok(Some((protocol, offset))),
        };
        [next] = read(frame, offset)?;
        offset += length;
    }
    Err(Reason::Malformed)
}

/// Every link-layer address that the message gives must be one of the port's.
#[inline(always)]
fn link_layer_addresses(
    frame: &(impl Bytes + ?Sized),
    mut offset: usize,
    owns: &impl Fn(Mac) -> bool,
) -> Result<(), Reason> {
    for _ in 0..MAX_OPTIONS {
        // The end of the frame, or padding of a short one.
        let Some([kind, length]) = frame.read(offset) else { return Ok(()) };
        if LINK_LAYER_OPTIONS.contains(&kind) && !owns(read(frame, offset + 2)?) {
            return Err(Reason::NdSpoofed);
        }
        if length == 0 {
            // RFC 4861 §4.6: nodes discard such a message.
            return Ok(());
        }
        offset += usize::from(length) * 8;
    }
    Err(Reason::NdSpoofed)
}
