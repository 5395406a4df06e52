//! A wire for `cargo xtask bench`: brings frames to a device as a NIC's driver has them, before there is an skb.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    clippy::needless_pass_by_value,
    reason = "what the macros of aya make of the programs"
)]

use aya_ebpf::{
    bindings::xdp_action::XDP_DROP, helpers::generated::bpf_redirect, macros::xdp,
    programs::XdpContext,
};

/// Sends a frame to the device whose interface index is in the last two bytes of its source address. The frame begins with what
/// it has a copy of behind: its memory is used again and again, and whoever received it last may have changed its header.
#[xdp]
pub fn wire_send(ctx: XdpContext) -> u32 {
    const INDEX: usize = 10;
    type Header = [u8; 18];
    const COPY: usize = 32;
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + COPY + size_of::<Header>() > end {
        return XDP_DROP;
    }
    // SAFETY: within the packet, as just checked; a byte array has no alignment.
    let header = unsafe { *((start + COPY) as *const Header) };
    // SAFETY: the same.
    unsafe { *(start as *mut Header) = header };
    let index = u16::from_be_bytes([header[INDEX], header[INDEX + 1]]);
    // SAFETY: an interface index and no flags.
    let action = unsafe { bpf_redirect(u32::from(index), 0) };
    u32::try_from(action).unwrap_or(XDP_DROP)
}

/// Where a frame arrives and nothing becomes of it: the cost of the wire itself.
#[xdp]
pub fn wire_end(_ctx: XdpContext) -> u32 {
    XDP_DROP
}

netagent_ebpf::object!();
