//! Runs scripts that measure in a virtual machine whose clock counts instructions, so that the
//! figures repeat whatever else this machine does. Blind to caches, branches and contention.

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::figure::median;
use crate::kernel;
use crate::vm::{self, Spec};

/// TCX and all modules.
pub const KERNEL: &str = "6.12";

/// What came of a script.
pub struct Costs(Vec<Cost>);

/// One measurement, as the guest printed it.
struct Cost {
    figure: String,
    contender: String,
    /// Per frame, or of the whole.
    instructions: f64,
}

/// Runs a script with netagent, what all scripts call, and what more is in `spec`.
pub fn run(script: &str, netagent: &Path, spec: Spec) -> Result<Costs> {
    // date, as busybox's knows no nanoseconds.
    let tools =
        ["ip", "bridge", "tc", "bpftool", "curl", "ethtool", "nsenter", "date"].map(Into::into);
    let own = [netagent.to_owned(), env::current_exe()?];
    let spec = Spec {
        script: script.to_owned(),
        binaries: [&tools[..], &own, &spec.binaries].concat(),
        memory: 2048,
        timeout: Duration::from_mins(20),
        icount: true,
        ..spec
    };
    let outcome = vm::run(&kernel::named(KERNEL)?, &spec)?;
    if outcome.status != 0 {
        bail!("the guest's script ended with {}", outcome.status);
    }
    parse(&outcome.lines)
}

impl Costs {
    /// The median of the rounds.
    pub fn of(&self, figure: &str, contender: &str) -> Result<f64> {
        let rounds: Vec<_> = self
            .0
            .iter()
            .filter(|cost| cost.figure == figure && cost.contender == contender)
            .map(|cost| cost.instructions)
            .collect();
        ensure!(!rounds.is_empty(), "the guest did not measure {figure} of {contender}");
        Ok(median(&rounds))
    }
}

fn parse(lines: &[String]) -> Result<Costs> {
    let lines = lines.iter().filter(|line| line.starts_with("cost "));
    let costs = lines.map(|line| cost(line).with_context(|| format!("read {line:?}")));
    Ok(Costs(costs.collect::<Result<_>>()?))
}

/// `cost FIGURE CONTENDER MICROSECONDS FRAMES arrived ARRIVED wanted WANTED`, or `cost FIGURE
/// CONTENDER NANOSECONDS`.
fn cost(line: &str) -> Result<Cost> {
    /// The odd frame of the guests' own.
    const OTHERS: u32 = 20;
    let words: Vec<_> = line.split_whitespace().collect();
    let (figure, contender, instructions) = match words[..] {
        ["cost", figure, contender, nanoseconds] => (figure, contender, nanoseconds.parse()?),
        ["cost", figure, contender, microseconds, frames, "arrived", arrived, "wanted", wanted] => {
            let (arrived, wanted): (u32, u32) = (arrived.parse()?, wanted.parse()?);
            ensure!(
                (wanted..=wanted + OTHERS).contains(&arrived),
                "{arrived} frames of {figure} arrived through {contender}, not {wanted}"
            );
            let frames: f64 = frames.parse()?;
            (figure, contender, microseconds.parse::<f64>()? * 1000.0 / frames)
        }
        _ => bail!("not a measurement"),
    };
    Ok(Cost { figure: figure.to_owned(), contender: contender.to_owned(), instructions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_get_lost_are_an_error() {
        let line = |arrived| format!("cost miss tc 5000 1000 arrived {arrived} wanted 2000");
        let costs = parse(&[line(2000), "chatter".to_owned()]).unwrap();
        assert!((costs.of("miss", "tc").unwrap() - 5000.0).abs() < 1e-9);
        assert!(costs.of("miss", "kernel").is_err());
        assert!(parse(&[line(1999)]).is_err());
        assert!(parse(&[line(4000)]).is_err());
    }
}
