//! What would the tests notice? The product is broken on purpose, one fault at a time, and each
//! fault must make a test fail:
//! - `programs` and `agent`: the patches of tests/mutations, against tests on real links;
//! - `oracle`: patches of the decision, against the comparison with the kernel's bridge;
//! - `unit`: what cargo-mutants changes in the pure code, against the unit tests.

mod mutation;
mod patches;
mod scratch;
mod table;
mod unit;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::mutation::Mutation;
use self::scratch::Scratch;
use self::table::Table;
use crate::command::output;
use crate::setup;

/// How long the mutations of `cargo xtask test` may take.
const SHORT: Duration = Duration::from_mins(5);

/// Which faults to try.
#[derive(clap::Args)]
pub struct Options {
    /// Only faults in files that differ from this commit
    #[arg(long, value_name = "COMMIT")]
    since: Option<String>,
    /// Begin with no further fault after this time, and try none that takes a virtual machine
    #[arg(long)]
    minutes: Option<u64>,
    /// Only those whose name contains this: `programs/`, `unit/plan`
    #[arg(default_value = "")]
    filter: String,
}

/// Tries the faults, and prints how many were noticed.
pub fn run(options: &Options) -> Result<ExitCode> {
    setup::all()?;
    let end = options.minutes.map(|minutes| Instant::now() + Duration::from_mins(minutes));
    let choice = Choice { filter: &options.filter, since: options.since.as_deref(), end };
    let table = choice.run(false)?;
    if table.is_empty() {
        bail!("no mutation matches: see tests/mutations, and names such as `unit/plan`");
    }
    println!("\n{table}");
    let faults = table.faults();
    for fault in &faults {
        println!("failed: {fault}");
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tries all faults, or as many of those in the last commit as [`SHORT`] allows, after the tests
/// have passed. Returns what has to be fixed. A short run only shows it: a busy machine must not
/// stop a change whose faults are noticed on an idle one.
pub fn after_tests(all: bool) -> Result<Vec<String>> {
    const LAST: &str = "HEAD~1";
    if !all && changed_since(LAST).is_err() {
        println!("nothing was tried: git knows no earlier commit (`cargo xtask mutate` tries all)");
        return Ok(Vec::new());
    }
    let end = (!all).then(|| Instant::now() + SHORT);
    let table = Choice { filter: "", since: (!all).then_some(LAST), end }.run(true)?;
    if table.is_empty() {
        println!("nothing was tried: the last commit changed no code that has mutations");
    } else {
        println!("\n{table}");
    }
    Ok(if all { table.faults() } else { Vec::new() })
}

/// Which faults to try.
struct Choice<'a> {
    filter: &'a str,
    since: Option<&'a str>,
    end: Option<Instant>,
}

impl Choice<'_> {
    fn run(&self, after_tests: bool) -> Result<Table> {
        let mut mutations = Mutation::all()?;
        mutations.retain(|mutation| mutation.name.contains(self.filter));
        let changed = self.since.map(changed_since).transpose()?;
        if let Some(changed) = &changed {
            mutations.retain(|mutation| mutation.files.iter().any(|file| changed.contains(file)));
        }
        if self.end.is_some() {
            // A virtual machine takes minutes.
            mutations.retain(Mutation::is_for_here);
        }
        if self.end.is_some() && !mutations.is_empty() {
            // There may be no time for all: each commit begins elsewhere.
            let commit = output(Command::new("git").args(["rev-parse", "HEAD"]))?;
            let first: usize = commit.bytes().map(usize::from).sum();
            let count = mutations.len();
            mutations.rotate_left(first % count);
        }
        let parts = unit::parts(self.filter, changed.as_deref());
        let mut table = Table::default();
        if mutations.is_empty() && parts.is_empty() {
            return Ok(table);
        }
        // Half of the time is for each kind.
        let now = Instant::now();
        let half = self.end.map(|end| now + end.saturating_duration_since(now) / 2);
        let scratch = Scratch::new()?;
        patches::run(&mutations, half, after_tests, &scratch, &mut table)?;
        unit::run(&parts, self.since, self.end, &scratch, &mut table)?;
        Ok(table)
    }
}

/// The files that differ from a commit.
fn changed_since(commit: &str) -> Result<Vec<String>> {
    let names = output(Command::new("git").args(["diff", "--name-only", commit, "--"]))
        .with_context(|| format!("list what has changed since {commit}"))?;
    Ok(names.lines().map(str::to_owned).collect())
}
