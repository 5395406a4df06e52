//! IPv6: router advertisements, DHCPv6 servers, and the link-layer addresses of neighbour
//! discovery.

use core::ops::ControlFlow;

use super::{Bytes, Mac, UDP, Walk, ports, read};
use crate::{
    counters::Reason,
    policy::{DHCP_GUARD, MAC_GUARD, RA_GUARD},
};

const HEADER: usize = 40;
/// Most extension headers before the protocol; a real stack sends three at most.
const MAX_EXTENSIONS: u32 = 8;
/// Most options in a message of neighbour discovery.
const MAX_OPTIONS: u32 = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
pub const ICMPV6: u8 = 58;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

// RFC 4861 §4.1 to 4.5
pub const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// Source and target link-layer address (RFC 4861 §4.6.1).
const LINK_LAYER_OPTIONS: [u8; 2] = [1, 2];

#[inline(always)]
pub fn check(
    flags: u32,
    frame: &(impl Bytes + ?Sized),
    offset: usize,
    owns: impl Fn(Mac) -> bool + Copy,
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
pub fn upper_layer(
    frame: &(impl Bytes + ?Sized),
    offset: usize,
) -> Result<Option<(u8, usize)>, Reason> {
    let [next] = read(frame, offset + 6)?;
    let mut chain = Chain { next, offset: offset + HEADER, end: End::Malformed };
    frame.walk(MAX_EXTENSIONS, &mut chain);
    match chain.end {
        End::Protocol => Ok(Some((chain.next, chain.offset))),
        End::LaterFragment => Ok(None),
        End::Malformed => Err(Reason::Malformed),
    }
}

/// The extension headers.
struct Chain {
    /// The type of the header at the offset.
    next: u8,
    offset: usize,
    end: End,
}

impl Chain {
    #[inline(always)]
    fn end_with(&mut self, end: End) -> ControlFlow<()> {
        self.end = end;
        ControlFlow::Break(())
    }
}

/// What ends a chain of extension headers.
enum End {
    Protocol,
    LaterFragment,
    Malformed,
}

impl Walk for Chain {
    #[inline(always)]
    fn step(&mut self, frame: &(impl Bytes + ?Sized)) -> ControlFlow<()> {
        match self.next {
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY | HIP
            | SHIM6 => {}
            _ => return self.end_with(End::Protocol),
        }
        let Some([next, length, high, low]) = frame.read(self.offset) else {
            return self.end_with(End::Malformed);
        };
        let length = match self.next {
            FRAGMENT if u16::from_be_bytes([high, low]) & 0xfff8 != 0 => {
                return self.end_with(End::LaterFragment);
            }
            FRAGMENT => 8,
            // RFC 4302 §2.2 counts in other units than RFC 8200.
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        self.next = next;
        self.offset += length;
        ControlFlow::Continue(())
    }
}

/// Every link-layer address that the message gives must be one of the port's.
#[inline(always)]
fn link_layer_addresses(
    frame: &(impl Bytes + ?Sized),
    offset: usize,
    owns: impl Fn(Mac) -> bool + Copy,
) -> Result<(), Reason> {
    let mut options = Options { offset, owns, result: Err(Reason::NdSpoofed) };
    frame.walk(MAX_OPTIONS, &mut options);
    options.result
}

/// The options of a message of neighbour discovery.
struct Options<F> {
    offset: usize,
    /// Without pointers, which the verifier follows through the stack.
    owns: F,
    result: Result<(), Reason>,
}

impl<F: Fn(Mac) -> bool> Walk for Options<F> {
    #[inline(always)]
    fn step(&mut self, frame: &(impl Bytes + ?Sized)) -> ControlFlow<()> {
        // The end of the frame, or padding of a short one.
        let Some([kind, length]) = frame.read(self.offset) else {
            self.result = Ok(());
            return ControlFlow::Break(());
        };
        if LINK_LAYER_OPTIONS.contains(&kind) {
            match read(frame, self.offset + 2) {
                Ok(mac) if (self.owns)(mac) => {}
                Ok(_) => return ControlFlow::Break(()),
                Err(reason) => {
                    self.result = Err(reason);
                    return ControlFlow::Break(());
                }
            }
        }
        if length == 0 {
            // RFC 4861 §4.6: nodes discard such a message.
            self.result = Ok(());
            return ControlFlow::Break(());
        }
        self.offset += usize::from(length) * 8;
        ControlFlow::Continue(())
    }
}
