//! Builds the executables of the tests, the demo and the benchmarks. cargo reports their paths.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One profile for everything, so that a fresh machine compiles once.
const PROFILE: &str = "--release";

/// The agent.
pub fn netagent() -> Result<PathBuf> {
    netagent_by(Command::new("cargo"))
}

/// The agent of another copy of the tree, built into a target directory beside the copy.
pub fn netagent_in(tree: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(tree).env("CARGO_TARGET_DIR", tree.with_file_name("target"));
    netagent_by(cargo)
}

fn netagent_by(cargo: Command) -> Result<PathBuf> {
    println!("build: netagent and its eBPF programs");
    executable(cargo, &["build", PROFILE, "--locked", "--package", "netagent", "--bin", "netagent"])
}

/// The tests of a package in one executable.
pub fn tests(package: &str) -> Result<PathBuf> {
    println!("build: tests of {package}");
    let test = ["test", PROFILE, "--locked", "--no-run", "--package", package, "--lib"];
    executable(Command::new("cargo"), &test)
}

/// The tests of this package.
pub fn own_tests() -> Result<PathBuf> {
    println!("build: tests of xtask");
    executable(Command::new("cargo"), &["test", "--locked", "--no-run", "--package", "xtask"])
}

fn executable(mut cargo: Command, arguments: &[&str]) -> Result<PathBuf> {
    let output = cargo
        .args(arguments)
        .args(["--quiet", "--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    if !output.status.success() {
        bail!("cargo {}: {}", arguments.join(" "), output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
        .next_back()
        .with_context(|| format!("cargo {}: made no executable", arguments.join(" ")))
}
