//! `netagent plan` and `netagent apply`: once, without a daemon.

use std::{future::ready, ops::ControlFlow, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use super::{
    Places, Target,
    print::{print, progress, unwell},
};
use crate::{
    agent::{Agent, Ledger, Progress},
    daemon::{Journal, Sources},
    health::{self, Evidence},
    names::IfName,
    plan::{Permission, Plan},
    state::{Code, Finding, Observed, Outcome},
};

pub async fn plan(places: &Places, target: &Target) -> Result<ExitCode> {
    let sources = Sources::open(&target.config, &places.socket)?;
    let mut agent = Agent::open(&places.pins)?;
    agent.remember_in(&places.state)?;
    agent.look().await?;
    known(&target.confirm, agent.links())?;
    let (desired, _) = sources.on(agent.links());
    let confirmed = target.confirm.iter().cloned().collect();
    let plan = agent.plan(&desired, &Permission { confirmed, ..Permission::default() });
    print(&text(&plan))?;
    Ok(ExitCode::from(if plan.is_empty() { 0 } else { 2 }))
}

pub async fn apply(places: &Places, target: &Target) -> Result<ExitCode> {
    let sources = Sources::open(&target.config, &places.socket)?;
    let mut agent = Agent::open(&places.pins)?;
    agent.take_charge()?;
    agent.remember_in(&places.state)?;
    agent.look().await.context("nothing was done")?;
    known(&target.confirm, agent.links()).context("nothing was done")?;
    // Ports that were added at run time stay, though no daemon runs.
    let (desired, of_sources) = sources.on(agent.links());
    let mut ledger = Ledger::new(target.confirm.iter().cloned().collect());
    let mut steps = Steps { taken: 0, journal: Journal::new(&places.state) };
    let applied = agent.apply(&desired, &mut ledger, &mut steps).await;
    agent.look().await.context("applied; look at the result")?;
    let of_plan = applied.plan.findings().chain(ledger.findings());
    let known: Vec<Finding> = of_sources.iter().chain(of_plan).cloned().collect();
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
    let result = match (unwell_findings.is_empty(), steps.taken) {
        (true, 0) => "nothing to do",
        (true, _) => "done, and verified",
        (false, 0) => "nothing was done",
        (false, _) => "done, except for what stderr names",
    };
    lines.push(result.to_owned());
    print(&(lines.join("\n") + "\n"))?;
    Ok(unwell(unwell_findings.into_iter()))
}

/// Refuses a confirmation of a link that does not exist: a name that is misspelt confirms nothing.
fn known(confirmed: &[IfName], links: &Observed) -> Result<()> {
    match confirmed.iter().find(|name| links.link(name).is_none()) {
        Some(name) => bail!("--confirm {name}: no such link: see `ip link`"),
        None => Ok(()),
    }
}

/// Prints the steps as they are taken, and keeps them in the history.
struct Steps {
    taken: usize,
    journal: Journal,
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

    fn between(&mut self, _: &mut Agent, _: &Ledger) -> impl Future<Output = ControlFlow<()>> {
        ready(ControlFlow::Continue(()))
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
