//! What commands print.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::{
    health::Health,
    output::{self, Stream},
    state::Finding,
};

/// Prints to stdout. A reader that has seen enough (`| head`) is not an error.
pub fn print(text: &str) -> Result<()> {
    output::send(Stream::Out, text);
    output::flush().context("print")
}

/// Prints a line about progress. The work does not wait for it.
pub fn progress(line: &str) {
    output::send(Stream::Out, format!("{line}\n"));
}

/// Prints a line to stderr.
pub fn remark(line: &str) {
    output::send(Stream::Err, format!("netagent: {line}\n"));
}

/// Prints what is not as desired to stderr, and gives the exit code that says so.
pub fn unwell<'a>(findings: impl Iterator<Item = &'a Finding>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for finding in findings {
        remark(&format!("{}: {finding}", finding.code.name()));
        code = ExitCode::from(NOT_AS_DESIRED);
    }
    code
}

/// The exit code where a part is Waiting, Degraded or Refused.
pub const NOT_AS_DESIRED: u8 = 3;

/// The exit code that a node with this health has.
pub fn code(health: &Health) -> ExitCode {
    if health.is_well() { ExitCode::SUCCESS } else { ExitCode::from(NOT_AS_DESIRED) }
}
