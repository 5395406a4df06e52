//! What every change has to pass besides the tests: formatting, lints of both halves, documentation, and the
//! rules for dependencies.

use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{output, run};
use crate::setup;

/// The version that reads deny.toml.
const CARGO_DENY: &str = "0.20.2";

/// Runs them all; the first that complains ends it.
pub fn all() -> Result<()> {
    setup::all()?;
    step("formatting", cargo("fmt --all -- --check"))?;
    step(
        "lints of the agent",
        cargo(
            "clippy --locked --workspace --exclude netagent-ebpf --all-targets -- --deny warnings",
        ),
    )?;
    step("lints of the programs", programs())?;
    let mut docs = cargo("doc --locked --workspace --exclude netagent-ebpf --no-deps");
    docs.env("RUSTDOCFLAGS", "--deny warnings");
    step("documentation", docs)?;
    step("dependencies", deny()?)
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

/// As netagent/build.rs compiles them, for their own target.
fn programs() -> Command {
    let mut clippy = cargo(
        "clippy --locked --package netagent-ebpf --bins -Z build-std=core --target bpfel-unknown-none",
    );
    // With a target directory of its own: other flags would make cargo compile the rest anew each time.
    clippy.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", "target/ebpf-clippy");
    clippy.env("RUSTFLAGS", "--cfg bpf_target_arch=\"x86_64\" --deny warnings");
    clippy
}

/// cargo-deny, installed at the first time. Advisories need a database from elsewhere, so only the rest is asked for.
fn deny() -> Result<Command> {
    if output(Command::new("cargo-deny").arg("--version")).is_err() {
        println!("setup: cargo install cargo-deny {CARGO_DENY} (takes some minutes, once)");
        let install = ["install", "--quiet", "--locked", "cargo-deny", "--version", CARGO_DENY];
        run(Command::new("cargo").args(install)).context("install cargo-deny")?;
    }
    let mut deny = Command::new("cargo-deny");
    deny.args(["--log-level", "error", "check", "bans", "licenses", "sources"]);
    Ok(deny)
}
