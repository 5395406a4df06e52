//! `netagent run`: one loop that looks, plans, applies, repairs, and answers requests between the
//! units of a plan.

mod commands;
mod desk;
mod journal;
mod leases;
mod runtime_ports;
mod signals;
mod sources;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::{Instant, interval, sleep_until},
};
use tracing::{error, info};

use self::{desk::Desk, leases::Leases, signals::Signals};
pub use self::{
    journal::{HistoryEntry, Journal},
    signals::Stop,
    sources::Sources,
};
use crate::{
    agent::{Agent, Ledger},
    control,
    datapath::pins::Pins,
    fdb::{self, Bridges},
    names::IfName,
    netlink::{Changes, Watch},
    server,
    state::{Code, Finding, Subject},
};

/// How long after a change the node is looked at: what comes in a burst is handled once.
const SETTLE: Duration = Duration::from_millis(10);
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
}

struct Daemon {
    agent: Agent,
    ledger: Ledger,
    sources: Sources,
    desk: Desk,
    /// The DHCP clients of the node's own interfaces.
    leases: Leases,
    /// The bridges that the FDB mirror follows.
    mirror: watch::Sender<Bridges>,
    /// What has changed since the last look.
    changes: Changes,
    /// When the node is to be looked at next.
    due: Option<Instant>,
}

/// Runs until it is told to stop. What is attached stays attached.
pub async fn run(options: Options) -> Result<()> {
    let signals = Signals::open()?;
    let sources = Sources::open(&options.config, &options.socket)?;
    let leases = Leases::read(&options.state, &sources.desired())?;
    let mut agent = Agent::in_charge(&options.pins)?;
    agent.remember_in(&options.state)?;
    agent.log_programs(&options.pins)?;
    agent.prepare(&sources.desired())?;
    let mut watch = Watch::open()?;
    let (sender, requests) = mpsc::channel(64);
    if let Some(address) = sources.metrics() {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on {address} for metrics (metrics.listen)"))?;
        info!("metrics on http://{address}/metrics");
        tokio::spawn(server::serve(listener, sender.clone()));
    }
    let socket = control::listen(&options.socket)?;
    info!("control socket at {}", options.socket.display());
    tokio::spawn(control::serve(socket, sender, options.pins.clone()));
    let mirror = fdb::spawn(&Pins::new(&options.pins))?;
    let desk = Desk::new(requests, signals, Journal::new(&options.state));
    let mut daemon = Daemon {
        agent,
        ledger: Ledger::new(options.confirmed),
        sources,
        desk,
        leases,
        mirror,
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
            daemon.execute(command);
        }
        if daemon.desk.stopping() {
            info!("stopping; the links, programs and counters stay");
            return Ok(());
        }
        let retry = daemon.ledger.next_retry().map(Instant::from_std);
        let due = [daemon.due, retry].into_iter().flatten().min();
        tokio::select! {
            // Requests and signals before work.
            biased;
            () = daemon.desk.wait() => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                daemon.reconcile().await;
            }
            told = daemon.leases.told() => daemon.leased(told),
            changes = watch.changed() => {
                daemon.changes.merge(changes?);
                daemon.due.get_or_insert_with(|| Instant::now() + SETTLE);
            }
            _ = period.tick() => {
                daemon.changes.everything = true;
                daemon.due = Some(Instant::now());
            }
        }
    }
}

impl Daemon {
    /// Looks at what has changed, and makes the node as desired.
    async fn reconcile(&mut self) {
        self.due = None;
        let started = Instant::now();
        if !self.changes.is_empty() || self.agent.is_stale() {
            match self.agent.look_again(&self.changes).await {
                Ok(()) => self.changes = Changes::default(),
                Err(error) => {
                    let text = format!("the node cannot be read: {error:#}");
                    if self.desk.look_failed(&text) {
                        error!("{text}");
                    }
                    self.changes.everything = true;
                    self.due = Some(Instant::now() + RETRY);
                    return;
                }
            }
            if self.sources.forget_gone(self.agent.links()) {
                self.compile();
            }
        }
        let desired = self.desk.desired();
        let applied = self.agent.apply(&desired, &mut self.ledger, &mut self.desk).await;
        self.follow_bridges();
        self.follow_leases(&desired, &applied.plan);
        if applied.interrupted {
            // What interrupted it is done first. Then it continues.
            self.due = Some(Instant::now());
            return;
        }
        let mut known: Vec<Finding> = self.sources.findings();
        known.extend(applied.plan.findings().cloned());
        known.extend(self.ledger.findings().cloned());
        self.desk.applied(&self.agent, applied.plan, known, started.elapsed());
    }

    /// Lets the FDB mirror follow the bridges whose ports have a policy now.
    fn follow_bridges(&self) {
        let bridges = self.agent.bridges();
        self.mirror.send_if_modified(|known| {
            let differ = *known != bridges;
            *known = bridges;
            differ
        });
    }

    /// Compiles the sources: what they ask for is desired from now on.
    fn compile(&mut self) {
        let desired = self.sources.desired();
        self.ledger.desire(&self.desk.desired(), &desired);
        self.desk.desire(desired);
        self.due = Some(Instant::now());
    }
}

/// The finding that the first apply has not ended.
fn first_apply() -> Finding {
    Finding::new(Subject::Node, Code::FirstApply, "the first apply has not ended", "")
}
