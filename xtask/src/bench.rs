//! What a packet costs: on this machine in nanoseconds, in a virtual machine in instructions.
//!
//! Always A/B in one run, interleaved, medians; both figures and their ratio. Nothing here fails because something is slow.

mod host;
mod vm;

use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{build, setup};

/// A comparison.
struct Figure {
    name: String,
    place: &'static str,
    netagent: f64,
    baseline: f64,
    baseline_name: &'static str,
    unit: &'static str,
}

/// Where is measured.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Place {
    Host,
    Vm,
}

/// Measures, prints a table, and writes it as JSON where asked to.
pub fn run(json: Option<&Path>, on: Option<Place>) -> Result<()> {
    setup::all()?;
    let netagent = build::netagent()?;
    let mut figures = Vec::new();
    if on != Some(Place::Vm) {
        figures.extend(host::measure(&netagent).context("measure on this machine")?);
    }
    if on != Some(Place::Host) {
        figures.extend(vm::measure(&netagent).context("measure in a virtual machine")?);
    }
    print(&figures);
    if let Some(path) = json {
        let objects: Vec<_> = figures.iter().map(Figure::json).collect();
        fs::write(path, serde_json::to_string_pretty(&objects)? + "\n")
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

impl Figure {
    fn ratio(&self) -> f64 {
        self.netagent / self.baseline
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "name": self.name, "where": self.place, "netagent": self.netagent, "baseline": self.baseline,
            "baseline_name": self.baseline_name, "unit": self.unit, "ratio": self.ratio(),
        })
    }
}

fn print(figures: &[Figure]) {
    println!();
    println!(
        "{:<34} {:<5} {:>10} {:>10}  {:<22} {:>7}  unit",
        "figure", "where", "netagent", "baseline", "baseline is", "ratio"
    );
    for figure in figures {
        println!(
            "{:<34} {:<5} {:>10.1} {:>10.1}  {:<22} {:>7.2}  {}",
            figure.name,
            figure.place,
            figure.netagent,
            figure.baseline,
            figure.baseline_name,
            figure.ratio(),
            figure.unit
        );
    }
    println!("\nA ratio below 1 is in netagent's favour: all units are costs per packet.");
}

/// The middle one.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A file of the eBPF build that is not in the agent.
fn object(name: &str) -> Result<std::path::PathBuf> {
    let target = env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let builds = Path::new(&target).join("release/build");
    let mut found: Vec<_> = fs::read_dir(&builds)
        .with_context(|| format!("list {}", builds.display()))?
        .flatten()
        .map(|entry| entry.path().join("out").join(name))
        .filter(|path| path.is_file())
        .collect();
    found.sort_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
    found.pop().with_context(|| format!("find {name} beneath {}", builds.display()))
}
