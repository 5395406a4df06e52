//! Installs the programs that a machine with rustup and apt lacks. rustup installs the Rust
//! toolchain that rust-toolchain.toml names.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};

use crate::command::{output, run};
use crate::unpacked;

/// Packages that the tests and the virtual machines need.
const PACKAGES: [&str; 17] = [
    "bpftool",
    "busybox-static",
    "curl",
    "dnsmasq-base",
    "ethtool",
    "iproute2",
    "iputils-ping",
    "kmod",
    "nftables",
    "openvswitch-switch",
    "procps",
    "prometheus",
    "qemu-system-x86",
    "strace",
    "tcpdump",
    "tshark",
    "xz-utils",
];

/// Contains the LLVM that must read the output of the compiler in rust-toolchain.toml. Change both
/// versions together.
const BPF_LINKER: &str = "0.10.4";

/// Installs all that is missing.
pub fn all() -> Result<()> {
    // What cargo links with comes first. The other packages are downloaded while it compiles.
    apt(&["build-essential"])?;
    thread::scope(|scope| {
        let linker = scope.spawn(bpf_linker);
        apt(&PACKAGES)?;
        unpacked::all()?;
        linker.join().map_err(|_| anyhow!("the thread that installs bpf-linker panicked"))?
    })?;
    static_target()?;
    bpffs()
}

/// The target of static programs. rustup installs it.
pub fn static_target() -> Result<String> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let directory =
        output(Command::new("rustc").args(["--print", "target-libdir", "--target", &target]))?;
    if !Path::new(directory.trim()).exists() {
        println!("setup: rustup target add {target}");
        run(Command::new("rustup").args(["--quiet", "target", "add", &target]))
            .context("install the target of static programs")?;
    }
    Ok(target)
}

/// Mounts bpffs. systemd does so; containers and small machines may not.
fn bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some("/sys/fs/bpf")) {
        return Ok(());
    }
    println!("setup: mount -t bpf bpf /sys/fs/bpf");
    run(Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"])).context("mount bpffs")
}

/// Installs the Debian packages that are missing. Without a missing package it does not use the
/// network.
pub fn apt(packages: &[&str]) -> Result<()> {
    // `output` would fail: dpkg-query exits with an error if it does not know a package.
    let known = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status} ${Package}\n"])
        .args(packages)
        .output()
        .context("start dpkg-query")?;
    let known = String::from_utf8_lossy(&known.stdout);
    let installed: HashSet<_> =
        known.lines().filter_map(|line| line.strip_prefix("installed ")).collect();
    let missing: Vec<_> = packages.iter().filter(|name| !installed.contains(**name)).collect();
    if missing.is_empty() {
        return Ok(());
    }

    apt_update()?;
    for package in &missing {
        println!("setup: apt-get install {package}");
    }
    output(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-qq", "--no-install-recommends", "install"])
            .args(missing),
    )
    .context("install Debian packages")?;
    Ok(())
}

/// Updates the package lists of this machine, once.
pub fn apt_update() -> Result<()> {
    static UPDATED: AtomicBool = AtomicBool::new(false);
    if !UPDATED.swap(true, Ordering::Relaxed) {
        println!("setup: apt-get update");
        let update = output(Command::new("apt-get").args(["-qq", "update"]));
        update.context("update the package lists")?;
    }
    Ok(())
}

fn bpf_linker() -> Result<()> {
    let version = output(Command::new("bpf-linker").arg("--version"));
    let is_there = version.is_ok_and(|line| line.trim_end() == format!("bpf-linker {BPF_LINKER}"));
    if is_there { Ok(()) } else { cargo_install("bpf-linker", BPF_LINKER) }
}

/// Installs a version of a program from its source.
pub fn cargo_install(program: &str, version: &str) -> Result<()> {
    println!("setup: cargo install {program} {version} (takes some minutes, once)");
    let install = ["install", "--quiet", "--locked", program, "--version", version];
    run(Command::new("cargo").args(install)).with_context(|| format!("install {program}"))
}
