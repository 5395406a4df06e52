//! The usual way to check VLANs: one hash map says which (port, VID) may pass, another counts them.
//! What `cargo xtask bench` compares the policy records of netagent with; no more than these two,
//! so that the comparison is hard.
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
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC},
    btf_maps::{HashMap, PerCpuHashMap},
    macros::{btf_map, classifier},
    programs::TcContext,
};
use netagent_common::MAX_PAIRS;

/// As many as netagent counts.
const PAIRS: usize = MAX_PAIRS as usize;

/// A port's interface index, and a VID.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Pair {
    ifindex: u32,
    vid: u32,
}

/// Frames of a pair.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Stats {
    packets: u64,
    bytes: u64,
}

/// The pairs that may pass.
#[btf_map]
static ALLOWED: HashMap<Pair, u32, PAIRS> = HashMap::new();

/// Their frames.
#[btf_map]
static COUNTED: PerCpuHashMap<Pair, Stats, PAIRS> = PerCpuHashMap::new();

/// Checks and counts.
#[classifier]
pub fn hashed_tc(ctx: TcContext) -> i32 {
    match check(&ctx) {
        Some(()) => TC_ACT_UNSPEC,
        None => TC_ACT_SHOT,
    }
}

#[inline(always)]
fn check(ctx: &TcContext) -> Option<()> {
    const TAG: usize = 14;
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    // SAFETY: the verifier checks field reads of the context.
    let (ifindex, present, tci) = unsafe { ((*skb).ifindex, (*skb).vlan_present, (*skb).vlan_tci) };
    let tci = if present != 0 {
        tci
    } else {
        let (start, end) = (ctx.data(), ctx.data_end());
        if start + TAG + 2 > end {
            return None;
        }
        // SAFETY: within the packet, as just checked; a byte array has no alignment.
        let [a, b, tci @ ..] = unsafe { *((start + TAG - 2) as *const [u8; 4]) };
        if [a, b] == [0x81, 0] { u32::from(u16::from_be_bytes(tci)) } else { 0 }
    };
    let pair = Pair { ifindex, vid: tci & 0xfff };
    ALLOWED.get_ptr(&pair)?;
    let stats = COUNTED.get_ptr_mut(&pair)?;
    // SAFETY: this CPU's value, and TC programs run with bottom halves off.
    unsafe {
        (*stats).packets += 1;
        (*stats).bytes += u64::from(ctx.len());
    }
    Some(())
}

netagent_ebpf::object!();
