//! `netagent run`: applies the file, watches the node, repairs what drifts, answers scrapes.

mod status;

use std::{collections::BTreeSet, iter, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    task::yield_now,
    time::{Instant, interval, sleep_until},
};
use tracing::{error, info, warn};

use self::status::Status;
use crate::{
    agent::{Agent, Permission, kinds, refuse_unconfirmed},
    change::Change,
    config::{self, Config},
    datapath::pins::Pins,
    fdb::{self, Bridges},
    names::IfName,
    netlink::Watch,
    server,
    snapshot::Snapshot,
};

/// How long after a change the node is looked at: what comes in a burst is handled once.
const SETTLE: Duration = Duration::from_millis(200);
/// How often it is looked at without a change: what no notification tells of (programs, offloads).
const PERIOD: Duration = Duration::from_secs(30);
/// How often those who ask are answered while a plan is carried out.
const ANSWERS: Duration = Duration::from_millis(500);
/// How soon after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Where the file is and what the operator allows.
pub struct Options {
    /// The file.
    pub config: PathBuf,
    /// The pin directory.
    pub pins: PathBuf,
    /// Protected links that a changed file may alter.
    pub confirmed: BTreeSet<IfName>,
}

struct Daemon {
    agent: Agent,
    /// The bridges that the mirror follows.
    bridges: watch::Sender<Bridges>,
    options: Options,
    config: Config,
    /// Devices that were not there at the last look; their coming is no drift.
    waiting: BTreeSet<IfName>,
    status: Status,
    /// Who asks how the node is.
    requests: Requests,
}

type Requests = mpsc::Receiver<oneshot::Sender<Snapshot>>;

/// Runs until it is told to stop. What is attached stays attached.
pub async fn run(options: Options) -> Result<()> {
    let config = config::load(&options.config)?;
    let mut agent = Agent::open(&options.pins)?;
    agent.take_charge()?;
    agent.log_programs(&options.pins)?;
    let mut watch = Watch::open()?;
    let (sender, requests) = mpsc::channel(8);
    if let Some(address) = config.metrics {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on {address} for metrics (metrics.listen)"))?;
        info!("metrics on http://{address}/metrics");
        tokio::spawn(server::serve(listener, sender.clone()));
    }
    let bridges = fdb::spawn(&Pins::new(&options.pins))?;
    let mut daemon = Daemon {
        agent,
        bridges,
        options,
        config,
        waiting: BTreeSet::new(),
        status: Status::default(),
        requests,
    };
    let mut hangup = signal(SignalKind::hangup())?;
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut period = interval(PERIOD);
    // After a change: when the node is looked at.
    let mut due = None;
    // The first tick is at once.
    loop {
        let again = tokio::select! {
            _ = period.tick() => daemon.reconcile().await,
            changed = watch.changed() => {
                changed?;
                due.get_or_insert_with(|| Instant::now() + SETTLE);
                continue;
            }
            // What this sets off is heard as well; then there is nothing to do, and it ends.
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = None;
                daemon.reconcile().await
            }
            Some(first) = daemon.requests.recv() => {
                let requests = [first].into_iter().chain(queued(&mut daemon.requests)).collect();
                daemon.status.answer(&mut daemon.agent, &daemon.config.desired, requests).await;
                continue;
            }
            _ = hangup.recv() => daemon.reload().await,
            () = stop(&mut terminate, &mut interrupt) => {
                info!("stopping; the links, programs and counters stay");
                return Ok(());
            }
        };
        if !again {
            period.reset_after(RETRY);
        }
    }
}

/// The requests that are there already.
fn queued(requests: &mut Requests) -> impl Iterator<Item = oneshot::Sender<Snapshot>> {
    iter::from_fn(|| requests.try_recv().ok())
}

async fn stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

impl Daemon {
    /// Makes the node as the file says. False: try again soon.
    async fn reconcile(&mut self) -> bool {
        let started = Instant::now();
        let result = self.apply().await;
        self.status.note(result, started.elapsed())
    }

    async fn apply(&mut self) -> Result<()> {
        let desired = &self.config.desired;
        let plan = self.agent.plan(desired).await?;
        for name in plan.waiting.difference(&self.waiting) {
            info!("{name}: not there yet; it is taken care of when it appears");
        }
        for warning in &plan.warnings {
            if !self.status.complaint.contains(warning.as_str()) {
                warn!("{warning}");
            }
        }
        let drifted = self.status.applied.as_ref() == Some(desired) && plan.waiting == self.waiting;
        let permission = if drifted {
            for (kind, count) in kinds(&plan) {
                *self.status.health.repairs.entry(kind).or_default() += count;
            }
            Permission::Restore
        } else {
            Permission::Only(self.options.confirmed.clone())
        };
        let word = if drifted { "repair" } else { "apply" };
        let mut answered = Instant::now();
        // A thousand ports take many seconds, in which others want to know. How often they ask must not slow it down.
        let tell = async |agent: &mut Agent, step: &Change| {
            info!("{word}: {step}");
            // Lets requests come in: steps that are the datapath's wait for nothing.
            yield_now().await;
            if answered.elapsed() > ANSWERS {
                let requests: Vec<_> = queued(&mut self.requests).collect();
                if !requests.is_empty() {
                    self.status.answer(agent, desired, requests).await;
                    answered = Instant::now();
                }
            }
        };
        let last = self.agent.apply(desired, &permission, tell).await?;
        if self.status.applied.as_ref() != Some(desired) {
            info!("the node is as {} says", self.options.config.display());
        }
        let bridges = self.agent.bridges();
        self.bridges.send_if_modified(|known| {
            let differ = known != bridges;
            known.clone_from(bridges);
            differ
        });
        self.waiting = last.waiting;
        self.status.applied = Some(desired.clone());
        Ok(())
    }

    /// Reads the file again; one that is bad, or that this node may not have, changes nothing.
    async fn reload(&mut self) -> bool {
        match self.acceptable().await {
            Ok(config) => {
                if config.metrics != self.config.metrics {
                    warn!("metrics.listen is read at the start only: restart netagent for that");
                }
                info!("read {} again", self.options.config.display());
                self.config = config;
                self.reconcile().await
            }
            Err(complaint) => {
                error!("{complaint:#}; going on as before");
                true
            }
        }
    }

    /// The file as it is now, if it could be applied.
    async fn acceptable(&mut self) -> Result<Config> {
        let config = config::load(&self.options.config)?;
        let plan = self.agent.plan(&config.desired).await?;
        refuse_unconfirmed(&plan, &Permission::Only(self.options.confirmed.clone()))?;
        Ok(config)
    }
}
