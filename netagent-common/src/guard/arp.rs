//! ARP and RARP over Ethernet (RFC 826, RFC 903).

use core::ops::RangeInclusive;

use super::{Bytes, Mac, Owner, Packet, before, owner::has_v4};
use crate::{
    counters::Reason,
    policy::{IP_GUARD, MAC_GUARD},
};

/// Bytes of a message; behind it may be padding.
const MESSAGE: usize = 28;
/// Hardware types: Ethernet, and IEEE 802, which Linux takes for Ethernet.
const ETHERNET: [u8; 2] = [1, 6];
/// Protocol IPv4, with addresses of six and of four bytes.
const IPV4_OVER_ETHERNET: [u8; 4] = [8, 0, 6, 4];
/// Requests and replies, also of RARP (RFC 903), DRARP (RFC 1931) and inverse ARP (RFC 2390): some
/// hypervisors announce a VM by RARP with an operation of ARP.
const OPERATIONS: RangeInclusive<u8> = 1..=9;

#[inline(always)]
pub fn check(
    flags: u32,
    frame: &(impl Bytes + ?Sized),
    packet: Packet,
    owner: impl Owner,
) -> Result<(), Reason> {
    let mac = sender(frame, packet)?;
    if flags & MAC_GUARD != 0 && !owner.has_mac(mac) {
        return Err(Reason::ArpSpoofed);
    }
    if flags & IP_GUARD == 0 {
        return Ok(());
    }
    // The sender's, the target's Ethernet address, the target's.
    let [a, b, c, d, _, _, _, _, _, _, target @ ..] =
        before::<14>(packet.end, frame, packet.start + 14)?;
    let sender = [a, b, c, d];
    // A probe has no sender, and makes another station give up the address (RFC 5227 §2.1.1).
    let about = if sender == [0; 4] { target } else { sender };
    if has_v4(owner, about) { Ok(()) } else { Err(Reason::ArpIpSpoofed) }
}

/// The sender's hardware address. It is elsewhere if addresses have other lengths: no stack sends
/// such a message over Ethernet.
#[inline(always)]
pub fn sender(frame: &(impl Bytes + ?Sized), packet: Packet) -> Result<Mac, Reason> {
    let start = packet.start;
    let [high, hardware, protocol @ .., zero, operation] = before::<8>(packet.end, frame, start)?;
    let is_known = high == 0
        && ETHERNET.contains(&hardware)
        && protocol == IPV4_OVER_ETHERNET
        && zero == 0
        && OPERATIONS.contains(&operation);
    if !is_known || start + MESSAGE > packet.end {
        return Err(Reason::Malformed);
    }
    before(packet.end, frame, start + 8)
}
