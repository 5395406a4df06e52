//! What a VM may say of itself: its addresses, and whether it is a DHCP server, an IPv6 router or a
//! multicast querier.
//!
//! A sender hides behind tags, LLC/SNAP (VU#855201), IPv6 extension headers and fragments (RFC
//! 7113): the walk goes through all of them, within bounds, and what is beyond the bounds is
//! refused. Receivers differ in frames whose lengths and headers contradict each other: such a
//! frame is refused, as no stack sends it.

use core::ops::ControlFlow;

use crate::{
    counters::Reason,
    policy::{DHCP_GUARD, IP_GUARD, MAC_GUARD, QUERIER_GUARD, RA_GUARD},
};

mod arp;
mod ethernet;
mod ipv4;
mod ipv6;
mod owner;

pub use self::owner::Owner;
pub(crate) use self::{
    arp::sender as arp_sender,
    ethernet::packet,
    ipv6::{
        ICMPV6, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, ROUTER_SOLICITATION, upper_layer,
    },
};

/// Flags of ports whose frames are looked into.
pub const GUARDS: u32 = MAC_GUARD | DHCP_GUARD | RA_GUARD | QUERIER_GUARD | IP_GUARD;

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const RARP: u16 = 0x8035;
pub(crate) const IPV6: u16 = 0x86dd;

pub(crate) const IGMP: u8 = 2;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// The bytes of a frame.
pub trait Bytes {
    /// Their number, without a tag in the metadata.
    fn length(&self) -> usize;

    /// Those at an offset; `None` where the frame ends before.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// The number. The programs have it without what the verifier knows of it: otherwise no two
    /// steps of a walk look alike to the verifier, and it gives up.
    #[inline(always)]
    fn unknown(&self, number: usize) -> usize {
        number
    }

    /// Takes at most so many steps, until one breaks. The programs do it by `bpf_loop`: without
    /// CAP_PERFMON the verifier gives up on a loop, as it follows each branch as if the CPU took
    /// the wrong one.
    #[inline(always)]
    fn walk(&self, most: u32, walk: &mut impl Walk) {
        for _ in 0..most {
            if walk.step(self).is_break() {
                break;
            }
        }
    }
}

/// A walk through a frame.
pub trait Walk {
    /// Takes the next step.
    fn step(&mut self, frame: &(impl Bytes + ?Sized)) -> ControlFlow<()>;
}

impl Bytes for [u8] {
    fn length(&self) -> usize {
        self.len()
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// An Ethernet address.
pub type Mac = [u8; 6];

/// A packet in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Its Ethertype; 0: none.
    pub protocol: u16,
    /// Offset of its first byte.
    pub start: usize,
    /// Offset behind its last byte, and behind padding where the frame has no length field.
    pub end: usize,
}

/// Looks into a frame from a VM; the error is why it is refused. `flags` as in
/// [`crate::decide::decide`].
#[inline(always)]
pub fn check(flags: u32, frame: &(impl Bytes + ?Sized), owner: impl Owner) -> Result<(), Reason> {
    if flags & MAC_GUARD != 0 && !owner.has_mac(frame.read(6).ok_or(Reason::Malformed)?) {
        return Err(Reason::MacSpoofed);
    }
    let packet = packet(frame)?;
    match packet.protocol {
        ARP | RARP if flags & (MAC_GUARD | IP_GUARD) != 0 => {
            arp::check(flags, frame, packet, owner)
        }
        IPV4 if flags & (DHCP_GUARD | QUERIER_GUARD | IP_GUARD) != 0 => {
            ipv4::check(flags, frame, packet, owner)
        }
        IPV6 => ipv6::check(flags, frame, packet, owner),
        _ => Ok(()),
    }
}

/// The bytes at an offset, all of which must be before an end.
///
/// Without a comparison, from which the verifier would learn; see [`Bytes::unknown`]. Beyond the
/// end, the offset is one that no frame has.
#[inline(always)]
pub(crate) fn before<const N: usize>(
    end: usize,
    frame: &(impl Bytes + ?Sized),
    offset: usize,
) -> Result<[u8; N], Reason> {
    let left = end.wrapping_sub(offset + N).cast_signed();
    let beyond = (left >> (isize::BITS - 1)).cast_unsigned();
    frame.read(offset | beyond).ok_or(Reason::Malformed)
}

/// The ports of a UDP header (RFC 768), which must be whole.
#[inline(always)]
fn ports(end: usize, frame: &(impl Bytes + ?Sized), offset: usize) -> Result<(u16, u16), Reason> {
    let [a, b, c, d, ..] = before::<8>(end, frame, offset)?;
    Ok((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[cfg(test)]
mod tests;
