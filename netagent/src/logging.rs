//! What is logged, and in which form.

use std::{
    io::{self, IsTerminal as _},
    os::unix::fs::MetadataExt as _,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tracing::{info, warn};
use tracing_subscriber::{EnvFilter, filter::ParseError};

use crate::output;

/// The levels.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// A problem that may last: it is logged when it is new or another one, and when it is gone.
pub struct Lasting {
    /// What does not work.
    what: &'static str,
    problem: Option<String>,
}

impl Lasting {
    /// No problem so far.
    pub const fn new(what: &'static str) -> Self {
        Self { what, problem: None }
    }

    /// There is this problem now.
    pub fn is(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            warn!("{}: {problem}", self.what);
            self.problem = Some(problem);
        }
    }

    /// There is no problem now.
    pub fn is_gone(&mut self) {
        if let Some(problem) = self.problem.take() {
            info!("no longer: {}: {problem}", self.what);
        }
    }
}

/// The options of the log, which goes to stderr.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// What is logged: error, warn, info, debug or trace, or a filter such as
    /// `info,netagent::netlink=debug`. `debug` shows each netlink request with its answer, and each
    /// BPF change.
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "NETAGENT_LOG",
        default_value = "info",
        hide_env_values = true,
        value_parser = level
    )]
    pub log_level: String,
    /// The form of the log.
    #[arg(long, global = true, value_name = "FORM", default_value = "text")]
    pub log_format: Format,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line of text.
    Text,
    /// A line of JSON.
    Json,
}

impl Options {
    /// Starts logging.
    pub fn start(&self) -> Result<()> {
        let filter =
            filter(&self.log_level).with_context(|| format!("--log-level {:?}", self.log_level))?;
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(|| output::Log)
            // It would print them by `eprintln!`, which panics where stderr cannot be written.
            .log_internal_errors(false)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false);
        match (self.log_format, is_journal()) {
            (Format::Json, false) => log.json().init(),
            (Format::Json, true) => log.json().without_time().init(),
            (Format::Text, false) => log.init(),
            (Format::Text, true) => log.without_time().init(),
        }
        Ok(())
    }
}

/// Checks a filter. The filter's own parser takes any word for the name of a module.
fn level(text: &str) -> Result<String, String> {
    let is_level = |part: &str| LEVELS.contains(&part.to_ascii_lowercase().as_str());
    let is_known = |part: &str| match part.rsplit_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(part),
    };
    if text.split(',').all(is_known) {
        filter(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
    } else {
        Err(format!(
            "use {}, or a filter such as `info,netagent::netlink=debug`",
            LEVELS.join(", ")
        ))
    }
}

/// What a filter names no level for is logged as by default.
fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(format!("info,{text}"))
}

/// Whether stderr goes to journald, which notes the time itself (systemd.exec, `$JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(meta) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", meta.dev(), meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_does_not_exist_is_refused() {
        for bad in ["warning", "nonsense", "", "info;debug", "info,", "=debug", "netagent=loud"] {
            let refusal = level(bad).unwrap_err();
            assert!(refusal.contains("error, warn, info, debug, trace"), "{bad}: {refusal}");
        }
        for good in ["warn", "DEBUG", "off", "info,netagent::netlink=debug"] {
            assert_eq!(level(good).unwrap(), good);
        }
    }

    #[test]
    fn a_filter_for_one_module_leaves_the_others_at_the_default() {
        let shown = |text: &str| filter(text).unwrap().to_string();
        assert_eq!(shown("warn"), "warn");
        let of_module = shown("netagent::netlink=debug");
        assert!(of_module.contains("info") && of_module.contains("debug"), "{of_module}");
    }
}
