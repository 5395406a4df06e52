//! netagent, the binary, on real links with real frames.
//!
//! Every test makes network namespaces of its own and runs the agent in one of them; nothing of the
//! host is touched. `NETAGENT` names the binary. `needs` skips a test on a kernel that lacks
//! something, and prints a line that `cargo xtask test` counts: a test that no kernel of the matrix
//! runs is a failure. `once` declares that one kernel is enough.
#![cfg(test)]
#![expect(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::needless_for_each,
    reason = "tests are read, not reused"
)]

mod fence;
mod frame;
mod lab;
mod names;
mod node;
mod policy;
mod program;
mod rng;
mod tap;
mod unpacked;
mod wire;

mod admitted;
mod adopt;
mod advertisements;
mod bond;
mod capabilities;
mod change;
mod cni;
mod counters;
mod dhcp;
mod flood;
mod forward;
mod import;
mod indexes;
mod interrupted;
mod lacp;
mod leak;
mod libvirt;
mod limits;
mod managers;
mod metrics;
mod mgmt;
mod monitor;
mod mtu;
mod nodes;
mod oracle;
mod others;
mod ovs;
mod own;
mod patterns;
mod peers;
mod pins;
mod program_log;
mod qinq;
mod rename;
mod restart;
mod reused;
mod room;
mod scale;
mod scenario;
mod security;
mod shared;
mod silent;
mod snooping;
mod stations;
mod takeover;
mod units;
mod untagged_host;
mod verdict;

/// Parts of a kernel that a test cannot do without.
#[derive(Clone, Copy, Debug)]
enum Feature {
    Bonding,
    VlanDevices,
    VlanFiltering,
    Tcx,
    /// A program can push a tag over another.
    StackedTags,
}

/// Whether this kernel has all of these. If not, prints so, and the test must return.
fn needs(features: &[Feature]) -> bool {
    let missing: Vec<_> = features.iter().filter(|feature| !lab::kernel_has(**feature)).collect();
    if !missing.is_empty() {
        println!("skipped: {}: kernel {} lacks {missing:?}", test(), lab::kernel_release());
    }
    missing.is_empty()
}

/// Whether a program is installed. If not, prints so, and the test must return.
fn needs_program(program: &str) -> bool {
    let there = lab::output(&format!("command -v {program}")).status.success();
    if !there {
        println!("skipped: {}: no {program} on kernel {}", test(), lab::kernel_release());
    }
    there
}

/// Declares that the result of the test does not depend on the kernel. `cargo xtask test` then runs
/// the test on the first kernel that can: on this machine's, or else on one of the matrix.
fn once() {
    println!("once: {}", test());
}

/// Whether tests run in full length (`make soak`). Otherwise, long tests are cut short.
fn soak() -> bool {
    std::env::var_os("NETAGENT_SOAK").is_some()
}

/// The name of the running test.
fn test() -> String {
    std::thread::current().name().unwrap_or("?").to_owned()
}
