//! A copy of the tree, in which one mutation at a time is built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

use super::mutation::Mutation;
use crate::build;
use crate::command::{output, run};

/// What was built for a mutation.
pub enum Built {
    Agent(PathBuf),
    /// The programs.
    Object(PathBuf),
}

/// The agent without a mutation.
pub struct Agent {
    /// It takes its programs from elsewhere.
    pub netagent: PathBuf,
    /// Where its programs were compiled.
    programs: PathBuf,
}

/// The copy.
pub struct Scratch(PathBuf);

impl Scratch {
    /// The tree with its uncommitted changes, without files that git does not track.
    pub fn new() -> Result<Self> {
        let tree = env::current_dir().context("find the workspace")?.join("target/mutate/tree");
        let scratch = Self(tree);
        scratch.remove();
        let changed = output(Command::new("git").args(["stash", "create"]))?;
        let commit = if changed.is_empty() { "HEAD" } else { changed.trim_end() };
        let mut add = Command::new("git");
        add.args(["worktree", "add", "--quiet", "--force", "--detach"]);
        run(add.arg(&scratch.0).arg(commit))?;
        Ok(scratch)
    }

    /// Builds the agent without a mutation, and what all mutations need.
    pub fn agent(&self) -> Result<Agent> {
        println!("build: netagent for mutations");
        let (netagent, programs) = build::netagent_in(&self.0, &self.beside("target"))?;
        Ok(Agent { netagent: self.keep("agent", &netagent)?, programs })
    }

    /// The tree, without a mutation.
    pub fn restored(&self) -> Result<&Path> {
        run(self.git().args(["checkout", "--quiet", "--", "."]))?;
        Ok(&self.0)
    }

    /// A place beside the tree.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.0.with_file_name(name)
    }

    /// What a mutation changes: the object of the programs, or the agent.
    pub fn build(&self, mutation: &Mutation, agent: &Agent) -> Result<Built> {
        self.restored()?;
        run(self.git().arg("apply").arg(&mutation.path))?;
        let name = mutation.name.replace('/', "-");
        Ok(if mutation.set() == "agent" {
            let (agent, _) = build::netagent_in(&self.0, &self.beside("target"))?;
            Built::Agent(self.keep(&name, &agent)?)
        } else {
            Built::Object(self.keep(&name, &build::object_in(&self.0, &agent.programs)?)?)
        })
    }

    /// A copy of what was built: the next one takes its place.
    fn keep(&self, name: &str, built: &Path) -> Result<PathBuf> {
        let directory = self.beside(name);
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let copy = directory.join(built.file_name().unwrap_or_default());
        fs::copy(built, &copy).with_context(|| format!("copy to {}", copy.display()))?;
        Ok(copy)
    }

    fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.0);
        git
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
