//! The `netagent` command: parse, do, one line for an error.

use std::process::ExitCode;

use clap::Parser as _;
use netagent::{
    cli::Cli,
    output::{self, Stream},
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = cli.log.start().and_then(|()| cli.run());
    let code = result.unwrap_or_else(|error| {
        output::send(Stream::Err, format!("netagent: {error:#}\n"));
        ExitCode::FAILURE
    });
    output::flush_briefly();
    code
}
