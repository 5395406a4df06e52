//! `netagent plan` and `netagent apply`: once, without a daemon.

use std::{ops::ControlFlow, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use tokio::task::yield_now;

use super::{
    Places, Target,
    on_trial::{self, Ended},
    print::{print, progress, remark, unwell},
};
use crate::{
    agent::{Agent, Ledger, Progress},
    config::Config,
    control::PlanReport,
    daemon::{Journal, Sources, Stop},
    health::{self, Evidence},
    names::IfName,
    output,
    plan::{Permission, Plan},
    state::{Code, Finding, Observed, Outcome},
    state_file,
    trial::{self, Records, Terms},
};

pub async fn plan(places: &Places, target: &Target, json: bool) -> Result<ExitCode> {
    let sources = Sources::open(&target.config, &places.socket, &places.state)?;
    let mut agent = Agent::open(&places.pins)?;
    agent.remember_in(&places.state)?;
    agent.look().await?;
    known(&target.confirm, agent.links())?;
    let (desired, _) = sources.on(agent.links(), agent.ports());
    let confirmed = target.confirm.iter().cloned().collect();
    let plan = agent.plan(&desired, &Permission { confirmed, ..Permission::default() });
    if let Ok(Some(finding)) = trial::pending(&places.state) {
        remark(&finding.to_string());
    }
    for finding in trial::findings(&places.state) {
        remark(&finding.to_string());
    }
    let text = if json {
        serde_json::to_string_pretty(&PlanReport::of(&plan))? + "\n"
    } else {
        text(&plan)
    };
    print(&text)?;
    Ok(ExitCode::from(if plan.is_empty() { 0 } else { 2 }))
}

/// Which changes are on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// All, for this many seconds.
    Always(u32),
    /// Those of what the node lives on.
    OfTheNode,
    /// None.
    Never,
}

impl Trial {
    fn terms(self, file: &Config) -> Option<Terms> {
        let (time, always) = match self {
            Self::Always(seconds) => (Duration::from_secs(seconds.into()), true),
            Self::OfTheNode => (trial::DEFAULT_TIME, false),
            Self::Never => return None,
        };
        Some(Terms { text: file.text.clone(), time, always, probes: file.probes.clone() })
    }
}

/// The exit code of an apply that was rolled back.
const ROLLED_BACK: u8 = 4;

pub async fn apply(places: &Places, target: &Target, trial: Trial) -> Result<ExitCode> {
    let stop = Stop::open()?;
    let sources = Sources::open(&target.config, &places.socket, &places.state)?;
    let mut agent = Agent::in_charge(&places.pins)?;
    agent.remember_in(&places.state)?;
    agent.look().await.context("nothing was done")?;
    let mut steps = Steps { taken: 0, journal: Journal::new(&places.state), stop, stopped: None };
    if on_trial::settle_earlier(&mut agent, &places.state, &mut steps).await? {
        remark("an earlier change was rolled back; nothing else was done: run it again");
        return Ok(ExitCode::from(ROLLED_BACK));
    }
    let file = sources.file().cloned();
    agent.set_terms(file.as_ref().and_then(|file| trial.terms(file)));
    known(&target.confirm, agent.links()).context("nothing was done")?;
    // Ports that were added at run time stay, though no daemon runs.
    let (desired, of_sources) = sources.on(agent.links(), agent.ports());
    agent.prepare(&desired)?;
    yield_now().await;
    if let Some(signal) = steps.stop.take() {
        remark(&format!("{}: nothing was done", name(signal)));
        return Ok(status(signal));
    }
    let mut ledger = Ledger::new(target.confirm.iter().cloned().collect());
    let applied = agent.apply(&desired, &mut ledger, &mut steps).await;
    agent.look().await.context("applied; look at the result")?;
    let of_agent = agent.findings();
    let of_plan = applied.plan.findings().chain(ledger.findings());
    let known: Vec<Finding> = of_sources.iter().chain(&of_agent).chain(of_plan).cloned().collect();
    let health = health::judge(Evidence {
        desired: &desired,
        links: agent.links(),
        datapath: agent.ports(),
        known: &known,
    });
    let of_apply = |finding: &&Finding| !finding.code.depends_on_the_wire();
    let unwell_findings: Vec<&Finding> = health.unwell().filter(of_apply).collect();
    let remarks = health.findings.iter().filter(|finding| !unwell_findings.contains(finding));
    let mut lines: Vec<String> = remarks.map(|finding| format!("# {finding}")).collect();
    let left = applied.plan.units.iter().filter(|unit| unit.is_runnable()).count();
    let stopped = steps.stopped.filter(|_| applied.interrupted && left > 0);
    let result = match (unwell_findings.is_empty(), steps.taken) {
        _ if stopped.is_some() => "stopped before the end",
        (true, 0) => "nothing to do",
        (true, _) => "done, and verified",
        (false, 0) => "nothing was done",
        (false, _) => "done, except for what stderr names",
    };
    lines.push(result.to_owned());
    progress(&lines.join("\n"));
    let mut code = match stopped {
        Some(signal) => {
            remark(&left_undone(signal, &applied.plan));
            status(signal)
        }
        None => unwell(unwell_findings.into_iter()),
    };
    let ended = match stopped {
        Some(_) => on_trial::abandon(&mut agent, &places.state, &mut steps).await?,
        None => on_trial::decide(&mut agent, &places.state, &mut steps).await?,
    };
    match (ended, file) {
        (Ended::RolledBack, _) if stopped.is_none() => code = ExitCode::from(ROLLED_BACK),
        (Ended::Kept, Some(file)) if stopped.is_none() && applied.plan.unconfirmed().is_empty() => {
            if let Err(error) = record(places, &file) {
                remark(&format!("the node is as the exit code says, but {error:#}"));
            }
        }
        _ => {}
    }
    // Others can take charge while somebody reads the result.
    drop(agent);
    // Nothing is left to be done: a signal ends the wait for a reader.
    tokio::select! {
        biased;
        written = output::flushed() => if let Err(error) = written {
            remark(&format!("the node is as the exit code says, but stdout is not complete: {error}"));
        },
        _ = steps.stop.next() => {}
    }
    Ok(code)
}

/// Keeps which file is confirmed, for the start of the daemon after a reboot.
fn record(places: &Places, file: &Config) -> Result<()> {
    Records::read(&places.state).confirm(&state_file::boot_id()?, &file.text)
}

/// Undoes the trial of an apply that was killed.
pub async fn rollback(places: &Places) -> Result<ExitCode> {
    let stop = Stop::open()?;
    let charge = Agent::in_charge(&places.pins);
    if let Err(error) = &charge
        && on_trial::ask_to_undo(&places.state).await.with_context(|| format!("{error:#}"))?
    {
        print("rolled back\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut agent = charge?;
    agent.remember_in(&places.state)?;
    agent.look().await?;
    let mut steps = Steps { taken: 0, journal: Journal::new(&places.state), stop, stopped: None };
    on_trial::undo(&mut agent, &places.state, &mut steps).await?;
    Ok(ExitCode::SUCCESS)
}

pub fn name(signal: i32) -> &'static str {
    if signal == libc::SIGINT { "SIGINT" } else { "SIGTERM" }
}

/// The exit code of an apply that a signal has stopped: as shells report a process that it ends.
fn status(signal: i32) -> ExitCode {
    ExitCode::from(128 + u8::try_from(signal).unwrap_or_default())
}

/// The number of units that a line names.
const NAMED: usize = 5;

/// The line about an apply that a signal has stopped.
fn left_undone(signal: i32, plan: &Plan) -> String {
    let name = name(signal);
    let units: Vec<String> = plan
        .units
        .iter()
        .filter(|unit| unit.is_runnable())
        .map(|unit| unit.id.to_string())
        .collect();
    let more = match units.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = units[..units.len().min(NAMED)].join(", ");
    format!("{name}: stopped between units; not done: {named}{more}: `netagent apply` continues")
}

/// Refuses a confirmation of a link that does not exist: a name that is misspelt confirms nothing.
fn known(confirmed: &[IfName], links: &Observed) -> Result<()> {
    match confirmed.iter().find(|name| links.link(name).is_none()) {
        Some(name) => bail!("--confirm {name}: no such link: see `ip link`"),
        None => Ok(()),
    }
}

/// Prints the steps as they are taken, and keeps them in the history.
pub struct Steps {
    taken: usize,
    journal: Journal,
    pub stop: Stop,
    /// The signal that asked to stop.
    stopped: Option<i32>,
}

impl Progress for Steps {
    fn outcome(&mut self, outcome: Outcome) {
        self.taken += usize::from(outcome.error.is_none());
        self.journal.add(&outcome);
        match &outcome.error {
            None => progress(&outcome.step),
            Some(error) => progress(&format!("# failed: {error}")),
        }
    }

    async fn between(&mut self, _: &mut Agent, _: &Ledger) -> ControlFlow<()> {
        // Lets the runtime take signals: steps of the datapath do not wait for anything.
        yield_now().await;
        if self.stopped.is_none() {
            self.stopped = self.stop.take();
        }
        if self.stopped.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The plan as an operator reads it.
fn text(plan: &Plan) -> String {
    let mut lines: Vec<String> = Vec::new();
    for unit in &plan.units {
        lines.extend(unit.steps.iter().map(|step| step.change.to_string()));
    }
    lines.extend(plan.units.iter().flat_map(|unit| &unit.impact).map(|cost| format!("# {cost}")));
    for link in plan.unconfirmed() {
        lines.push(format!("# {link}: the change needs confirmation: apply --confirm {link}"));
    }
    if plan.is_empty() {
        lines.push("nothing to do".to_owned());
    }
    let findings = plan.findings().filter(|finding| finding.code != Code::ConfirmationNeeded);
    lines.extend(findings.map(|finding| format!("# {finding}")));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        change::{Change, LinkChange},
        plan::{Step, unit},
        state::{Part, Subject},
    };

    #[test]
    fn the_line_about_a_stop_names_what_is_left_and_is_bounded() {
        let mut plan = Plan::default();
        for number in 1..=7 {
            let device = format!("tap{number}");
            let subject = Subject::Port(device.parse().unwrap());
            let mut unit = unit(Part::Port, &device, subject);
            let up = Change::Link(LinkChange::SetUp(device.parse().unwrap()));
            unit.steps.push(Step { change: up, before: Vec::new() });
            plan.units.push(unit);
        }
        // Nothing of it can be done.
        plan.units[0].steps.clear();
        assert_eq!(
            left_undone(libc::SIGTERM, &plan),
            "SIGTERM: stopped between units; not done: port tap2, port tap3, port tap4, port \
             tap5, port tap6 and 1 more: `netagent apply` continues"
        );
    }
}
