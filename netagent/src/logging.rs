//! What is logged, and in which form.

use std::{
    io::{self, IsTerminal as _},
    os::unix::fs::MetadataExt as _,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::output;

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
        hide_env_values = true
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
        let filter = EnvFilter::try_new(&self.log_level)
            .with_context(|| format!("--log-level {:?}", self.log_level))?;
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

/// Whether stderr goes to journald, which notes the time itself (systemd.exec, `$JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(meta) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", meta.dev(), meta.ino())
}
