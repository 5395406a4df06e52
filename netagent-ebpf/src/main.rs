//! The programs, and the one place where a verdict becomes an action.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    clippy::needless_pass_by_value,
    clippy::not_unsafe_ptr_arg_deref,
    reason = "what the macros of aya make of the programs"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "fields of the contexts are wider than what they hold"
)]

mod checks;
mod drops;
mod forward;
mod log;
mod maps;
mod packet;
mod repeat;
mod walk;

use aya_ebpf::{
    Global,
    bindings::{
        TC_ACT_SHOT, TC_ACT_UNSPEC,
        xdp_action::{XDP_DROP, XDP_PASS},
    },
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use netagent_common::{
    counters::{ANY_PORT, ANY_VID, Direction, Reason},
    decide::{Verdict, decide},
    policy::{FAST_XDP, OPTIONAL, Policy, TAGS_IN_BYTES},
    segments::Frames,
};

use crate::{forward::Egress, maps::Drop, packet::Skb};

/// The optional flags that ports of this program may have. They are frozen when the program is
/// loaded: the verifier removes the code for all other flags.
#[unsafe(no_mangle)]
static FLAGS: Global<u32> = Global::new(OPTIONAL);

/// The flags of a port that this program has code for.
#[inline(always)]
fn flags(policy: &Policy) -> u32 {
    policy.flags & (!OPTIONAL | FLAGS.load())
}

/// Drops frames early that `uplink_in` would drop for their VID, and redirects known unicast to
/// ports that support it, if the tag is known to be in the bytes. All other frames are passed to
/// `uplink_in`, which decides: link-local frames above all, because LACP would fail otherwise.
#[xdp(frags)]
pub fn uplink_xdp(ctx: XdpContext) -> u32 {
    // On a bond the program runs on the member. The port index leads from its ifindex to the bond's
    // policy.
    let Some(policy) = maps::policy(ctx.ingress_ifindex() as u32) else { return XDP_PASS };
    if !policy.has(TAGS_IN_BYTES) {
        return XDP_PASS;
    }
    let Ok(headers) = packet::xdp_headers(&ctx) else { return XDP_PASS };
    let flags = flags(policy);
    match decide(policy, flags, headers, Direction::Receive) {
        Verdict::Pass(vid, tagging) if flags & FAST_XDP != 0 => {
            forward::xdp(&ctx, policy, headers, vid, tagging)
        }
        Verdict::Drop(vid, reason @ (Reason::VlanNotAllowed | Reason::ReservedVid)) => {
            let bytes = packet::xdp_untagged_bytes(&ctx, headers.tpid != 0);
            let drop = Drop { port: policy.port, vid, direction: Direction::Receive, reason };
            drops::xdp(ctx.ctx, bytes, drop);
            XDP_DROP
        }
        Verdict::Drop(..) | Verdict::Pass(..) => XDP_PASS,
    }
}

/// From the wire.
#[classifier]
pub fn uplink_in(ctx: TcContext) -> i32 {
    filter(&ctx, Direction::Receive, no_checks)
}

/// To the wire.
#[classifier]
pub fn uplink_out(ctx: TcContext) -> i32 {
    filter(&ctx, Direction::Transmit, no_checks)
}

/// From a VM.
#[classifier]
pub fn port_in(ctx: TcContext) -> i32 {
    filter(&ctx, Direction::Receive, checks::from_vm)
}

/// To a VM.
#[classifier]
pub fn port_out(ctx: TcContext) -> i32 {
    filter(&ctx, Direction::Transmit, checks::to_vm)
}

/// Stands for a program that moves before all others of its device; see
/// netagent/src/datapath/front.rs.
#[classifier]
pub fn closed(_ctx: TcContext) -> i32 {
    TC_ACT_SHOT
}

/// The checks of a port besides VLANs, for a port with these flags and a frame in this VLAN.
type Checks = fn(&Skb<'_>, &Policy, u32, u16, Frames) -> Option<Reason>;

fn no_checks(_: &Skb<'_>, _: &Policy, _: u32, _: u16, _: Frames) -> Option<Reason> {
    None
}

/// Decides, tags and counts. A frame that passes is sent by the fast path, or goes on to the next
/// program and the bridge (`TC_ACT_UNSPEC`, which is `TCX_NEXT`). An error drops the frame.
#[inline(always)]
fn filter(ctx: &TcContext, direction: Direction, checks: Checks) -> i32 {
    let skb = Skb(ctx);
    let packets = skb.packets();
    let Some(policy) = maps::policy(skb.ifindex()) else {
        let reason = Reason::NoPolicy;
        let drop = Drop { port: ANY_PORT, vid: ANY_VID, direction, reason };
        drops::skb(skb.raw(), skb.ifindex(), packets, drop);
        return TC_ACT_SHOT;
    };
    match pass(&skb, policy, direction, checks, packets) {
        Ok(action) => action,
        Err((vid, reason)) => {
            let drop = Drop { port: policy.port, vid, direction, reason };
            drops::skb(skb.raw(), skb.ifindex(), packets, drop);
            TC_ACT_SHOT
        }
    }
}

/// The TC action for a frame that passes; otherwise the VID of the frame and the reason to drop it.
#[inline(always)]
fn pass(
    skb: &Skb<'_>,
    policy: &Policy,
    direction: Direction,
    checks: Checks,
    packets: Frames,
) -> Result<i32, (u16, Reason)> {
    let bytes = skb.bytes();
    let flags = flags(policy);
    let headers = skb.headers(flags, direction).map_err(|reason| (0, reason))?;
    match decide(policy, flags, headers, direction) {
        Verdict::Pass(vid, tagging) => {
            // Before the tag is changed: that moves bytes.
            if let Some(reason) = checks(skb, policy, flags, vid, packets) {
                return Err((vid, reason));
            }
            let egress = match direction {
                Direction::Receive => forward::egress(skb, policy, vid),
                Direction::Transmit => None,
            };
            if let Some(Egress { port: to, bypass: true }) = egress
                && let Some(sent) =
                    forward::into_peer(skb, policy, to, headers, vid, tagging, packets)
            {
                return sent.map_err(|reason| (vid, reason));
            }
            // The bridge has let them pass, whatever their length.
            if matches!(direction, Direction::Transmit) && !skb.segments_fit(skb.ifindex()) {
                return Err((vid, Reason::TooLong));
            }
            skb.tag(tagging).map_err(|reason| (vid, reason))?;
            maps::count(policy, vid, direction, packets.count(), bytes);
            Ok(match egress {
                Some(egress) => forward::send(skb, policy, vid, egress, packets),
                None => TC_ACT_UNSPEC,
            })
        }
        Verdict::Drop(vid, reason) => Err((vid, reason)),
    }
}

netagent_ebpf::object!();
