//! Commands that need neither the node nor a daemon.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use super::print::print;
use crate::{config, daemon::Journal, reason};

pub fn check(path: &Path) -> Result<ExitCode> {
    let file = config::load(path)?;
    let desired = file.desired();
    let uplinks = desired.bonds.len();
    let (bridges, ports) = (desired.bridges.len(), desired.ports.len());
    let patterns = match file.intent.patterns.len() {
        0 => String::new(),
        patterns => format!(", {patterns} patterns of ports"),
    };
    let path = path.display();
    print(&format!("{path}: {bridges} bridges, {uplinks} bonds, {ports} ports{patterns}\n"))?;
    Ok(ExitCode::SUCCESS)
}

pub fn explain(name: Option<&str>, json: bool) -> Result<ExitCode> {
    let text = match name {
        Some(name) => reason::one(reason::named(name)?, json),
        None => reason::list(json),
    };
    print(&text?)?;
    Ok(ExitCode::SUCCESS)
}

pub fn schema() -> Result<ExitCode> {
    print(&(serde_json::to_string_pretty(&config::schema())? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

pub fn completions<C: CommandFactory>(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut C::command(), "netagent", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// The last steps of the journal.
pub fn history(directory: &Path, lines: usize, json: bool) -> Result<ExitCode> {
    let entries = Journal::read(directory)
        .with_context(|| format!("read the history in {}", directory.display()))?;
    let mut text = String::new();
    for entry in entries.iter().skip(entries.len().saturating_sub(lines)) {
        let line = if json { serde_json::to_string(entry)? } else { entry.to_string() };
        text.push_str(&line);
        text.push('\n');
    }
    if entries.is_empty() && !json {
        text.push_str("no steps were taken yet\n");
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
