//! `netagent apply` with a change on trial, and the commands that decide about one where no daemon
//! runs.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result, bail};
use tokio::time::{Duration, sleep};

use super::{
    apply::{Steps, name},
    print::{progress, remark},
};
use crate::{
    agent::{Agent, Progress as _, Undone},
    clock::since_boot,
    state_file,
    trial::{self, Decided, Records, Silent, Target, UndoLog, verdict},
};

/// How often it is looked whether somebody has confirmed.
const PERIOD: Duration = Duration::from_millis(100);

/// How long an apply that waits may need to undo its change.
const UNDO: Duration = Duration::from_secs(60);

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Kept,
    RolledBack,
}

/// Refuses to begin while another change is on trial. One whose time is over, or that was not
/// carried out completely, is undone first. Returns whether it was.
pub async fn settle_earlier(
    agent: &mut Agent,
    directory: &Path,
    steps: &mut Steps,
) -> Result<bool> {
    let boot = state_file::boot_id()?;
    trial::finish(directory, &boot)?;
    let Some(log) = UndoLog::open(directory, &boot)? else { return Ok(false) };
    match log.deadline() {
        Some(deadline) if !log.is_undone() && since_boot() < deadline => bail!(
            "nothing was done: another change is on trial until {}: `netagent confirm` keeps it, \
             `netagent rollback` undoes it",
            trial::time_of_day(deadline)
        ),
        _ => {
            roll_back(agent, log, directory, steps, "it was not confirmed in time").await?;
            Ok(true)
        }
    }
}

/// Waits until the trial is confirmed, its time is over, what answered before is silent for too
/// long, or a signal comes.
pub async fn decide(agent: &mut Agent, directory: &Path, steps: &mut Steps) -> Result<Ended> {
    agent.complete_trial()?;
    let Some(log) = agent.take_trial() else { return Ok(Ended::Kept) };
    let deadline = log.deadline().unwrap_or_default();
    let seconds = log.header().time.as_secs();
    progress(&format!(
        "# on trial: `netagent confirm` within {seconds} s (until {}) keeps it; otherwise, or with \
         Ctrl-C, it is rolled back",
        trial::time_of_day(deadline)
    ));
    let targets = log.header().answered.clone();
    let silent = trial::watch(targets.clone());
    let mut told = None;
    let reason = loop {
        match log.decided() {
            Some(Decided::Confirmed) => return kept(directory),
            Some(Decided::Undo) if log.is_undone() => break "the operator asked for it".to_owned(),
            Some(Decided::Undo) => break "its undo log was taken away".to_owned(),
            None => {}
        }
        let known = silent.borrow().clone();
        if known != told && !targets.is_empty() {
            if let Some(known) = &known {
                progress(&reachability(&targets, known));
            }
            told = known;
        }
        let silent = told.clone().unwrap_or_default();
        if let Some(reason) = verdict(log.header(), deadline, &silent, since_boot()) {
            break reason;
        }
        tokio::select! {
            signal = steps.stop.next() => break name(signal).to_owned(),
            () = sleep(PERIOD) => {}
        }
    };
    roll_back(agent, log, directory, steps, &reason).await
}

/// Undoes the trial that a signal has interrupted.
pub async fn abandon(agent: &mut Agent, directory: &Path, steps: &mut Steps) -> Result<Ended> {
    match agent.take_trial() {
        Some(log) => roll_back(agent, log, directory, steps, "it was interrupted").await,
        None => Ok(Ended::Kept),
    }
}

fn reachability(targets: &BTreeSet<Target>, silent: &Silent) -> String {
    let answer = |is_silent: bool| {
        let names = targets.iter().filter(|target| silent.contains_key(target) == is_silent);
        names.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    match (answer(false), answer(true)) {
        (answering, silent) if silent.is_empty() => format!("# reachable: {answering}"),
        (_, silent) => format!("# does not answer: {silent}"),
    }
}

async fn roll_back(
    agent: &mut Agent,
    log: UndoLog,
    directory: &Path,
    steps: &mut Steps,
    reason: &str,
) -> Result<Ended> {
    let failed = match agent.undo(log, |outcome| steps.outcome(outcome)).await? {
        Undone::Confirmed => return kept(directory),
        Undone::Except(failed) => failed,
    };
    Records::read(directory).set_reason(reason.to_owned())?;
    if failed.is_empty() {
        remark(&format!("rolled back: {reason}"));
        return Ok(Ended::RolledBack);
    }
    for change in &failed {
        remark(&format!("not rolled back: {change}"));
    }
    bail!("{reason}: rolled back, except for {} changes: restore them by hand", failed.len())
}

/// The change was confirmed by another process.
fn kept(directory: &Path) -> Result<Ended> {
    trial::finish(directory, &state_file::boot_id()?)?;
    progress("confirmed");
    Ok(Ended::Kept)
}

/// The log of the trial that runs, or an error where none does.
fn running(directory: &Path, boot: &str) -> Result<UndoLog> {
    UndoLog::open(directory, boot)?
        .with_context(|| format!("no change is on trial in {}: see --state", directory.display()))
}

/// Asks the apply that waits to undo its change, and waits until it has. Whether it has.
pub async fn ask_to_undo(directory: &Path) -> Result<bool> {
    let boot = state_file::boot_id()?;
    let log = running(directory, &boot)?;
    if log.decide()? == Decided::Confirmed {
        bail!("it is too late: the change was confirmed");
    }
    let asked = since_boot();
    while UndoLog::open(directory, &boot)?.is_some() {
        if since_boot().saturating_sub(asked) > UNDO {
            return Ok(false);
        }
        sleep(PERIOD).await;
    }
    Ok(true)
}

/// Confirms the trial of an apply that waits, or that was killed.
pub fn confirm(directory: &Path) -> Result<()> {
    if !trial::confirm(directory, &state_file::boot_id()?)? {
        bail!(
            "no change is on trial in {}, and no daemon runs: see --state and --socket",
            directory.display()
        );
    }
    Ok(())
}

/// Undoes the trial of an apply that was killed. One that still runs has the charge.
pub async fn undo(agent: &mut Agent, directory: &Path, steps: &mut Steps) -> Result<Ended> {
    let boot = state_file::boot_id()?;
    trial::finish(directory, &boot)?;
    let log = running(directory, &boot)?;
    roll_back(agent, log, directory, steps, "the operator asked for it").await
}
