//! Commands: what the daemon does when it is told to.

use std::{collections::BTreeSet, time::Duration};

use tracing::{error, info, warn};

use super::{
    Daemon, Trials,
    desk::{Reply, Waiter},
};
use crate::{
    intent::PortIntent,
    names::IfName,
    plan::Plan,
    request::{Command, Refusal, Waiting},
    state::{Part, Subject, UnitId},
};

impl Daemon {
    /// Does what it was told. The answer comes when the effect has been tried, or at once if
    /// nothing was changed.
    pub(super) async fn execute(&mut self, (command, reply): (Command, Option<Reply>)) {
        let result = match command {
            Command::Reload(time) => self.reload(time).map(|()| BTreeSet::new()),
            Command::AddPort(port) => self.add_port(*port).map(|port| [port].into()),
            Command::DeletePort(device) => self.delete_port(&device).map(|port| [port].into()),
            Command::Confirm(waiting) => self.confirm(waiting),
            Command::Release { name, undo } => self.release(&name, undo),
            Command::Keep => self.confirm_trial(),
            Command::RollBack => self.roll_back().await,
        };
        match (result, reply) {
            (Ok(subjects), Some(reply)) => self.desk.await_effect(Waiter { subjects, reply }),
            // The one who asked may be gone.
            (Err(refusal), Some(reply)) => drop(reply.send(Err(refusal))),
            (Ok(_) | Err(_), None) => {}
        }
    }

    /// Reads the file again. A file that cannot be used changes nothing.
    fn reload(&mut self, time: Option<Duration>) -> Result<(), Refusal> {
        if let Some(finding) = Trials::finding(&self.agent) {
            warn!("the file was not read again: {finding}");
            return Err(Refusal::Conflict(format!("the file was not read again: {finding}")));
        }
        let result = self.sources.reload();
        self.desk.reloaded(result.as_ref().err().map(ToString::to_string));
        match result {
            Ok(changed) => {
                info!("the file was read again");
                if changed {
                    warn!(
                        "metrics.listen is read at the start only: restart netagent to change it"
                    );
                }
                self.trials.arm(&mut self.agent, &self.sources, time);
                self.compile();
                Ok(())
            }
            Err(error) => {
                error!("{error:#}: continuing with the file as it was");
                // So that the finding shows.
                self.due = Some(tokio::time::Instant::now());
                Err(Refusal::Conflict(format!("{error:#}")))
            }
        }
    }

    fn release(&mut self, name: &str, undo: bool) -> Result<BTreeSet<Subject>, Refusal> {
        if let Some(finding) = Trials::finding(&self.agent) {
            return Err(Refusal::Conflict(format!("nothing was released: {finding}")));
        }
        self.sources.release(name, undo)?;
        info!("{name} was {}", if undo { "taken back" } else { "released" });
        self.trials.arm_always(&mut self.agent, &self.sources);
        self.compile();
        Ok(BTreeSet::new())
    }

    fn add_port(&mut self, port: PortIntent) -> Result<Subject, Refusal> {
        let device = port.device.clone();
        self.sources.add_port(port, self.agent.links())?;
        info!("port {device} was added through the control socket");
        self.ledger.urgent.insert(UnitId::new(Part::Port, &device));
        self.compile();
        Ok(Subject::Port(device))
    }

    fn delete_port(&mut self, device: &IfName) -> Result<Subject, Refusal> {
        self.sources.delete_port(device)?;
        info!("port {device} was deleted through the control socket");
        self.compile();
        Ok(Subject::Port(device.clone()))
    }

    /// Confirms a change that waits. Returns the parts that it concerns.
    fn confirm(&mut self, waiting: Waiting) -> Result<BTreeSet<Subject>, Refusal> {
        let plan = self.desk.plan();
        let links = match waiting {
            Waiting::Links(links) => links,
            Waiting::Change(id) => match plan.links_of_change(&id) {
                Some(links) => links,
                None => return Err(Refusal::NotFound(unknown_change(plan, &id))),
            },
        };
        let unknown: Vec<_> =
            links.difference(&plan.unconfirmed()).map(ToString::to_string).collect();
        if !unknown.is_empty() {
            let text = format!(
                "no change of {} waits for confirmation; {}",
                unknown.join(", "),
                those_that_wait(plan)
            );
            return Err(Refusal::NotFound(text));
        }
        let concerned = plan.units.iter().filter(|unit| !unit.unconfirmed.is_disjoint(&links));
        let concerned = concerned.map(|unit| unit.subject.clone()).collect();
        let names: Vec<_> = links.iter().map(ToString::to_string).collect();
        info!("the change of {} was confirmed", names.join(", "));
        self.ledger.confirm(links);
        self.due = Some(tokio::time::Instant::now());
        Ok(concerned)
    }
}

fn unknown_change(plan: &Plan, id: &str) -> String {
    format!(
        "no change {id} waits for confirmation: what would be done may be another one now; {}",
        those_that_wait(plan)
    )
}

fn those_that_wait(plan: &Plan) -> String {
    let names: Vec<_> = plan.unconfirmed().iter().map(ToString::to_string).collect();
    let waiting = plan.units.iter().filter(|unit| !unit.unconfirmed.is_empty());
    let ids: BTreeSet<String> = waiting.map(|unit| plan.change_id(&unit.subject)).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    match names.as_slice() {
        [] => "nothing waits for confirmation".to_owned(),
        names => format!("these wait: {} (--change {})", names.join(", "), ids.join(", ")),
    }
}
