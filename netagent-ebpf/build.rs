//! Rebuilds the programs when the linker changes: cargo does not know that it takes part.

use which::which;

fn main() {
    let Ok(linker) = which("bpf-linker") else {
        println!("cargo::error=bpf-linker is not installed: run `cargo xtask setup`");
        return;
    };
    println!("cargo::rerun-if-changed={}", linker.display());
}
