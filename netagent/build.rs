//! Compiles the eBPF programs into OUT_DIR.

use anyhow::Context as _;
use aya_build::{Package, Toolchain};

fn main() -> anyhow::Result<()> {
    let root =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("find the workspace")?;
    let ebpf = root.join("netagent-ebpf");
    let pin = root.join("rust-toolchain.toml");
    println!("cargo::rerun-if-changed={}", pin.display());
    // The same compiler as for the agent: build-std needs its unstable features, the rest is stable
    // Rust.
    let pinned = std::fs::read_to_string(&pin).context("read rust-toolchain.toml")?;
    let channel = pinned
        .lines()
        .find_map(|line| line.strip_prefix("channel = \""))
        .and_then(|rest| rest.strip_suffix('"'))
        .context("find the channel in rust-toolchain.toml")?;
    // SAFETY: a build script's main is single-threaded.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    let root_dir = ebpf.to_str().context("the workspace's path is not UTF-8")?;
    let package =
        Package { name: "netagent-ebpf", root_dir, no_default_features: false, features: &[] };
    aya_build::build_ebpf([package], Toolchain::Custom(channel))
}
