//! A wire for `cargo xtask bench`: brings frames to a device as a NIC's driver has them, before
//! there is an skb.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    clippy::needless_pass_by_value,
    clippy::not_unsafe_ptr_arg_deref,
    reason = "what the macros of aya make of the programs"
)]

use aya_ebpf::{
    EbpfContext as _,
    bindings::{TC_ACT_SHOT, xdp_action::XDP_DROP},
    helpers::generated::{
        bpf_get_prandom_u32, bpf_redirect, bpf_redirect_peer, bpf_skb_vlan_pop, bpf_xdp_adjust_head,
    },
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

/// Sends a frame to the device whose interface index is in the last two bytes of its source
/// address. The frame begins with what it has a copy of behind: its memory is used again and again,
/// and the one that received it last may have changed its header.
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

/// Sends a frame to a station that chance picks: one of so many VMs, each in the VLAN of its
/// number, or one of two trunks, in any of so many VLANs. The frame has, behind its header, the
/// interface index of the device, and these two numbers.
#[xdp]
pub fn wire_spread(ctx: XdpContext) -> u32 {
    type Header = [u8; 18];
    const PLAN: usize = 32;
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + PLAN + size_of::<[u32; 3]>() > end {
        return XDP_DROP;
    }
    // SAFETY: within the packet, as just checked; as aligned as the machine wants it.
    let [index, vms, vids] = unsafe { *((start + PLAN) as *const [u32; 3]) };
    // SAFETY: takes nothing, and gives a number.
    let random = unsafe { bpf_get_prandom_u32() };
    let one_of = |count| (random >> 2).checked_rem(count).unwrap_or(0) + 1;
    let (kind, number, vid) = match random & 3 {
        trunk @ (0 | 1) => (4, trunk + 1, one_of(vids)),
        _ => (3, one_of(vms), one_of(vms)),
    };
    let [_, _, high, low] = number.to_be_bytes();
    let [_, _, tci_high, tci_low] = vid.to_be_bytes();
    let header: Header =
        [2, kind, 0, 0, high, low, 2, 2, 0, 0, 0, 1, 0x81, 0, tci_high, tci_low, 0x88, 0xb5];
    // SAFETY: within the packet, as just checked; a byte array has no alignment.
    unsafe { *(start as *mut Header) = header };
    // SAFETY: an interface index and no flags.
    let action = unsafe { bpf_redirect(index, 0) };
    u32::try_from(action).unwrap_or(XDP_DROP)
}

/// Destination and source address.
type Addresses = [u8; 12];

/// The least that forwarding by XDP costs: takes a tag off, and sends the frame to the device whose
/// interface index is in the last two bytes of its destination address.
#[xdp]
pub fn bare_xdp(ctx: XdpContext) -> u32 {
    const TAG: i32 = 4;
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + size_of::<Addresses>() > end {
        return XDP_DROP;
    }
    // SAFETY: within the packet, as just checked; a byte array has no alignment.
    let addresses = unsafe { *(start as *const Addresses) };
    // SAFETY: the context is this program's own.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, TAG) } != 0 {
        return XDP_DROP;
    }
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + size_of::<Addresses>() > end {
        return XDP_DROP;
    }
    // SAFETY: as above.
    unsafe { *(start as *mut Addresses) = addresses };
    let index = u16::from_be_bytes([addresses[4], addresses[5]]);
    // SAFETY: an interface index and no flags.
    let action = unsafe { bpf_redirect(u32::from(index), 0) };
    u32::try_from(action).unwrap_or(XDP_DROP)
}

/// The same by TC, to the other end of a veth pair.
#[classifier]
pub fn bare_tc(ctx: TcContext) -> i32 {
    let Ok(index) = ctx.load::<[u8; 2]>(4) else { return TC_ACT_SHOT };
    // SAFETY: the context is this program's own; an interface index and no flags.
    let action = unsafe {
        bpf_skb_vlan_pop(ctx.as_ptr().cast());
        bpf_redirect_peer(u32::from(u16::from_be_bytes(index)), 0)
    };
    i32::try_from(action).unwrap_or(TC_ACT_SHOT)
}

/// Where a frame arrives and nothing becomes of it: the cost of the wire itself.
#[xdp]
pub fn wire_end(_ctx: XdpContext) -> u32 {
    XDP_DROP
}

netagent_ebpf::object!();
