//! Puts a program at a device's TCX hook, in a benchmark's guest, whose tc(8) and bpftool(8) are
//! older than that.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::call::{Program, Side, enter};

/// What to put where.
#[derive(clap::Args)]
pub struct Options {
    /// Pin of the TC program; the link is pinned beside it
    program: PathBuf,
    /// Network namespace
    netns: PathBuf,
    /// Interface index of the device
    ifindex: u32,
    /// Which of its hooks
    side: Side,
}

/// Does it.
pub fn run(options: &Options) -> Result<()> {
    let Options { program, netns, ifindex, side } = options;
    let link = format!("{}-{ifindex}-{side:?}", program.display());
    let program = Program::open(program)?;
    enter(netns)?;
    program.attach(*ifindex, *side, link.as_ref()).context("attach a program")
}
