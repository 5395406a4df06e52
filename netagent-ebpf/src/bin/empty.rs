//! Programs that do nothing: the base that `cargo xtask bench` compares with.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    clippy::not_unsafe_ptr_arg_deref,
    reason = "what the macros of aya make of the programs"
)]

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

/// The cost of calling a TC program.
#[classifier]
pub fn empty_tc(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// The cost of calling an XDP program.
#[xdp(frags)]
pub fn empty_xdp(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

netagent_ebpf::object!();
