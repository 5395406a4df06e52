//! Commands: what the daemon does when it is told to.

use std::collections::BTreeSet;

use tracing::{error, info, warn};

use super::{
    Daemon,
    desk::{Reply, Waiter},
};
use crate::{
    intent::PortIntent,
    names::IfName,
    request::{Command, Refusal},
    state::{Part, Subject, UnitId},
};

impl Daemon {
    /// Does what it was told. The answer comes when the effect has been tried, or at once if
    /// nothing was changed.
    pub(super) fn execute(&mut self, (command, reply): (Command, Option<Reply>)) {
        let result = match command {
            Command::Reload => self.reload().map(|()| BTreeSet::new()),
            Command::AddPort(port) => self.add_port(*port).map(|port| [port].into()),
            Command::DeletePort(device) => self.delete_port(&device).map(|port| [port].into()),
            Command::Confirm(links) => self.confirm(links),
        };
        match (result, reply) {
            (Ok(subjects), Some(reply)) => self.desk.await_effect(Waiter { subjects, reply }),
            // The one who asked may be gone.
            (Err(refusal), Some(reply)) => drop(reply.send(Err(refusal))),
            (Ok(_) | Err(_), None) => {}
        }
    }

    /// Reads the file again. A file that cannot be used changes nothing.
    fn reload(&mut self) -> Result<(), Refusal> {
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
    fn confirm(&mut self, links: BTreeSet<IfName>) -> Result<BTreeSet<Subject>, Refusal> {
        let waiting = self.desk.plan().unconfirmed();
        let unknown: Vec<_> = links.difference(&waiting).map(ToString::to_string).collect();
        if !unknown.is_empty() {
            let waiting: Vec<_> = waiting.iter().map(ToString::to_string).collect();
            let waiting = match waiting.as_slice() {
                [] => "nothing waits for confirmation".to_owned(),
                names => format!("these wait: {}", names.join(", ")),
            };
            let text =
                format!("no change of {} waits for confirmation; {waiting}", unknown.join(", "));
            return Err(Refusal::NotFound(text));
        }
        let names: Vec<_> = links.iter().map(ToString::to_string).collect();
        let concerned = self.desk.plan().units.iter();
        let concerned = concerned.filter(|unit| !unit.unconfirmed.is_disjoint(&links));
        let concerned = concerned.map(|unit| unit.subject.clone()).collect();
        info!("the change of {} was confirmed", names.join(", "));
        self.ledger.confirm(links);
        self.due = Some(tokio::time::Instant::now());
        Ok(concerned)
    }
}
