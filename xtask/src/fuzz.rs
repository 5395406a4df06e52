//! Fuzzes with libFuzzer as cargo-fuzz does, but without cargo-fuzz and on the pinned compiler:
//! coverage comes from LLVM passes that need no nightly flag.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::run as succeed;

/// Number of inputs of `cargo xtask test`, which takes some seconds.
pub const RUNS: u32 = 300_000;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// Builds the target and feeds it `runs` inputs.
pub fn run(runs: u32) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("find the workspace")?;
    let manifest = root.join("fuzz/Cargo.toml");
    let target = root.join("target/fuzz");
    println!("fuzz: {runs} frames and policies against the decision and the guards");
    succeed(
        Command::new("cargo")
            .args(["build", "--quiet", "--release", "--locked", "--target", TARGET])
            .arg("--manifest-path")
            .arg(&manifest)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")),
    )
    .context("build the fuzz target")?;
    let corpus = target.join("corpus");
    std::fs::create_dir_all(&corpus).with_context(|| format!("create {}", corpus.display()))?;
    let fuzzer = target.join(TARGET).join("release/frame");
    // A fixed seed: a failure in CI can be repeated.
    let mut fuzz = Command::new(&fuzzer);
    fuzz.args(["-seed=1", "-max_len=256", "-print_final_stats=1"]).arg(format!("-runs={runs}"));
    fuzz.arg(format!("-artifact_prefix={}/", target.display())).arg(&corpus);
    let result = fuzz.output().context("start the fuzzer")?;
    let report = String::from_utf8_lossy(&result.stderr);
    if !result.status.success() {
        bail!("the fuzzer found this:\n{report}");
    }
    let covered = report.lines().rfind(|line| line.contains("cov:")).unwrap_or_default();
    println!("fuzz: nothing found; {}", covered.trim());
    Ok(())
}
