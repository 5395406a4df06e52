//! Brings a machine that has only rustup and apt to where everything here builds and runs.
//! The Rust toolchain itself is not ours: rust-toolchain.toml names it and rustup installs it.

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{output, run};

/// What the tests and the virtual machines use.
const PACKAGES: [&str; 17] = [
    "bpftool",
    "busybox-static",
    "build-essential",
    "curl",
    "dnsmasq-base",
    "ethtool",
    "iproute2",
    "iputils-ping",
    "kmod",
    "openvswitch-switch",
    "procps",
    "prometheus",
    "qemu-system-x86",
    "strace",
    "tcpdump",
    "tshark",
    "xz-utils",
];

/// Carries the LLVM that reads what the compiler of rust-toolchain.toml writes: change the two
/// together.
const BPF_LINKER: &str = "0.10.4";

/// Installs whatever is missing.
pub fn all() -> Result<()> {
    apt(&PACKAGES)?;
    bpf_linker()?;
    bpffs()
}

/// systemd mounts it; containers and small machines may have none.
fn bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some("/sys/fs/bpf")) {
        return Ok(());
    }
    println!("setup: mount -t bpf bpf /sys/fs/bpf");
    run(Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"])).context("mount bpffs")
}

/// Installs the Debian packages that are missing; takes no network when none is.
pub fn apt(packages: &[&str]) -> Result<()> {
    // Not `output`: dpkg-query fails for packages it has never heard of, and those are missing too.
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

/// Refreshes the machine's package lists.
pub fn apt_update() -> Result<()> {
    println!("setup: apt-get update");
    output(Command::new("apt-get").args(["-qq", "update"])).context("update the package lists")?;
    Ok(())
}

fn bpf_linker() -> Result<()> {
    let version = output(Command::new("bpf-linker").arg("--version"));
    if version.is_ok_and(|line| line.trim_end() == format!("bpf-linker {BPF_LINKER}")) {
        return Ok(());
    }
    println!("setup: cargo install bpf-linker {BPF_LINKER}");
    let install = ["install", "--quiet", "--locked", "bpf-linker", "--version", BPF_LINKER];
    run(Command::new("cargo").args(install)).context("install bpf-linker")
}
