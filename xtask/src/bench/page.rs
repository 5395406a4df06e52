//! The page for people: what was measured, how, where, and what is missed.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::figure::{Figure, Ratio};
use super::{about, vm};
use crate::command::output;
use crate::kernel;

const HEAD: &str = "\
# Performance

Written by `cargo xtask bench --json docs/performance.json --plot docs/performance.svg --page docs/performance.md`; do not edit.

netagent and what it is compared with run side by side in one run, by turns; each value is the median of the rounds. Both values
are costs. A goal with >= is for the ratio of rates (frames per time: the baseline's cost over netagent's), one with <= for the ratio of
costs (netagent's over the baseline's).

**Figures in a virtual machine (`vm`) are instructions**: the emulator's clock counts them, one to the nanosecond, so that those of
frames repeat to a few percent from run to run whatever else the machine does. Those of the control plane agree within a run, but from one
boot to another the bridge's own work has differed by half, for a reason not found yet: take them as rough. All are blind to caches, branch prediction, the cost of
atomic operations, contention between processors, and NICs. One processor, 64-byte frames of one flow. The generator's own cost, measured by
frames that end where they are injected, is taken off; with it (`_gross`) every ratio is nearer to 1.

**Figures on the host (`host`) are nanoseconds** of BPF_PROG_TEST_RUN: the true compiler and caches, but (`scale` apart) one frame over and
over, so that everything it touches is in the nearest cache; and they vary with whatever else the machine does.

Frames to a VM end at the guest's end of its veth pair, before the guest's stack. `netagent run` is running, counters are on. The kernel's bridge has
`vlan_filtering` and `vlan_stats_enabled`, and a namespace of its own, where nobody listens to what it learns.

Open vSwitch is Debian's, in a namespace of its own too; VMs' ports have a `tag`, the uplink `trunks`, and flows are in the tables before
anything is counted. Its kernel datapath is the module of the guest's kernel; it computes a hash of each frame, which a NIC may bring along.
Its userspace datapath takes frames by AF_PACKET, in a thread of its daemon: that is held while frames are sent, then reads them in full
batches, and the time that it has the processor until the last has arrived is added.
";

/// The page. `plot`: what the picture is called from there.
pub fn markdown(figures: &[Figure], plot: &str) -> Result<String> {
    let mut page = HEAD.to_owned();
    let mut line = |text: &str| writeln!(page, "{text}").unwrap_or_default();
    line("\n## Measured on\n");
    for (what, value) in machine()? {
        line(&format!("- {what}: {value}"));
    }
    let (goals, others): (Vec<_>, Vec<_>) =
        figures.iter().partition(|figure| figure.goal.is_some());
    line("\n## Goals\n");
    line(&format!("![Ratios against their goals]({plot})\n"));
    line("| figure | where | netagent | baseline | baseline is | unit | ratio | goal | |");
    line("|---|---|--:|--:|---|---|--:|--:|---|");
    for figure in &goals {
        line(&format!(
            "| {} | {} | {} |",
            row(figure),
            figure.goal_text(),
            if figure.met() == Some(true) { "met" } else { "**missed**" }
        ));
    }
    line("\nWhat they are:\n");
    for figure in &goals {
        line(&format!("- `{}`: {}", figure.name, about::what(&figure.name)));
    }
    line("\n## Missed, and why\n");
    for figure in goals.iter().filter(|figure| figure.met() == Some(false)) {
        line(&format!("- `{}`: {}", figure.name, about::why(&figure.name)));
    }
    line("\n## Not measured\n");
    for text in about::ABSENT {
        line(&format!("- {text}"));
    }
    line("\n## Figures without a goal\n");
    line("| figure | where | netagent | baseline | baseline is | unit | ratio of costs |");
    line("|---|---|--:|--:|---|---|--:|");
    for figure in others {
        // One kind of ratio in this table, so that its rows compare.
        let costs = figure.netagent / figure.baseline;
        line(&format!("| {} | {costs:.2} |", cells(figure)));
    }
    Ok(page)
}

fn cells(figure: &Figure) -> String {
    let Figure { name, place, netagent, baseline, baseline_name, unit, .. } = figure;
    format!("{name} | {place} | {netagent:.1} | {baseline:.1} | {baseline_name} | {unit}")
}

fn row(figure: &Figure) -> String {
    let of = match figure.ratio {
        Ratio::OfRates => "rates",
        Ratio::OfCosts => "costs",
    };
    format!("{} | {:.2} of {of}", cells(figure), figure.ratio())
}

fn machine() -> Result<Vec<(&'static str, String)>> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let first = |command: &mut Command| -> Result<String> {
        Ok(output(command)?.lines().next().unwrap_or_default().to_owned())
    };
    Ok(vec![
        ("host", format!("{model}, {processors} processors")),
        ("the host's kernel", first(Command::new("uname").args(["-sr"]))?),
        ("the guest's kernel", format!("Debian's {}", kernel::named(vm::KERNEL)?.release)),
        ("emulator", first(Command::new("qemu-system-x86_64").arg("--version"))?),
        ("Open vSwitch", first(Command::new("ovs-vsctl").arg("--version"))?),
        ("netagent", first(Command::new("git").args(["describe", "--always"]))?),
    ])
}
