//! Checks besides the tests that every change must pass: formatting, lints of the agent and of the
//! programs, documentation, rules for dependencies.

use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};

use crate::command::{output, run};
use crate::setup;

/// The version that reads deny.toml.
const CARGO_DENY: &str = "0.20.2";

/// Runs all checks. The first that fails ends the run.
pub fn all() -> Result<()> {
    setup::all()?;
    fast()?;
    let mut docs = cargo("doc --locked --workspace --exclude netagent-ebpf --no-deps");
    docs.env("RUSTDOCFLAGS", "--deny warnings");
    step("documentation", docs)?;
    step("dependencies", deny()?)
}

/// The checks that `cargo xtask test` begins with: those that need no dependency compiled in full.
pub fn fast() -> Result<()> {
    step("formatting", cargo("fmt --all -- --check"))?;
    // Beside each other: they have target directories of their own.
    thread::scope(|scope| {
        let programs = scope.spawn(|| step("lints of the programs", programs()));
        step(
            "lints of the agent",
            cargo(
                // The profile of the tests, which use what build scripts made here.
                "clippy --quiet --release --locked --workspace --exclude netagent-ebpf \
                 --all-targets -- --deny warnings",
            ),
        )?;
        programs.join().map_err(|_| anyhow!("the thread that lints the programs panicked"))?
    })
}

fn step(what: &str, mut command: Command) -> Result<()> {
    println!("check: {what}");
    run(&mut command).with_context(|| format!("check {what}"))
}

fn cargo(arguments: &str) -> Command {
    let mut command = Command::new("cargo");
    command.arg("--quiet").args(arguments.split(' '));
    command
}

/// Lints the programs for the target for which netagent/build.rs compiles them.
fn programs() -> Command {
    let mut clippy = cargo(
        "clippy --quiet --locked --package netagent-ebpf --bins -Z build-std=core --target bpfel-unknown-none",
    );
    // A separate target directory: the flags differ, and cargo would compile everything again each
    // time.
    clippy.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", "target/ebpf-clippy");
    clippy.env("RUSTFLAGS", "--cfg bpf_target_arch=\"x86_64\" --deny warnings");
    clippy
}

/// cargo-deny, installed at the first time. All its checks but advisories, which need a database
/// from the network.
fn deny() -> Result<Command> {
    if output(Command::new("cargo-deny").arg("--version")).is_err() {
        setup::cargo_install("cargo-deny", CARGO_DENY)?;
    }
    let mut deny = Command::new("cargo-deny");
    deny.args(["--log-level", "error", "check", "bans", "licenses", "sources"]);
    Ok(deny)
}
