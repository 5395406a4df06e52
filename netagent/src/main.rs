//! The `netagent` command: parse, do, one line for an error.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use netagent::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = cli.log.start().and_then(|()| cli.run());
    result.unwrap_or_else(|error| {
        // There may be nobody who reads it.
        let _unread = writeln!(io::stderr(), "netagent: {error:#}");
        ExitCode::FAILURE
    })
}
