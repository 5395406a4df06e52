//! What cargo-mutants changes in the pure code, against the unit tests of its package. What it does
//! not change, and why, is in .cargo/mutants.toml.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use super::scratch::Scratch;
use super::table::{Fate, Table};
use crate::command::output;
use crate::{build, setup};

const VERSION: &str = "27.1.0";

/// A part of the code.
pub struct Part {
    name: &'static str,
    package: &'static str,
    /// The beginning of its files' names.
    files: &'static str,
}

const PARTS: [Part; 6] = [
    Part { name: "unit/common", package: "netagent-common", files: "netagent-common/src/" },
    Part { name: "unit/plan", package: "netagent", files: "netagent/src/plan" },
    Part { name: "unit/config", package: "netagent", files: "netagent/src/config" },
    Part { name: "unit/state", package: "netagent", files: "netagent/src/state" },
    Part { name: "unit/metrics", package: "netagent", files: "netagent/src/metrics" },
    Part { name: "unit/show", package: "netagent", files: "netagent/src/show" },
];

/// The parts whose name contains the filter, and of which a file is among the changed ones, if not
/// all count.
pub fn parts(filter: &str, changed: Option<&[String]>) -> Vec<&'static Part> {
    let differs = |part: &Part| {
        changed.is_none_or(|files| files.iter().any(|file| file.starts_with(part.files)))
    };
    PARTS.iter().filter(|part| part.name.contains(filter) && differs(part)).collect()
}

/// Tries the changes of parts; with `since`, those in lines that differ from that commit.
pub fn run(
    parts: &[&Part],
    since: Option<&str>,
    end: Option<Instant>,
    scratch: &Scratch,
    table: &mut Table,
) -> Result<()> {
    for package in ["netagent-common", "netagent"] {
        let of_package = parts.iter().filter(|part| part.package == package);
        let files: Vec<_> = of_package.map(|part| part.files).collect();
        if files.is_empty() {
            continue;
        }
        let Some(outcomes) = of_files(package, &files, since, end, scratch)? else { continue };
        for outcome in outcomes["outcomes"].as_array().into_iter().flatten() {
            let Some((part, name, fate)) = fate(outcome, parts) else { continue };
            table.add(part, &name, fate);
        }
    }
    Ok(())
}

/// What cargo-mutants says of the files of a package whose names begin so.
fn of_files(
    package: &str,
    files: &[&str],
    since: Option<&str>,
    end: Option<Instant>,
    scratch: &Scratch,
) -> Result<Option<Value>> {
    let results = scratch.beside(package);
    fs::create_dir_all(&results).with_context(|| format!("make {}", results.display()))?;
    let mut mutants = Command::new("timeout");
    let left = end.map(|end| end.saturating_duration_since(Instant::now()).as_secs());
    // 0: no limit.
    let seconds = left.map_or(0, |left| left.max(1)).to_string();
    mutants.args(["--signal=INT", "--kill-after=30", &seconds]);
    mutants.args(["cargo", "mutants", "--in-place", "--package", package, "--profile", "release"]);
    mutants.args(build::quickly()?.iter().map(|setting| format!("--cargo-arg={setting}")));
    mutants.arg("--output").arg(&results);
    mutants.current_dir(scratch.restored()?).env("CARGO_TARGET_DIR", scratch.beside("target"));
    // The end of the time is an error to it.
    mutants.env("RUST_BACKTRACE", "0");
    for beginning in files {
        let directory = beginning.trim_end_matches('/');
        mutants.args([format!("--file={directory}.rs"), format!("--file={directory}/**")]);
    }
    if let Some(since) = since {
        let changes = output(Command::new("git").args(["diff", since, "--", "*.rs"]))?;
        let diff = results.join("since.diff");
        fs::write(&diff, changes).with_context(|| format!("write {}", diff.display()))?;
        mutants.arg("--in-diff").arg(&diff);
    }
    install()?;
    println!("mutate: {package}, by cargo-mutants");
    let outcomes = results.join("mutants.out/outcomes.json");
    // It ends with an error if a change was not noticed, and makes no file if there is none.
    let _not_there = fs::remove_file(&outcomes);
    mutants.status().context("start cargo-mutants")?;
    if !outcomes.exists() {
        return Ok(None);
    }
    let text = fs::read(&outcomes).with_context(|| format!("read {}", outcomes.display()))?;
    serde_json::from_slice(&text).map(Some).context("read outcomes.json")
}

/// The part and the name of a change, and what became of it.
fn fate<'a>(outcome: &Value, parts: &[&'a Part]) -> Option<(&'a str, String, Fate)> {
    let mutant = &outcome["scenario"]["Mutant"];
    let (file, name) = (mutant["file"].as_str()?, mutant["name"].as_str()?);
    let part = parts.iter().find(|part| file.starts_with(part.files))?;
    let fate = match outcome["summary"].as_str()? {
        "CaughtMutant" => Fate::Noticed("a unit test".to_owned()),
        "Timeout" => Fate::Noticed("unit tests that hung".to_owned()),
        "MissedMutant" => Fate::Unnoticed,
        "Unviable" => Fate::Unviable,
        // Interrupted.
        "Success" => Fate::NotTried,
        other => Fate::Broken(format!("cargo-mutants says {other}")),
    };
    Some((part.name, name.to_owned(), fate))
}

fn install() -> Result<()> {
    let version = output(Command::new("cargo").args(["mutants", "--version"]));
    let is_there = version.is_ok_and(|line| line.trim_end() == format!("cargo-mutants {VERSION}"));
    if is_there { Ok(()) } else { setup::cargo_install("cargo-mutants", VERSION) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_change_is_counted_for_its_part() {
        let parts: Vec<_> = PARTS.iter().collect();
        let fate = |file: &str, summary: &str| {
            let mutant = json!({ "file": file, "name": format!("{file}: x") });
            fate(&json!({ "scenario": { "Mutant": mutant }, "summary": summary }), &parts)
        };
        let plan = fate("netagent/src/plan/ports.rs", "MissedMutant");
        let name = "netagent/src/plan/ports.rs: x".to_owned();
        assert_eq!(plan, Some(("unit/plan", name, Fate::Unnoticed)));
        let common = fate("netagent-common/src/vlan.rs", "Timeout");
        assert!(matches!(common, Some(("unit/common", _, Fate::Noticed(_)))));
        assert_eq!(fate("netagent/src/agent.rs", "MissedMutant"), None);
        let baseline = json!({ "scenario": "Baseline", "summary": "Success" });
        assert_eq!(super::fate(&baseline, &parts), None);
    }
}
