//! Changes on trial in the daemon: which file is in force at the start, when a trial begins, and
//! how it ends.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use tokio::{sync::watch, time::Instant};
use tracing::{debug, error, info, warn};

use super::{Daemon, Sources};
use crate::{
    agent::{Agent, Ledger, Progress as _, Undone},
    clock::since_boot,
    request::Refusal,
    state::{Code, Finding, Subject},
    state_file,
    trial::{self, Decided, Records, Silent, Terms, UndoLog, verdict},
};

/// How often a trial is judged.
const PERIOD: Duration = Duration::from_secs(1);

/// The text of the file that was confirmed last, if the node has booted since it was applied.
pub fn confirmed_before_this_boot(directory: &Path) -> Result<Option<String>> {
    let boot = state_file::boot_id()?;
    let confirmed = Records::read(directory).confirmed;
    Ok(confirmed.filter(|confirmed| confirmed.boot != boot).map(|confirmed| confirmed.text))
}

/// The trials of the daemon.
pub struct Trials {
    directory: PathBuf,
    boot: String,
    records: Records,
    /// Whether changes are on trial by themselves.
    automatic: bool,
    /// What does not answer, while a trial runs that was carried out.
    silent: Option<watch::Receiver<Option<Silent>>>,
    /// When the trial was judged last.
    judged: Instant,
    /// The file at the path is another one than the confirmed one, which a node that has booted
    /// gets first.
    reload_next: bool,
}

impl Trials {
    /// Brings to an end what an agent before this one has left: a trial that was not carried out
    /// completely, or whose time is over, is undone; another one continues. A file that was not
    /// confirmed is not in force.
    pub async fn start(
        directory: &Path,
        automatic: bool,
        agent: &mut Agent,
        sources: &mut Sources,
        desk: &mut super::Desk,
    ) -> Result<Self> {
        let boot = state_file::boot_id()?;
        trial::finish(directory, &boot)?;
        let mut trials = Self {
            directory: directory.to_owned(),
            records: Records::read(directory).set_aside(),
            boot,
            automatic,
            silent: None,
            judged: Instant::now(),
            reload_next: false,
        };
        match UndoLog::open(directory, &trials.boot)? {
            Some(log) if is_over(&log) => {
                agent.look().await?;
                trials
                    .undo(agent, log, desk, |log| match log.deadline() {
                        Some(_) => "nobody confirmed it in time".to_owned(),
                        None => "the agent ended before the change was complete".to_owned(),
                    })
                    .await?;
            }
            Some(log) => {
                info!("a change is on trial: {}", remedy(&log));
                agent.continue_trial(log);
            }
            // One that cannot be read is the reason why a file is rolled back.
            None => trials.records = Records::read(directory),
        }
        trials.choose_file(agent.trial().is_some(), sources);
        if agent.trial().is_none() && sources.file().is_some() {
            trials.boot_confirmed(sources);
        }
        Ok(trials)
    }

    /// Puts the file in force that the records allow.
    fn choose_file(&self, on_trial: bool, sources: &mut Sources) {
        let Some(unconfirmed) = &self.records.unconfirmed else { return };
        if on_trial {
            // The one at the path may be another one already.
            if sources.file().is_none_or(|file| file.text != unconfirmed.text)
                && let Err(error) = sources.hold(Some(&unconfirmed.text), None)
            {
                warn!("{error}");
            }
        } else if sources.file().is_some_and(|file| file.text == unconfirmed.text) {
            self.revert(sources);
        }
    }

    /// Puts the file in force that was confirmed last, on a node that has just booted: the one at
    /// the path may alter what the node lives on, or ask for nothing, and nobody may be able to log
    /// in.
    fn boot_confirmed(&mut self, sources: &mut Sources) {
        let Some(confirmed) = &self.records.confirmed else { return };
        let is_in_force = sources.file().is_some_and(|file| file.text == confirmed.text);
        if confirmed.boot == self.boot || is_in_force {
            return;
        }
        info!(
            "{} differs from the file that was confirmed: that one first",
            sources.path().display()
        );
        match sources.hold(Some(&confirmed.text), None) {
            Ok(()) => self.reload_next = true,
            Err(error) => warn!("{error}"),
        }
    }

    /// Puts the file in force that was confirmed last, or none.
    fn revert(&self, sources: &mut Sources) {
        let path = sources.path().display().to_string();
        let reason = self.records.unconfirmed.as_ref().and_then(|it| it.reason.clone());
        let reason = reason.unwrap_or_else(|| "nobody confirmed it before the reboot".to_owned());
        let finding = |in_force: &str| {
            Finding::new(
                Subject::Node,
                Code::RolledBack,
                format!("{path} was rolled back: {reason}; {in_force}"),
                "correct the file if need be, then `netagent reload` tries it again",
            )
        };
        let confirmed = self.records.confirmed.as_ref().map(|confirmed| confirmed.text.as_str());
        let of_trial = self.records.unconfirmed.as_ref().map(|unconfirmed| &*unconfirmed.text);
        if confirmed.is_some() && confirmed == of_trial {
            warn!("a release was rolled back: the file is in force as it was");
            return;
        }
        let held = sources.hold(
            confirmed,
            Some(finding(match confirmed {
                Some(_) => "the file that was confirmed last is in force",
                None => "no file was confirmed, nothing is done",
            })),
        );
        if let Err(error) = held {
            error!("{error}: nothing is done");
            let text = finding("the file that was confirmed last cannot be read, nothing is done");
            let _without_file = sources.hold(None, Some(text));
        }
    }

    /// Sets on which terms the file in force is applied. `time` asks for a trial, whatever the file
    /// changes.
    pub fn arm(&self, agent: &mut Agent, sources: &Sources, time: Option<Duration>) {
        let is_new = sources.file().is_some_and(|file| !self.records.is_confirmed(&file.text));
        self.arm_if(time.is_some() || is_new, agent, sources, time);
    }

    /// The same for a change of what a source has, though the file is confirmed.
    pub fn arm_always(&self, agent: &mut Agent, sources: &Sources) {
        self.arm_if(true, agent, sources, None);
    }

    fn arm_if(&self, new: bool, agent: &mut Agent, sources: &Sources, time: Option<Duration>) {
        let Some(file) = sources.file() else { return agent.set_terms(None) };
        let terms = Terms {
            text: file.text.clone(),
            time: time.unwrap_or(trial::DEFAULT_TIME),
            always: time.is_some(),
            probes: file.probes.clone(),
        };
        let wanted = time.is_some() || self.automatic && new;
        agent.set_terms(wanted.then_some(terms));
    }

    /// Allows what the confirmed file needed, on a node that has just booted.
    pub fn allow(&self, ledger: &mut Ledger, sources: &Sources) {
        let Some(confirmed) = &self.records.confirmed else { return };
        let is_in_force = sources.file().is_some_and(|file| file.text == confirmed.text);
        if is_in_force && confirmed.boot != self.boot {
            ledger.confirm(confirmed.links.clone());
        }
    }

    /// An apply has ended that was not interrupted. `is_open`: something waits for a confirmation
    /// before it is done.
    fn applied(&mut self, agent: &mut Agent, sources: &Sources, is_open: bool) -> Result<()> {
        if let Some(log) = agent.trial() {
            if self.silent.is_none() {
                self.silent = Some(trial::watch(log.header().answered.clone()));
            }
            if log.deadline().is_none() {
                agent.complete_trial()?;
                self.records = Records::read(&self.directory);
            }
            return Ok(());
        }
        if let Some(file) = sources.file().filter(|_| !is_open) {
            self.records.confirm(&self.boot, &file.text)?;
            agent.set_terms(None);
        }
        Ok(())
    }

    /// Undoes a trial, unless somebody confirmed it at the same moment. Whether it was undone.
    async fn undo(
        &mut self,
        agent: &mut Agent,
        log: UndoLog,
        desk: &mut super::Desk,
        reason: impl FnOnce(&UndoLog) -> String,
    ) -> Result<bool> {
        let mut reason = reason(&log);
        self.silent = None;
        agent.set_terms(None);
        match agent.undo(log, |outcome| desk.outcome(outcome)).await? {
            Undone::Confirmed => {
                trial::finish(&self.directory, &self.boot)?;
                self.records = Records::read(&self.directory);
                return Ok(false);
            }
            Undone::Except(failed) if failed.is_empty() => {}
            Undone::Except(failed) => {
                reason = format!("{reason} (not rolled back: {})", failed.join("; "));
            }
        }
        error!("rolled back: {reason}");
        self.records = Records::read(&self.directory);
        self.records.set_reason(reason)?;
        Ok(true)
    }

    /// When a trial is judged next.
    pub fn due(&self) -> Option<Instant> {
        self.silent.as_ref().map(|_| self.judged + PERIOD)
    }

    /// Findings about records and logs that could not be read.
    pub fn findings(&self) -> Vec<Finding> {
        self.records.findings().into_iter().chain(trial::findings(&self.directory)).collect()
    }

    /// The finding about the trial that runs.
    pub fn finding(agent: &Agent) -> Option<Finding> {
        let log = agent.trial()?;
        let links: Vec<_> = log.header().links.iter().map(ToString::to_string).collect();
        let what = match links.as_slice() {
            [] => "the file".to_owned(),
            names => format!("the change of {}", names.join(", ")),
        };
        let text = format!("{what} is on trial");
        Some(Finding::new(Subject::Node, Code::OnTrial, text, remedy(log)))
    }
}

fn is_over(log: &UndoLog) -> bool {
    log.is_undone() || log.deadline().is_none_or(|deadline| since_boot() >= deadline)
}

/// What to do about a trial.
fn remedy(log: &UndoLog) -> String {
    let Some(deadline) = log.deadline() else {
        return "it is being carried out".to_owned();
    };
    format!(
        "`netagent confirm` keeps it, `netagent rollback` undoes it now; at {} it is rolled back",
        trial::time_of_day(deadline)
    )
}

impl Daemon {
    /// An apply has ended that was not interrupted.
    pub(super) fn note_applied(&mut self, is_open: bool) {
        if self.agent.trial().is_none() && !is_open {
            self.sources.end_trial(false);
        }
        if let Err(error) = self.trials.applied(&mut self.agent, &self.sources, is_open) {
            // A finding says so.
            debug!("keep which file was confirmed: {error:#}");
        }
        if std::mem::take(&mut self.trials.reload_next) {
            self.desk.reload_next();
        }
    }

    /// Ends the trial if its time has come, or if another process has confirmed it.
    pub(super) async fn judge_trial(&mut self) {
        self.trials.judged = Instant::now();
        let Some(log) = self.agent.trial() else { return };
        match log.decided() {
            Some(Decided::Confirmed) => return self.keep(),
            Some(Decided::Undo) => {
                let reason = "its undo log was taken away".to_owned();
                return self.end_trial(reason).await;
            }
            None => {}
        }
        let silent = self.trials.silent.as_ref().and_then(|silent| silent.borrow().clone());
        let (silent, now) = (silent.unwrap_or_default(), since_boot());
        let Some(deadline) = log.deadline() else { return };
        if let Some(reason) = verdict(log.header(), deadline, &silent, now) {
            self.end_trial(reason).await;
        }
    }

    /// Confirms the trial that runs.
    pub(super) fn confirm_trial(&mut self) -> Result<BTreeSet<Subject>, Refusal> {
        match trial::confirm(&self.trials.directory, &self.trials.boot) {
            Ok(true) => {
                self.keep();
                Ok(BTreeSet::new())
            }
            Ok(false) => Err(Refusal::NotFound(
                "no change is on trial: to confirm a change that waits, name its links".to_owned(),
            )),
            Err(error) => Err(Refusal::Failed(format!("{error:#}"))),
        }
    }

    /// Undoes the trial that runs.
    pub(super) async fn roll_back(&mut self) -> Result<BTreeSet<Subject>, Refusal> {
        if self.agent.trial().is_none() {
            return Err(Refusal::NotFound("no change is on trial".to_owned()));
        }
        self.end_trial("the operator asked for it".to_owned()).await;
        Ok(BTreeSet::new())
    }

    fn keep(&mut self) {
        info!("the change was confirmed");
        self.agent.take_trial();
        self.agent.set_terms(None);
        self.sources.end_trial(false);
        self.trials.silent = None;
        if let Err(error) = trial::finish(&self.trials.directory, &self.trials.boot) {
            error!("keep which file was confirmed: {error:#}");
        }
        self.trials.records = Records::read(&self.trials.directory);
        // So that the finding goes.
        self.due = Some(Instant::now());
    }

    async fn end_trial(&mut self, reason: String) {
        let Some(log) = self.agent.take_trial() else { return };
        let undone = self.trials.undo(&mut self.agent, log, &mut self.desk, |_| reason).await;
        match undone {
            Ok(false) => return self.keep(),
            Ok(true) => {}
            // What is left of the log is undone at the next start.
            Err(error) => error!("roll back: {error:#}"),
        }
        self.ledger = Ledger::new(self.confirmed.clone());
        self.sources.end_trial(true);
        self.trials.revert(&mut self.sources);
        self.changes.everything = true;
        self.compile();
    }
}
