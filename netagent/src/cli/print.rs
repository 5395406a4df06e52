//! Output that cannot end the process: a reader that has seen enough (`| head`) is not an error.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

use crate::{health::Health, state::Finding};

/// Prints to stdout.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("print"),
        _ => Ok(()),
    }
}

/// Prints a line about progress. A line that cannot be printed stops nothing: the work goes on.
pub fn progress(line: &str) {
    let _unread = writeln!(io::stdout(), "{line}");
}

/// Prints what is not as desired to stderr, and gives the exit code that says so.
pub fn unwell<'a>(findings: impl Iterator<Item = &'a Finding>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for finding in findings {
        let _unread = writeln!(io::stderr(), "netagent: {}: {finding}", finding.code.name());
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
