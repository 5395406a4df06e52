//! Builds the executables of the tests, the demo and the benchmarks. cargo reports their paths.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::setup;

/// One profile for everything, so that a fresh machine compiles once.
const PROFILE: &str = "--release";

/// The agent.
pub fn netagent() -> Result<PathBuf> {
    println!("build: netagent and its eBPF programs");
    executable(Command::new("cargo"), &NETAGENT)
}

const NETAGENT: [&str; 7] =
    ["build", PROFILE, "--locked", "--package", "netagent", "--bin", "netagent"];

/// Settings of cargo for the agent of another copy of the tree: quickly made, and shares what has
/// been compiled for this tree.
pub fn quickly() -> Result<Vec<String>> {
    let shared = env::current_dir().context("find the workspace")?.join("target");
    let mut settings = vec![
        "profile.release.incremental=true".to_owned(),
        // Not by the environment: the cargo of build.rs would wait for this one.
        format!("build.build-dir={:?}", shared.display().to_string()),
    ];
    for package in ["netagent", "netagent-common"] {
        let of = format!("profile.release.package.{package}");
        let settings_of = ["opt-level=0", "debug-assertions=true", "overflow-checks=true"];
        settings.extend(settings_of.map(|setting| format!("{of}.{setting}")));
    }
    Ok(settings.into_iter().map(|setting| format!("--config={setting}")).collect())
}

/// The agent of another copy of the tree, quickly made, which takes its programs from where
/// NETAGENT_OBJECT says. Also returns where its build script has compiled the programs.
pub fn netagent_in(tree: &Path, target: &Path) -> Result<(PathBuf, PathBuf)> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(tree).env("CARGO_TARGET_DIR", target);
    let settings = quickly()?;
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    let arguments = [NETAGENT.as_slice(), &settings].concat();
    let messages = messages(cargo, &arguments, "json")?;
    let of_script = |message: &&Value| {
        let package = message["package_id"].as_str().unwrap_or_default();
        message["reason"] == "build-script-executed" && package.contains("/netagent#")
    };
    let script = messages.iter().find(of_script).context("find the build script of netagent")?;
    let out_dir = Path::new(script["out_dir"].as_str().unwrap_or_default());
    Ok((last_executable(&messages)?, out_dir.join("aya-build/target/netagent-ebpf")))
}

/// The object of the programs of another copy of the tree, built as aya-build does it.
pub fn object_in(tree: &Path, target: &Path) -> Result<PathBuf> {
    let flags = format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH);
    let flags = [flags.as_str(), "-Cdebuginfo=2", "-Clink-arg=--btf"].join("\u{1f}");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(tree).env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", flags);
    cargo.arg("build").arg("--target-dir").arg(target);
    let package = ["--package", "netagent-ebpf", "--bin", "netagent-ebpf"];
    let place = ["-Z", "build-std=core", "--target", "bpfel-unknown-none"];
    let arguments = [[PROFILE, "--locked"].as_slice(), &package, &place].concat();
    last_executable(&messages(cargo, &arguments, "json")?)
}

/// The CNI plugin: static, as its caller may run it below another root.
pub fn cni() -> Result<PathBuf> {
    println!("build: netagent-cni");
    let target = setup::static_target()?;
    let package = ["--package", "netagent-cni", "--bin", "netagent-cni"];
    let build = ["build", PROFILE, "--locked", "--target", &target];
    executable(Command::new("cargo"), &[build.as_slice(), &package].concat())
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

fn executable(cargo: Command, arguments: &[&str]) -> Result<PathBuf> {
    last_executable(&messages(cargo, arguments, "json-render-diagnostics")?)
}

/// What cargo reports of a build. In the format `json`, warnings are not shown.
fn messages(mut cargo: Command, arguments: &[&str], format: &str) -> Result<Vec<Value>> {
    let output = cargo
        .args(arguments)
        .args(["--quiet", "--message-format", format])
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if !output.status.success() {
        let errors = messages.iter().filter(|message| message["message"]["level"] == "error");
        let errors: String =
            errors.filter_map(|error| error["message"]["rendered"].as_str()).collect();
        bail!("{cargo:?}: {}\n{errors}", output.status);
    }
    Ok(messages)
}

fn last_executable(messages: &[Value]) -> Result<PathBuf> {
    let mut executables = messages.iter().filter_map(|message| message.get("executable")?.as_str());
    executables.next_back().map(PathBuf::from).context("cargo made no executable")
}
