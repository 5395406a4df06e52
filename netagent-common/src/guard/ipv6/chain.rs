//! The chain of IPv6 extension headers, and the protocol behind it.

use core::ops::ControlFlow;

use crate::{
    counters::Reason,
    guard::{Bytes, Packet, TCP, Walk, before},
};

const HEADER: usize = 40;
/// Most extension headers before the protocol, and the protocol; a real stack sends three headers
/// at most.
const MAX_HEADERS: u32 = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
pub const ICMPV6: u8 = 58;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;
/// From here on the numbers of protocols are free, or for experiments (IANA, 2026).
const UNASSIGNED: u8 = 148;

/// The protocol behind the extension headers.
#[derive(Clone, Copy)]
pub struct Upper {
    pub protocol: u8,
    /// Offset of its first byte.
    pub start: usize,
    /// Offset behind the last byte of the packet.
    pub end: usize,
    /// The packet has a fragment header: it is a first fragment, or one that is alone.
    pub in_fragment: bool,
}

/// The protocol behind the extension headers, which ends where the payload length says; `None` in a
/// fragment that has none: nodes that see no first fragment have nothing to put it to. A chain that
/// is not whole is refused (RFC 7112 §5, RFC 7113 §3).
///
/// The payload length 0 is that of jumbograms (RFC 2675), which no Ethernet carries, and of TCP
/// segments which a device will cut, and whose length does not fit (BIG TCP): TCP passes, which no
/// guard looks into.
#[inline(always)]
pub fn upper_layer(frame: &(impl Bytes + ?Sized), packet: Packet) -> Result<Option<Upper>, Reason> {
    let [first, _, _, _, a, b, next] = before::<7>(packet.end, frame, packet.start)?;
    let (length, start) = (usize::from(u16::from_be_bytes([a, b])), packet.start + HEADER);
    let end = frame.unknown(if length == 0 { packet.end } else { start + length });
    if first >> 4 != 6 || end > packet.end {
        return Err(Reason::Malformed);
    }
    let mut chain = Chain { next, offset: frame.unknown(start), end, is_whole: false };
    // It is the first header, or none (RFC 8200 §4.1).
    if next == HOP_BY_HOP {
        chain.pass(frame)?;
    }
    frame.walk(MAX_HEADERS, &mut chain);
    if !chain.is_whole {
        return Err(Reason::Malformed);
    }
    let in_fragment = chain.next == FRAGMENT;
    if in_fragment && !chain.is_first_fragment(frame)? {
        return if length == 0 { Err(Reason::Malformed) } else { Ok(None) };
    }
    let Chain { next: protocol, offset: start, .. } = chain;
    let least = if in_fragment { least(protocol) } else { 0 };
    if !is_protocol(protocol) || start + least > end || length == 0 && protocol != TCP {
        return Err(Reason::Malformed);
    }
    Ok(Some(Upper { protocol, start, end, in_fragment }))
}

/// Whether a next header is neither an extension header nor unassigned: that may be an extension
/// header that the receiver knows (RFC 7113 §3).
#[inline(always)]
fn is_protocol(next: u8) -> bool {
    !matches!(
        next,
        HOP_BY_HOP
            | ROUTING
            | FRAGMENT
            | AUTHENTICATION
            | DESTINATION
            | MOBILITY
            | HIP
            | SHIM6
            | UNASSIGNED..
    )
}

/// Bytes of a protocol's header that the first fragment must hold. Unless it is the last, a
/// fragment has a multiple of eight bytes.
#[inline(always)]
fn least(protocol: u8) -> usize {
    match protocol {
        NO_NEXT_HEADER => 0,
        // RFC 7112 §3
        ICMPV6 => 4,
        TCP => 20,
        _ => 8,
    }
}

/// The extension headers.
struct Chain {
    /// The type of the header at the offset.
    next: u8,
    offset: usize,
    /// As in [`Upper`].
    end: usize,
    /// The walk has come to a fragment header, or to another one that is not in its place.
    is_whole: bool,
}

impl Chain {
    /// Goes to the next header.
    #[inline(always)]
    fn pass(&mut self, frame: &(impl Bytes + ?Sized)) -> Result<(), Reason> {
        let [next, length] = before(self.end, frame, self.offset)?;
        let length = match self.next {
            // RFC 4302 §2.2 counts in other units than RFC 8200.
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        self.next = next;
        self.offset = frame.unknown(self.offset + length);
        Ok(())
    }

    /// Whether a fragment is the first; goes to the protocol in it. Behind another extension header
    /// the protocol could be replaced by the next fragment, if the receiver lets fragments overlap
    /// (RFC 5722). Nodes verify what is behind an authentication header.
    #[inline(always)]
    fn is_first_fragment(&mut self, frame: &(impl Bytes + ?Sized)) -> Result<bool, Reason> {
        let [next, _, high, low, ..] = before::<8>(self.end, frame, self.offset)?;
        (self.next, self.offset) = (next, self.offset + 8);
        if u16::from_be_bytes([high, low]) & 0xfff8 != 0 {
            return Ok(false);
        }
        if next == AUTHENTICATION {
            self.pass(frame)?;
        }
        Ok(true)
    }
}

impl Walk for Chain {
    #[inline(always)]
    fn step(&mut self, frame: &(impl Bytes + ?Sized)) -> ControlFlow<()> {
        match self.next {
            ROUTING | AUTHENTICATION | DESTINATION | MOBILITY | HIP | SHIM6 => {}
            _ => {
                self.is_whole = true;
                return ControlFlow::Break(());
            }
        }
        match self.pass(frame) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
