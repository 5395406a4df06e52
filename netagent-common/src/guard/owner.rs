//! The addresses that a VM may use.

use super::{Bytes, Mac};
use crate::{
    counters::Reason,
    policy::{Ip, mapped},
};

/// What a VM may use.
pub trait Owner: Copy {
    /// Whether an Ethernet address is one of the VM's.
    fn has_mac(self, mac: Mac) -> bool;

    /// Whether an IP address is one of the VM's; IPv4 as [`mapped`].
    fn has_ip(self, ip: Ip) -> bool;
}

/// The address of a station that has none as yet.
pub const NOBODY: Ip = [0; 4];

/// Whether a VM may use an IPv4 address. A VM without an address uses 0.0.0.0 (RFC 2131 §4.1, RFC
/// 5227 §1.1), which is nobody's.
#[inline(always)]
pub fn has_v4(owner: impl Owner, ip: [u8; 4]) -> bool {
    ip == [0; 4] || owner.has_ip(mapped(ip))
}

/// Whether a VM may use an IPv6 address: one of its own, the link-local one that follows from the
/// frame's source (RFC 4291 appendix A), or as yet none (RFC 4862 §5.4.2, RFC 3590).
#[inline(always)]
pub fn has_v6(owner: impl Owner, frame: &(impl Bytes + ?Sized), ip: Ip) -> Result<bool, Reason> {
    if ip == NOBODY || owner.has_ip(ip) {
        return Ok(true);
    }
    let mac: Mac = frame.read(6).ok_or(Reason::Malformed)?;
    let own = [
        u32::from_ne_bytes([0xfe, 0x80, 0, 0]),
        0,
        u32::from_ne_bytes([mac[0] ^ 2, mac[1], mac[2], 0xff]),
        u32::from_ne_bytes([0xfe, mac[3], mac[4], mac[5]]),
    ];
    Ok(ip == own)
}
