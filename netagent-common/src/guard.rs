//! What a VM may say of itself: its addresses, and whether it is a DHCP server or an IPv6 router.
//!
//! A sender hides behind tags, LLC/SNAP (VU#855201), IPv6 extension headers and fragments (RFC
//! 7113): the walk goes through all of them, within bounds, and what is beyond the bounds is
//! refused.

use core::ops::ControlFlow;

use crate::{
    counters::Reason,
    policy::{DHCP_GUARD, MAC_GUARD, RA_GUARD},
    vlan::is_tpid,
};

mod ipv6;

pub(crate) use self::ipv6::{
    ICMPV6, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, ROUTER_SOLICITATION, upper_layer,
};

/// Flags of ports whose frames are looked into.
pub const GUARDS: u32 = MAC_GUARD | DHCP_GUARD | RA_GUARD;

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const RARP: u16 = 0x8035;
pub(crate) const IPV6: u16 = 0x86dd;

const UDP: u8 = 17;

/// Length of an Ethernet address pair, behind which the Ethertype is.
const ADDRESSES: usize = 12;
/// Largest value of the field behind the addresses that is a length (IEEE 802.3 §3.2.6).
const MAX_LENGTH: u16 = 1500;
/// LLC header of SNAP with the OUI of RFC 1042, or of bridge tunnels (IEEE 802.1H).
const SNAP: [[u8; 6]; 2] = [[0xaa, 0xaa, 3, 0, 0, 0], [0xaa, 0xaa, 3, 0, 0, 0xf8]];
/// Most tags and LLC headers before a protocol.
const MAX_LAYERS: u32 = 4;

/// The bytes of a frame.
pub trait Bytes {
    /// Those at an offset; `None` where the frame ends before.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

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
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Looks into a frame from a VM; the error is why it is refused. `flags` as in
/// [`crate::decide::decide`]; `owns` tells whether the VM may use an address.
#[inline(always)]
pub fn check(
    flags: u32,
    frame: &(impl Bytes + ?Sized),
    owns: impl Fn(Mac) -> bool + Copy,
) -> Result<(), Reason> {
    if flags & MAC_GUARD != 0 && !owns(read(frame, 6)?) {
        return Err(Reason::MacSpoofed);
    }
    let (protocol, offset) = protocol(frame)?;
    match protocol {
        ARP | RARP if flags & MAC_GUARD != 0 => arp(frame, offset, owns),
        IPV4 if flags & DHCP_GUARD != 0 => ipv4(frame, offset),
        IPV6 => ipv6::check(flags, frame, offset, owns),
        _ => Ok(()),
    }
}

/// What the frame carries, and where that begins.
#[inline(always)]
pub(crate) fn protocol(frame: &(impl Bytes + ?Sized)) -> Result<(u16, usize), Reason> {
    let mut layers = Layers { offset: ADDRESSES, result: Err(Reason::StackedTag) };
    frame.walk(MAX_LAYERS, &mut layers);
    layers.result
}

/// The tags and LLC headers before a protocol.
struct Layers {
    /// The offset of an Ethertype or length.
    offset: usize,
    result: Result<(u16, usize), Reason>,
}

impl Walk for Layers {
    #[inline(always)]
    fn step(&mut self, frame: &(impl Bytes + ?Sized)) -> ControlFlow<()> {
        let offset = self.offset;
        let Some(ethertype) = frame.read(offset).map(u16::from_be_bytes) else {
            self.result = Err(Reason::Malformed);
            return ControlFlow::Break(());
        };
        let protocol = if is_tpid(ethertype) {
            self.offset += 4;
            return ControlFlow::Continue(());
        } else if ethertype > MAX_LENGTH {
            ethertype
        } else {
            match frame.read::<6>(offset + 2) {
                // The Ethertype of SNAP is where that of a frame without it would be.
                Some(llc) if SNAP.contains(&llc) => {
                    self.offset += 8;
                    return ControlFlow::Continue(());
                }
                _ => 0,
            }
        };
        self.result = Ok((protocol, offset + 2));
        ControlFlow::Break(())
    }
}

/// ARP and RARP over Ethernet (RFC 826, RFC 903): the sender's hardware address.
#[inline(always)]
fn arp(
    frame: &(impl Bytes + ?Sized),
    offset: usize,
    owns: impl Fn(Mac) -> bool,
) -> Result<(), Reason> {
    if owns(read(frame, offset + 8)?) { Ok(()) } else { Err(Reason::ArpSpoofed) }
}

/// DHCP over IPv4 (RFC 2131 §4.1): a server sends from port 67, and to port 68.
#[inline(always)]
fn ipv4(frame: &(impl Bytes + ?Sized), offset: usize) -> Result<(), Reason> {
    let [version_and_length] = read(frame, offset)?;
    let fragment = u16::from_be_bytes(read(frame, offset + 6)?) & 0x1fff;
    let [protocol] = read(frame, offset + 9)?;
    // Ports are in the first fragment only, and without it the others come to nothing.
    if protocol != UDP || fragment != 0 {
        return Ok(());
    }
    let offset = offset + usize::from(version_and_length & 0xf) * 4;
    let (from, to) = ports(frame, offset)?;
    if from == 67 || to == 68 { Err(Reason::DhcpServer) } else { Ok(()) }
}

#[inline(always)]
fn ports(frame: &(impl Bytes + ?Sized), offset: usize) -> Result<(u16, u16), Reason> {
    let [a, b, c, d] = read(frame, offset)?;
    Ok((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[inline(always)]
fn read<const N: usize>(frame: &(impl Bytes + ?Sized), offset: usize) -> Result<[u8; N], Reason> {
    frame.read(offset).ok_or(Reason::Malformed)
}

#[cfg(test)]
mod tests;
