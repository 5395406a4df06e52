//! Tests the oracle (tests/src/oracle.rs): applies each patch of tests/mutations, which breaks the
//! decision, and demands that the oracle finds a difference.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{output, run};
use crate::{build, kernel, setup, test, vm};

const PATCHES: &str = "tests/mutations";
/// The test, and how much it tries: enough to find each mutation many times.
const TEST: &str = "oracle::netagent_does_what_the_kernels_bridge_does";
const AMOUNT: [(&str, &str); 2] = [("NETAGENT_POLICIES", "20"), ("NETAGENT_FRAMES", "6000")];
/// The test prints this for a difference, and not for other failures.
const FOUND: &str = "a case for regressions.rs";

/// Tries the patches whose names contain the filter.
pub fn all(on: &str, filter: &str) -> Result<()> {
    setup::all()?;
    let kernel = kernel::named(on)?;
    let mut patches = Vec::new();
    for entry in fs::read_dir(PATCHES).with_context(|| format!("list {PATCHES}"))? {
        let patch = entry?.path();
        if patch.file_stem().is_some_and(|name| name.to_string_lossy().contains(filter)) {
            patches.push(patch);
        }
    }
    patches.sort();
    if patches.is_empty() {
        bail!("no patch in {PATCHES} has {filter:?} in its name");
    }
    // The patches change the agent only.
    let tests = build::tests("netagent-tests")?;
    let scratch = Scratch::new()?;
    let mut unseen = Vec::new();
    for patch in &patches {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy();
        println!("\n== mutation {name}");
        scratch.apply(patch)?;
        let outcome = vm::run(&kernel, &scratch.guest(&tests)?)?;
        if outcome.status != 0 && outcome.lines.iter().any(|line| line.contains(FOUND)) {
            println!("mutation {name}: found");
        } else {
            println!("mutation {name}: NOT FOUND");
            unseen.push(name.into_owned());
        }
    }
    if !unseen.is_empty() {
        bail!("the oracle does not see: {}", unseen.join(", "));
    }
    println!("\n{} mutations, all found", patches.len());
    Ok(())
}

/// A copy of the tree with its own target directory.
struct Scratch(PathBuf);

impl Scratch {
    /// The tree with its uncommitted changes, without files that git does not track.
    fn new() -> Result<Self> {
        let path = env::current_dir().context("find the workspace")?.join("target/mutate/tree");
        let scratch = Self(path);
        scratch.remove();
        let changed = output(Command::new("git").args(["stash", "create"]))?;
        let commit = if changed.is_empty() { "HEAD" } else { changed.trim_end() };
        let mut add = Command::new("git");
        run(add.args(["worktree", "add", "--quiet", "--detach"]).arg(&scratch.0).arg(commit))?;
        Ok(scratch)
    }

    fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.0);
        git
    }

    /// Applies this patch alone.
    fn apply(&self, patch: &Path) -> Result<()> {
        run(self.git().args(["checkout", "--quiet", "--", "."]))?;
        let patch = fs::canonicalize(patch)?;
        run(self.git().arg("apply").arg(&patch))
            .context("apply a mutation; does it need an update?")
    }

    /// A virtual machine that runs the test.
    fn guest(&self, tests: &Path) -> Result<vm::Spec> {
        let netagent = build::netagent_in(&self.0)?;
        let amount = AMOUNT.map(|(name, value)| format!("{name}={value} ")).concat();
        let name = tests.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let script = format!("export NETAGENT=/bin/netagent {amount}; {name} {TEST} --show-output");
        Ok(test::guest(script, &[&netagent, tests], String::new()))
    }

    fn remove(&self) {
        let _not_there =
            output(Command::new("git").args(["worktree", "remove", "--force"]).arg(&self.0));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}
