//! Commands: what the daemon does when it is told to.

use std::{collections::BTreeSet, time::Duration};

use netagent_cni::Attachment;
use tracing::{error, info, warn};

use super::{
    Daemon, Trials, attachments,
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
        self.look_at_devices_of(&command).await;
        let result = match command {
            Command::Reload(time) => self.reload(time).map(|()| BTreeSet::new()),
            Command::AddPort(port) => self.add_port(*port).map(|port| [port].into()),
            Command::MovePort { device, network } => {
                self.move_port(&device, network).await.map(|port| [port].into())
            }
            Command::Announce(device) => self.announce(&device).map(|port| [port].into()),
            Command::DeletePort(device) => self.delete_port(&device).map(|port| [port].into()),
            Command::Attach(attachment) => self.attach(*attachment).await.map(|port| [port].into()),
            Command::Detach { container_id, ifname } => self.detach(&container_id, &ifname),
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

    /// Looks at the devices that a command names before it is judged: they may be new, or others
    /// than those that had the names, and no notification may have been read yet.
    async fn look_at_devices_of(&mut self, command: &Command) {
        let names: Vec<&str> = match command {
            Command::AddPort(port) => vec![port.device.as_str()],
            Command::MovePort { device, .. }
            | Command::Announce(device)
            | Command::DeletePort(device) => {
                vec![device.as_str()]
            }
            Command::Attach(attachment) => vec![&attachment.device, &attachment.bridge],
            // A file names many. The attachment knows which device it had.
            Command::Reload(_) | Command::Detach { .. } => return,
            Command::Confirm(_) | Command::Release { .. } | Command::Keep | Command::RollBack => {
                return;
            }
        };
        let names = names.into_iter().filter_map(|name| name.parse().ok());
        self.changes.links.extend(self.agent.indexes(&names.collect()));
        // What follows works with what is known, or looks again, if the node cannot be read.
        let _is_read = self.look().await;
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
            Ok(()) => {
                info!("the file was read again");
                self.trials.arm(&mut self.agent, &self.sources, time);
                // The file may name devices of which no notification has been read yet.
                self.changes.everything = true;
                self.ledger.try_again(|_| true);
                self.agent.ask_for_xdp_again();
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
        let index = self.agent.index(&device);
        let (network, before) = (port.network.clone(), self.desk.desired());
        self.sources.add_port(port, index)?;
        match before.ports.get(&device) {
            Some(before) if before.network != network => {
                info!("port {device} was moved from {} to {network}", before.network);
            }
            Some(_) | None => info!("port {device} was added through the control socket"),
        }
        self.expect(&device);
        self.compile();
        Ok(Subject::Port(device))
    }

    /// Plugs the device of a running VM into another network. A port of the file is refused.
    async fn move_port(&mut self, device: &IfName, network: String) -> Result<Subject, Refusal> {
        if let Some(attachment) = self.sources.attachment_of(device) {
            return self.attach(attachments::in_network(attachment.clone(), &network)).await;
        }
        let port = self.sources.added_port(device).cloned();
        match (port, self.desk.desired().ports.get(device)) {
            (Some(port), _) => self.add_port(PortIntent { network, ..port }),
            (None, Some(port)) => Err(Refusal::Conflict(format!(
                "port {device} comes from {}: change its network there, then `netagent reload`",
                port.origin
            ))),
            (None, None) => Err(Refusal::no_port(device)),
        }
    }

    /// Somebody waits for a port: it is tried now, before others.
    fn expect(&mut self, device: &IfName) {
        let unit = UnitId::new(Part::Port, device);
        self.ledger.try_again(|id| *id == unit);
        self.ledger.urgent.insert(unit);
    }

    fn delete_port(&mut self, device: &IfName) -> Result<Subject, Refusal> {
        self.sources.delete_port(device)?;
        info!("port {device} was deleted through the control socket");
        self.compile();
        Ok(Subject::Port(device.clone()))
    }

    async fn attach(&mut self, attachment: Attachment) -> Result<Subject, Refusal> {
        let device = attachment.device.clone();
        let needs_vlan = !attachment.gateways.is_empty() && attachment.vlan != 0;
        if needs_vlan && !self.agent.links().kernel.vlan_devices {
            return Err(Refusal::Conflict(format!(
                "{}: this kernel has no VLAN interfaces (CONFIG_VLAN_8021Q) for the gateway of VLAN {}: \
                 load the module 8021q",
                attachment.bridge, attachment.vlan
            )));
        }
        let known = self.sources.attachments().contains(&attachment);
        self.sources.attach(attachment.clone(), self.agent.links())?;
        let unpinned = self.sources.to_pin(&attachment, self.agent.links());
        if let Some((bridge, mac)) = unpinned {
            let pinned = self.agent.pin_mac(&bridge, mac).await;
            // One that is not noted is pinned again by the next attachment.
            if let Err(error) = pinned.and_then(|()| self.sources.pinned(&bridge)) {
                warn!("{error:#}");
            }
        }
        let device: IfName = device.parse().map_err(Refusal::Conflict)?;
        if !known {
            info!("port {device} was plugged in by the CNI plugin");
            self.expect(&device);
            self.compile();
        }
        self.due = Some(tokio::time::Instant::now());
        Ok(Subject::Port(device))
    }

    fn detach(&mut self, container_id: &str, ifname: &str) -> Result<BTreeSet<Subject>, Refusal> {
        let Some(attachment) = self.sources.detach(container_id, ifname)? else {
            self.due = Some(tokio::time::Instant::now());
            return Ok(BTreeSet::from([Subject::Node]));
        };
        let Attachment { device, ifindex, .. } = attachment;
        info!("port {device} was unplugged by the CNI plugin");
        // The plugin has deleted the device.
        self.changes.links.insert(ifindex);
        self.compile();
        let device = device.parse().map_err(Refusal::Conflict)?;
        Ok([Subject::Port(device)].into())
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
