//! The `netagent` command: parse, do, one line for an error.

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use netagent::cli::Cli;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::builder()
        .with_env_var("NETAGENT_LOG")
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    cli.run().unwrap_or_else(|error| {
        eprintln!("netagent: {error:#}");
        ExitCode::FAILURE
    })
}
