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
mod maps;
mod packet;

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
};

use crate::{maps::Drop, packet::Skb};

/// The optional flags that ports of this program may have. Frozen when the program is loaded: the verifier removes the code
/// of all others.
#[unsafe(no_mangle)]
static FLAGS: Global<u32> = Global::new(OPTIONAL);

/// The flags of a port, as far as this program knows them.
#[inline(always)]
fn flags(policy: &Policy) -> u32 {
    policy.flags & (!OPTIONAL | FLAGS.load())
}

/// Drops early what `uplink_in` would drop for its VID, and forwards known unicast to ports that take it from here, where the
/// tag is known to be in the bytes. Everything else goes on to `uplink_in`, which is the authority: link-local frames
/// above all, or LACP would die here.
#[xdp(frags)]
pub fn uplink_xdp(ctx: XdpContext) -> u32 {
    // On a bond this runs on the member, whose ifindex leads to the bond's policy.
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
            drops::xdp(
                ctx.ctx,
                Drop { port: policy.port, vid, direction: Direction::Receive, reason },
            );
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

/// What a port checks besides VLANs, of a frame in this VLAN: the flags are those that the port has.
type Checks = fn(&Skb<'_>, &Policy, u32, u16) -> Option<Reason>;

fn no_checks(_: &Skb<'_>, _: &Policy, _: u32, _: u16) -> Option<Reason> {
    None
}

/// Decides, tags and counts. What passes goes past the bridge where its way is known, else on to the programs and the
/// bridge behind (`TC_ACT_UNSPEC`, which is `TCX_NEXT`); whatever goes wrong drops the frame.
#[inline(always)]
fn filter(ctx: &TcContext, direction: Direction, checks: Checks) -> i32 {
    let skb = Skb(ctx);
    let Some(policy) = maps::policy(skb.ifindex()) else {
        let reason = Reason::NoPolicy;
        drops::skb(skb.raw(), Drop { port: ANY_PORT, vid: ANY_VID, direction, reason });
        return TC_ACT_SHOT;
    };
    match pass(&skb, policy, direction, checks) {
        Ok(action) => action,
        Err((vid, reason)) => {
            drops::skb(skb.raw(), Drop { port: policy.port, vid, direction, reason });
            TC_ACT_SHOT
        }
    }
}

/// What to return to TC of a frame that passes; else its VID and what is wrong with it.
#[inline(always)]
fn pass(
    skb: &Skb<'_>,
    policy: &Policy,
    direction: Direction,
    checks: Checks,
) -> Result<i32, (u16, Reason)> {
    let bytes = skb.bytes();
    let flags = flags(policy);
    let headers = skb.headers(flags, direction).map_err(|reason| (0, reason))?;
    match decide(policy, flags, headers, direction) {
        Verdict::Pass(vid, tagging) => {
            // Before the tag changes, which moves bytes.
            if let Some(reason) = checks(skb, policy, flags, vid) {
                return Err((vid, reason));
            }
            let to = match direction {
                Direction::Receive => forward::port(skb, policy, vid),
                Direction::Transmit => None,
            };
            if let Some(to) = to
                && let Some(sent) = forward::into_peer(skb, policy, to, headers, vid, tagging)
            {
                return sent.map_err(|reason| (vid, reason));
            }
            skb.tag(tagging).map_err(|reason| (vid, reason))?;
            maps::count(policy, vid, direction, skb.packets(), bytes);
            Ok(to.map_or(TC_ACT_UNSPEC, |to| forward::redirect(skb, policy, to)))
        }
        Verdict::Drop(vid, reason) => Err((vid, reason)),
    }
}

netagent_ebpf::object!();
