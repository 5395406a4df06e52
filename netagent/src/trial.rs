//! A change on trial: what it takes to undo it is on disk before each step, and it is undone unless
//! it is confirmed in time.
//!
//! Files of the state directory:
//!
//! - `trial.jsonl`: the [`UndoLog`] of the trial that runs.
//! - `trial.undo`: the same, while it is undone. Renaming it decides between a confirmation and
//!   an undo that come at the same time.
//! - `trial.confirmed`: the same, when the trial was confirmed. It is removed when the records say
//!   so.
//! - `unconfirmed.json`, `confirmed.json`: the [`Records`], which outlive a reboot.

mod echo;
mod reach;
mod records;
#[cfg(test)]
mod tests;
mod undo_log;
mod verdict;

use std::{
    net::IpAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::Result;

use self::undo_log::Found;
pub use self::{
    reach::{Silent, Target, ask, watch},
    records::{Confirmed, Records, Unconfirmed},
    undo_log::{Decided, Done, Header, UndoLog, findings},
    verdict::verdict,
};
use crate::{
    clock::since_boot,
    state::{Code, Finding, Subject},
    state_file,
};

/// On which terms a change is on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The text of the file that asks for the change.
    pub text: String,
    /// How long the change waits for its confirmation after it was carried out.
    pub time: Duration,
    /// Any change is on trial; otherwise one that alters what the node lives on.
    pub always: bool,
    /// Addresses that must answer, besides the default gateways.
    pub probes: Vec<IpAddr>,
}

/// How long a change waits for its confirmation, where nobody says.
pub const DEFAULT_TIME: Duration = Duration::from_secs(120);

/// Confirms the trial of a state directory. Whether there was one.
pub fn confirm(directory: &Path, boot: &str) -> Result<bool> {
    let found = UndoLog::confirm(directory, boot)?;
    if found {
        finish(directory, boot)?;
    }
    Ok(found)
}

/// Brings a confirmation to its end that was decided.
pub fn finish(directory: &Path, boot: &str) -> Result<()> {
    if UndoLog::is_confirmed(directory) {
        Records::read(directory).promote(boot)?;
        UndoLog::forget_confirmed(directory)?;
    }
    Ok(())
}

/// The finding about a trial of this boot, where no daemon has it. Changes nothing: the daemon may
/// be starting.
pub fn pending(directory: &Path) -> Result<Option<Finding>> {
    let Found::Log(_, log) = UndoLog::read(directory)? else { return Ok(None) };
    if log.header().boot != state_file::boot_id()? {
        return Ok(None);
    }
    let text = match log.deadline() {
        Some(deadline) if deadline > since_boot() => {
            format!("a change is on trial until {}", time_of_day(deadline))
        }
        Some(_) => "a change was on trial, and nobody confirmed it in time".to_owned(),
        None => "a change on trial is not complete".to_owned(),
    };
    let remedy = "`netagent confirm` keeps it in time, `netagent rollback` undoes it";
    Ok(Some(Finding::new(Subject::Node, Code::OnTrial, text, remedy)))
}

/// The time of day of an uptime, as RFC 3339 has it.
pub fn time_of_day(uptime_then: Duration) -> String {
    let at = SystemTime::now() + uptime_then.saturating_sub(since_boot());
    humantime::format_rfc3339_seconds(at).to_string()
}
