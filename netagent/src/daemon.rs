//! `netagent run`: one loop that looks, plans, applies, repairs, and answers requests between the
//! units of a plan.

mod answers;
mod attachments;
mod commands;
mod desk;
mod glances;
mod journal;
mod leases;
mod news;
mod on_trial;
mod pace;
mod runtime_ports;
mod signals;
mod silent;
mod sources;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{Instant, interval, sleep_until};
use tracing::{error, info, warn};

use self::{
    answers::Deaf, desk::Desk, glances::Glances, leases::Leases, on_trial::Trials, pace::Pace,
    signals::Signals,
};
pub use self::{
    attachments::preview,
    journal::{HistoryEntry, Journal},
    signals::Stop,
    sources::{Sources, release},
};
use crate::{
    agent::{Agent, Ledger},
    announce::{Announcer, Failover},
    datapath::pins::Pins,
    fdb::{self, Fdb},
    managers::{Files, Managers},
    names::IfName,
    netlink::{Changes, Watch},
    plan::Plan,
    request,
    state::{Code, Finding, Subject},
};

/// How often the whole node is looked at: no notification tells of programs and offloads.
const PERIOD: Duration = Duration::from_secs(30);
/// The delay after a look that failed.
const RETRY: Duration = Duration::from_secs(5);

/// Where things are, and what the operator allows.
pub struct Options {
    /// The file.
    pub config: PathBuf,
    /// The pin directory.
    pub pins: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// The directory of what survives a reboot.
    pub state: PathBuf,
    /// Links that carry the node and that any change may alter.
    pub confirmed: BTreeSet<IfName>,
    /// Whether changes of what the node lives on are rolled back unless they are confirmed.
    pub rollback: bool,
}

struct Daemon {
    agent: Agent,
    ledger: Ledger,
    sources: Sources,
    desk: Desk,
    trials: Trials,
    /// Links that carry the node and that any change may alter.
    confirmed: BTreeSet<IfName>,
    /// The DHCP clients of the node's own interfaces.
    leases: Leases,
    /// What else manages the devices, as it was read at the last look at the whole node.
    managers: Vec<Finding>,
    /// The FDB mirror.
    fdb: Fdb,
    /// Announces the VMs of silent ports.
    announcer: Announcer,
    /// Announces what is behind a bond after a failover.
    failover: Failover,
    /// Why the metrics listener does not listen.
    deaf: Deaf,
    /// Notices what the kernel does not tell.
    glances: Glances,
    /// What has changed, and waits for a look.
    pace: Pace,
    /// What is to be looked at now.
    changes: Changes,
    /// When the node is to be looked at next.
    due: Option<Instant>,
}

/// Runs until it is told to stop. What is attached stays attached.
pub async fn run(options: Options) -> Result<()> {
    let signals = Signals::open()?;
    let booted = on_trial::confirmed_before_this_boot(&options.state)?;
    let Options { config, socket, state, .. } = &options;
    let mut sources = Sources::open_or(config, socket, state, booted.as_deref())?;
    let leases = Leases::read(&options.state, &sources.desired())?;
    let mut agent = Agent::in_charge(&options.pins)?;
    sources.set_aside();
    agent.remember_in(&options.state)?;
    agent.log_programs(&options.pins)?;
    agent.prepare(&sources.desired())?;
    let mut watch = Watch::open()?;
    let (asker, requests, window) = request::channel();
    let deaf = answers::spawn(sources.metrics(), &options.socket, &asker, &options.pins)?;
    let pins = Pins::new(&options.pins);
    let (fdb, announcer) = (fdb::spawn(&pins)?, Announcer::spawn(&pins)?);
    let journal = Journal::new(&options.state);
    let mut desk = Desk::new(requests, window, signals, journal, fdb.moves.clone());
    desk.reloaded(sources.error().map(str::to_owned));
    let trials =
        Trials::start(&options.state, options.rollback, &mut agent, &mut sources, &mut desk)
            .await?;
    let mut ledger = Ledger::new(options.confirmed.clone());
    trials.allow(&mut ledger, &sources);
    trials.arm(&mut agent, &sources, None);
    let mut daemon = Daemon {
        agent,
        ledger,
        sources,
        desk,
        leases,
        trials,
        confirmed: options.confirmed,
        managers: Vec::new(),
        fdb,
        announcer,
        failover: Failover::spawn()?,
        deaf,
        glances: Glances::spawn()?,
        pace: Pace::new(std::time::Instant::now()),
        changes: Changes { everything: true, ..Changes::default() },
        due: Some(Instant::now()),
    };
    daemon.compile();
    let mut period = interval(PERIOD);
    period.tick().await;
    loop {
        // Some may have come during an apply.
        daemon.desk.serve(&mut daemon.agent).await;
        while let Some(command) = daemon.desk.next_command() {
            daemon.execute(command).await;
        }
        if daemon.desk.stopping() {
            if let Some(finding) = Trials::finding(&daemon.agent) {
                warn!("{finding}; only if netagent runs, or by `netagent rollback`");
            }
            info!("stopping; the links, programs and counters stay");
            return Ok(());
        }
        let retry = daemon.ledger.next_retry().map(Instant::from_std);
        let paced = daemon.pace.due().map(Instant::from_std);
        let due = [daemon.due, retry, paced].into_iter().flatten().min();
        let judgement = daemon.trials.due();
        tokio::select! {
            // Requests and signals before work.
            biased;
            () = daemon.desk.wait() => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                daemon.reconcile().await;
            }
            () = sleep_until(judgement.unwrap_or_else(Instant::now)), if judgement.is_some() => {
                daemon.judge_trial().await;
            }
            told = daemon.leases.told() => daemon.leased(told),
            Ok(()) = daemon.deaf.changed() => daemon.due = Some(Instant::now()),
            changes = watch.changed() => {
                let (changes, now) = (changes?, std::time::Instant::now());
                daemon.leases.note_duplicates(&changes);
                daemon.pace.add(&changes, daemon.agent.links(), now);
            }
            changes = daemon.glances.found() => {
                let now = std::time::Instant::now();
                daemon.pace.add(&changes, daemon.agent.links(), now);
            }
            _ = period.tick() => {
                daemon.changes.everything = true;
                daemon.due = Some(Instant::now());
            }
        }
    }
}

impl Daemon {
    /// Looks at what has changed. Returns whether the node could be read.
    async fn look(&mut self) -> bool {
        self.changes.merge(self.pace.take(std::time::Instant::now()));
        if self.changes.everything || self.agent.is_stale() {
            self.pace.clear();
        }
        if self.changes.is_empty() && !self.agent.is_stale() {
            self.follow_devices();
            return true;
        }
        match self.agent.look_again(&self.changes).await {
            Ok(()) => {
                if std::mem::take(&mut self.changes).everything {
                    self.read_managers();
                }
            }
            Err(error) => {
                let text = format!("the node cannot be read: {error:#}");
                if self.desk.look_failed(&text) {
                    error!("{text}");
                }
                self.changes.everything = true;
                self.due = Some(Instant::now() + RETRY);
                return false;
            }
        }
        self.follow_devices();
        true
    }

    /// Lets the sources know which devices there are now.
    fn follow_devices(&mut self) {
        if self.sources.follow(self.agent.links(), self.agent.ports()) {
            self.compile();
        }
    }

    /// Looks at what has changed, and makes the node as desired.
    async fn reconcile(&mut self) {
        self.due = None;
        self.desk.alive();
        let started = Instant::now();
        if !self.look().await {
            return;
        }
        self.desk.publish_first(&self.agent);
        self.resume_leases();
        let desired = self.desk.desired();
        if self.sources.file().is_none() {
            let known = self.lasting_findings();
            self.desk.applied(&self.agent, Plan::default(), known, started.elapsed());
            return;
        }
        self.release_leases(&desired).await;
        let applied = self.agent.apply(&desired, &mut self.ledger, &mut self.desk).await;
        self.follow_bridges();
        self.glances.follow(self.agent.glance());
        self.announcer.follow(self.agent.silent_ports());
        self.failover.follow(self.agent.behind_bonds());
        self.follow_leases(&desired, &applied.plan);
        if applied.interrupted {
            // What interrupted it is done first. Then it continues.
            self.due = Some(Instant::now());
            return;
        }
        self.note_applied(!applied.plan.unconfirmed().is_empty());
        let mut known = self.lasting_findings();
        known.extend(applied.plan.findings().cloned());
        known.extend(self.ledger.findings().cloned());
        self.desk.applied(&self.agent, applied.plan, known, started.elapsed());
    }

    /// Findings that do not come from an apply.
    fn lasting_findings(&self) -> Vec<Finding> {
        let mut known = self.sources.findings();
        known.extend(self.trials.findings());
        known.extend(self.managers.clone());
        known.extend(Trials::finding(&self.agent));
        known.extend(self.deaf.borrow().clone());
        known.extend(self.silent());
        known.extend(self.agent.findings());
        known
    }

    fn read_managers(&mut self) {
        let managers = Managers::of(self.agent.links(), &Files::below(Path::new("/")));
        let desired = self.desk.desired();
        self.managers = managers.findings(|name| desired.mentions(name));
    }

    /// Lets the FDB mirror follow the bridges whose ports have a policy now.
    fn follow_bridges(&self) {
        let bridges = self.agent.bridges();
        self.fdb.bridges.send_if_modified(|known| {
            let differ = *known != bridges;
            *known = bridges;
            differ
        });
    }

    /// Compiles the sources: what they ask for is desired from now on.
    fn compile(&mut self) {
        let desired = self.sources.desired();
        self.ledger.desire(&self.desk.desired(), &desired);
        self.desk.desire(desired, self.sources.attachments());
        self.due = Some(Instant::now());
    }
}

/// The finding that the first apply has not ended.
fn first_apply() -> Finding {
    Finding::new(Subject::Node, Code::FirstApply, "the first apply has not ended", "")
}
