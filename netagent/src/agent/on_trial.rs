//! Changes on trial: the terms, the undo log that is written before each step, and the records.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::Agent;
use crate::{
    change::Change,
    clock::since_boot,
    plan::{Plan, Unit},
    state::{Route, Subject},
    state_file,
    trial::{self, Done, Header, Records, Target, Terms, Unconfirmed, UndoLog},
};

/// Whether changes are on trial, and the trial that runs.
#[derive(Default)]
pub struct OnTrial {
    /// The state directory.
    pub directory: Option<PathBuf>,
    /// The terms of the next trial; `None`: changes are final.
    pub terms: Option<Terms>,
    /// The trial that runs.
    pub log: Option<UndoLog>,
}

impl OnTrial {
    /// Notes what undoes a step, before it is taken. The port of a VM that comes when everything
    /// was carried out is not part of the trial: an undo would leave it unfiltered meanwhile.
    pub fn note(&mut self, unit: &Unit, undo: &[Change]) -> Result<()> {
        let Some(log) = self.log.as_mut().filter(|_| !undo.is_empty()) else { return Ok(()) };
        if log.deadline().is_some() && matches!(unit.subject, Subject::Port(_)) {
            return Ok(());
        }
        log.push(Done { unit: unit.id.clone(), undo: undo.to_vec() })
    }

    /// The number of steps that were noted.
    pub fn noted(&self) -> usize {
        self.log.as_ref().map_or(0, UndoLog::steps)
    }

    /// Forgets steps that were undone.
    pub fn forget_after(&mut self, noted: usize) -> Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.truncate(noted))
    }
}

impl Agent {
    /// Sets the terms on which the changes that follow are on trial.
    pub fn set_terms(&mut self, terms: Option<Terms>) {
        self.trials.terms = terms;
    }

    /// The trial that runs.
    pub const fn trial(&self) -> Option<&UndoLog> {
        self.trials.log.as_ref()
    }

    /// Continues a trial that another process began.
    pub fn continue_trial(&mut self, log: UndoLog) {
        self.trials.log = Some(log);
    }

    /// Takes the trial that runs, to end it.
    pub const fn take_trial(&mut self) -> Option<UndoLog> {
        self.trials.log.take()
    }

    /// Begins a trial if the terms ask for one for this plan: with the records and the log on disk,
    /// and when it is known who answers before the change.
    pub(super) async fn begin_trial(&mut self, plan: &Plan) -> Result<()> {
        let OnTrial { directory: Some(directory), terms: Some(terms), log: None, .. } =
            &self.trials
        else {
            return Ok(());
        };
        let links = plan.touches();
        if links.is_empty() && !(terms.always && plan.units.iter().any(Unit::is_runnable)) {
            return Ok(());
        }
        let gateways = self.seen.links.routes.iter().filter(|route| route.is_default());
        let gateways = gateways.map(gateway);
        let targets: BTreeSet<Target> =
            gateways.chain(terms.probes.iter().copied().map(Target::Address)).collect();
        let answered = trial::ask(&targets).await?;
        let unconfirmed =
            Unconfirmed { text: terms.text.clone(), links: links.clone(), reason: None };
        Records::read(directory).set_unconfirmed(unconfirmed)?;
        let (boot, time, text) = (state_file::boot_id()?, terms.time, terms.text.clone());
        let header = Header { boot, time, links, answered, text };
        self.trials.log = Some(begin(directory, header)?);
        Ok(())
    }

    /// Notes the links that carry the node and that a plan alters: a file that is confirmed later
    /// may need them on a node that has just booted.
    pub(super) fn note_touched(&self, plan: &Plan) -> Result<()> {
        let links = plan.touches();
        match &self.trials.directory {
            Some(directory) if !links.is_empty() => {
                Records::touch(directory, &state_file::boot_id()?, &links)
            }
            _ => Ok(()),
        }
    }

    /// Notes that everything that is on trial was carried out.
    pub fn complete_trial(&mut self) -> Result<()> {
        match &mut self.trials.log {
            Some(log) if log.deadline().is_none() => {
                let deadline = since_boot() + log.header().time;
                log.complete(deadline)
            }
            _ => Ok(()),
        }
    }
}

fn begin(directory: &Path, header: Header) -> Result<UndoLog> {
    UndoLog::begin(directory, header)
        .context("the change can cut the node off, and could not be rolled back")
}

fn gateway(route: &Route) -> Target {
    if route.to.address.is_ipv4() { Target::Gateway4 } else { Target::Gateway6 }
}
