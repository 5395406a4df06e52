//! What a packet costs: on this machine in nanoseconds, in a virtual machine in instructions.
//!
//! Always A/B in one run, interleaved, medians; both figures and their ratio. Nothing here fails
//! because something is slow.

mod about;
mod bulk;
mod call;
mod cni;
mod control;
mod figure;
mod frames;
pub mod hook;
mod host;
mod lab;
mod page;
mod plot;
mod policy;
mod repair;
mod scale;
pub mod send;
mod vm;

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};

use self::figure::Figure;
use crate::{build, setup};

/// Where is measured.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Place {
    Host,
    Vm,
}

/// Figures that are measured together.
struct Group {
    name: &'static str,
    place: Place,
    measure: fn(&Path) -> Result<Vec<Figure>>,
}

const GROUPS: [Group; 8] = [
    Group { name: "policy", place: Place::Host, measure: policy::measure },
    Group { name: "programs", place: Place::Host, measure: host::measure },
    Group { name: "scale", place: Place::Host, measure: scale::measure },
    Group { name: "repair", place: Place::Host, measure: repair::measure },
    Group { name: "cni", place: Place::Host, measure: cni::measure },
    Group { name: "frames", place: Place::Vm, measure: frames::measure },
    Group { name: "bulk", place: Place::Vm, measure: bulk::measure },
    Group { name: "control", place: Place::Vm, measure: control::measure },
];

/// What to measure, and what to write besides the table.
#[derive(clap::Args)]
pub struct Options {
    /// Write the figures to this file as well
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw the ratios against their goals into this SVG file
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Write the figures as a page for people into this Markdown file, with the plot of --plot
    #[arg(long, requires = "plot")]
    page: Option<PathBuf>,
    /// Only these figures: nanoseconds on this machine, or instructions in a virtual machine
    #[arg(long)]
    on: Option<Place>,
    /// Only this group of figures
    #[arg(value_parser = GROUPS.map(|group| group.name))]
    group: Option<String>,
}

/// Measures, prints a table, and writes what was asked for.
pub fn run(options: &Options) -> Result<()> {
    setup::all()?;
    let netagent = build::netagent()?;
    let mut figures = Vec::new();
    for Group { name, place, measure } in GROUPS {
        let wanted = options.group.as_deref().is_none_or(|group| group == name)
            && options.on.is_none_or(|on| on == place);
        if wanted {
            figures.extend(measure(&netagent).with_context(|| format!("measure {name}"))?);
        }
    }
    figure::print(&figures);
    if let Some(path) = &options.json {
        let objects: Vec<_> = figures.iter().map(Figure::json).collect();
        write(path, &(serde_json::to_string_pretty(&objects)? + "\n"))?;
    }
    if let Some(path) = &options.plot {
        write(path, &plot::svg(&figures))?;
    }
    if let (Some(path), Some(plot)) = (&options.page, &options.plot) {
        // The two are beside each other.
        let plot = plot.file_name().context("--plot names no file")?;
        write(path, &page::markdown(&figures, &plot.to_string_lossy())?)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// A file of the eBPF build that is not in the agent.
fn object(name: &str) -> Result<PathBuf> {
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
