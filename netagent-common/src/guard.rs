//! What a VM may say of itself: its addresses, and whether it is a DHCP server or an IPv6 router.
//!
//! A sender hides behind tags, LLC/SNAP (VU#855201), IPv6 extension headers and fragments (RFC
//! 7113): the walk goes through all of them, within bounds, and what is beyond the bounds is
//! refused.

use crate::{
    counters::Reason,
    policy::{DHCP_GUARD, MAC_GUARD, RA_GUARD},
    vlan::is_tpid,
};

mod ipv6;

/// Flags of ports whose frames are looked into.
pub const GUARDS: u32 = MAC_GUARD | DHCP_GUARD | RA_GUARD;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const IPV6: u16 = 0x86dd;

const UDP: u8 = 17;

/// Length of an Ethernet address pair, behind which the Ethertype is.
const ADDRESSES: usize = 12;
/// Largest value of the field behind the addresses that is a length (IEEE 802.3 §3.2.6).
const MAX_LENGTH: u16 = 1500;
/// LLC header of SNAP with the OUI of RFC 1042, or of bridge tunnels (IEEE 802.1H).
const SNAP: [[u8; 6]; 2] = [[0xaa, 0xaa, 3, 0, 0, 0], [0xaa, 0xaa, 3, 0, 0, 0xf8]];
/// Most tags and LLC headers before a protocol.
const MAX_LAYERS: usize = 4;

/// The bytes of a frame.
pub trait Bytes {
    /// Those at an offset; `None` where the frame ends before.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
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
    owns: impl Fn(Mac) -> bool,
) -> Result<(), Reason> {
    if flags & MAC_GUARD != 0 && !owns(read(frame, 6)?) {
        return Err(Reason::MacSpoofed);
    }
    let (protocol, offset) = protocol(frame)?;
    match protocol {
        ARP | RARP if flags & MAC_GUARD != 0 => arp(frame, offset, &owns),
        IPV4 if flags & DHCP_GUARD != 0 => ipv4(frame, offset),
        IPV6 => ipv6::check(flags, frame, offset, &owns),
        _ => Ok(()),
    }
}

/// What the frame carries, and where that begins.
#[inline(always)]
fn protocol(frame: &(impl Bytes + ?Sized)) -> Result<(u16, usize), Reason> {
    let mut offset = ADDRESSES;
    for _ in 0..MAX_LAYERS {
        let ethertype = u16::from_be_bytes(read(frame, offset)?);
        if is_tpid(ethertype) {
            offset += 4;
        } else if ethertype <= MAX_LENGTH {
            match frame.read::<6>(offset + 2) {
                // The Ethertype of SNAP is where that of a frame without it would be.
                Some(llc) if SNAP.contains(&llc) => offset += 8,
                _ => return Ok((0, offset + 2)),
            }
        } else {
            return Ok((ethertype, offset + 2));
        }
    }
    Err(Reason::StackedTag)
}

/// ARP and RARP over Ethernet (RFC 826, RFC 903): the sender's hardware address.
#[inline(always)]
fn arp(
    frame: &(impl Bytes + ?Sized),
    offset: usize,
    owns: &impl Fn(Mac) -> bool,
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
