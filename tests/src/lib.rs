//! netagent, the binary, on real links with real frames.
//!
//! Every test makes network namespaces of its own and runs the agent in one of them; nothing of the host is
//! touched. `NETAGENT` names the binary. What a kernel lacks is skipped by `needs`, which prints a line that
//! `cargo xtask test` counts: a test that no kernel of the matrix runs is a failure.
#![cfg(test)]
#![expect(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::needless_for_each,
    reason = "tests are read, not reused"
)]

mod frame;
mod lab;
mod node;
mod program;
mod rng;
mod wire;

mod bond;
mod change;
mod flood;
mod forward;
mod lacp;
mod leak;
mod metrics;
mod mgmt;
mod monitor;
mod oracle;
mod ovs;
mod peers;
mod pins;
mod program_log;
mod qinq;
mod rename;
mod restart;
mod room;
mod scale;
mod scenario;
mod security;
mod untagged_host;
mod verdict;

/// Parts of a kernel that a test cannot do without.
#[derive(Clone, Copy, Debug)]
enum Feature {
    Bonding,
    VlanDevices,
    VlanFiltering,
    Tcx,
}

/// Whether this kernel has all of these; if not, says so, and the test is to return.
fn needs(features: &[Feature]) -> bool {
    let missing: Vec<_> = features.iter().filter(|feature| !lab::kernel_has(**feature)).collect();
    if !missing.is_empty() {
        let name = std::thread::current().name().unwrap_or("?").to_owned();
        println!("skipped: {name}: kernel {} lacks {missing:?}", lab::kernel_release());
    }
    missing.is_empty()
}

/// Whether a program is installed; if not, says so, and the test is to return.
fn needs_program(program: &str) -> bool {
    let there = lab::output(&format!("command -v {program}")).status.success();
    if !there {
        let name = std::thread::current().name().unwrap_or("?").to_owned();
        println!("skipped: {name}: {program} is not aboard with kernel {}", lab::kernel_release());
    }
    there
}
