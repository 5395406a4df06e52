//! The desk: takes requests and signals while the loop waits and between the units of a plan, and
//! keeps the books.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use netagent_cni::Attachment;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::yield_now,
    time::Instant,
};
use tracing::{debug, error, info, warn};

use super::{
    Journal, first_apply,
    news::{Line, News},
    signals::{Arrived, Signals},
};
use crate::{
    agent::{Agent, Ledger, Progress},
    fdb::Moves,
    health::{self, Evidence, Health},
    logging::Lasting,
    names::IfName,
    plan::Plan,
    request::{Answer, Command, Refusal, Request, Window},
    snapshot::{Activity, Snapshot},
    state::{Code, Desired, Finding, Outcome, Part, Severity, State, Subject, UnitId},
};

/// How often snapshots are made while a plan is carried out: how often others ask must not slow it
/// down.
const ANSWERS: Duration = Duration::from_millis(500);
/// How old a published snapshot may become while applies end.
const PUBLISH: Duration = Duration::from_secs(1);

/// The way back to the client that gave a command.
pub type Reply = oneshot::Sender<Result<Answer, Refusal>>;

/// A command that was accepted, and whose effect is awaited.
pub struct Waiter {
    /// The parts of the node; none: all of it.
    pub subjects: BTreeSet<Subject>,
    /// The way back.
    pub reply: Reply,
}

/// The desk.
pub struct Desk {
    requests: mpsc::Receiver<Request>,
    window: Window,
    signals: Signals,
    journal: Journal,
    /// The moves of stations that the FDB mirror has counted.
    moves: watch::Receiver<Moves>,
    commands: VecDeque<(Command, Option<Reply>)>,
    snapshots: Vec<oneshot::Sender<Arc<Snapshot>>>,
    plans: Vec<oneshot::Sender<Plan>>,
    waiters: Vec<Waiter>,
    answered: Option<Instant>,
    /// Why requests cannot be answered.
    unread: Lasting,
    stopping: bool,
    desired: Arc<Desired>,
    /// The interfaces of pods.
    attachments: Vec<Attachment>,
    /// What is left to do, as it was planned last.
    plan: Plan,
    /// Findings of the sources, the plan and the ledger.
    known: Vec<Finding>,
    /// Findings as they were last.
    logged: BTreeSet<Finding>,
    /// What was logged of them.
    news: News,
    /// Failures that were logged: a step that is tried again is not logged again.
    failed: BTreeSet<(UnitId, String)>,
    /// What has been done.
    pub activity: Activity,
}

impl Desk {
    pub fn new(
        requests: mpsc::Receiver<Request>,
        window: Window,
        signals: Signals,
        journal: Journal,
        moves: watch::Receiver<Moves>,
    ) -> Self {
        Self {
            requests,
            window,
            signals,
            journal,
            moves,
            commands: VecDeque::new(),
            snapshots: Vec::new(),
            plans: Vec::new(),
            waiters: Vec::new(),
            answered: None,
            unread: Lasting::new("read the node for a request"),
            stopping: false,
            desired: Arc::default(),
            attachments: Vec::new(),
            plan: Plan::default(),
            known: vec![first_apply()],
            logged: BTreeSet::new(),
            news: News::default(),
            failed: BTreeSet::new(),
            activity: Activity::default(),
        }
    }

    /// Waits until a request or a signal has been taken. Cancelling it loses nothing.
    pub async fn wait(&mut self) {
        tokio::select! {
            signal = self.signals.next() => self.signal(signal),
            Some(request) = self.requests.recv() => self.take(request),
        }
    }

    /// Takes what else has arrived, and answers what can be answered.
    pub async fn serve(&mut self, agent: &mut Agent) {
        self.take_all();
        self.answer_snapshots(agent).await;
        // Before the first look nothing is known of what is left.
        if self.activity.successes + self.activity.failures > 0 {
            self.answer_plans(|desk| desk.plan.clone());
        }
    }

    /// Gives a sign of life.
    pub fn alive(&self) {
        self.window.alive();
    }

    fn take_all(&mut self) {
        self.alive();
        while let Some(signal) = self.signals.take() {
            self.signal(signal);
        }
        while let Ok(request) = self.requests.try_recv() {
            self.take(request);
        }
    }

    fn signal(&mut self, signal: Arrived) {
        match signal {
            Arrived::Stop => self.stopping = true,
            Arrived::Hangup => self.commands.push_back((Command::Reload(None), None)),
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Snapshot(reply) => self.snapshots.push(reply),
            Request::Plan(reply) => self.plans.push(reply),
            // The one who asked may be gone.
            Request::Attachments(reply) => drop(reply.send(self.attachments.clone())),
            Request::Command(command, reply) => self.commands.push_back((command, reply)),
        }
    }

    /// Answers those who asked for a snapshot.
    async fn answer_snapshots(&mut self, agent: &mut Agent) {
        // Those who could not wait have been given the published one.
        self.snapshots.retain(|reply| !reply.is_closed());
        if self.snapshots.is_empty() {
            return;
        }
        self.answered = Some(Instant::now());
        let looked = match agent.look_at_bonds().await {
            Ok(()) => agent.look_at_drops().await,
            failed => failed,
        };
        match looked.and_then(|()| self.snapshot(agent)) {
            Ok(snapshot) => {
                self.unread.is_gone();
                let snapshot = Arc::new(snapshot);
                self.window.publish(Arc::clone(&snapshot));
                for reply in self.snapshots.drain(..) {
                    let _gone = reply.send(Arc::clone(&snapshot));
                }
            }
            Err(error) => {
                self.unread.is(format!("{error:#}"));
                // Dropping the senders tells those who asked.
                self.snapshots.clear();
            }
        }
    }

    /// Answers those who asked for the plan for what is left.
    fn answer_plans(&mut self, plan: impl FnOnce(&Self) -> Plan) {
        self.plans.retain(|reply| !reply.is_closed());
        if !self.plans.is_empty() {
            self.answered = Some(Instant::now());
            let plan = plan(self);
            self.plans.drain(..).for_each(|reply| drop(reply.send(plan.clone())));
        }
    }

    /// Publishes a snapshot for those who do not want to wait for the loop.
    fn publish(&self, agent: &Agent) {
        match self.snapshot(agent) {
            Ok(snapshot) => self.window.publish(Arc::new(snapshot)),
            Err(error) => debug!("read the node for a snapshot: {error:#}"),
        }
    }

    /// Publishes a snapshot if there is none: the first apply may take long.
    pub fn publish_first(&self, agent: &Agent) {
        if self.window.is_older_than(Duration::MAX) {
            self.publish(agent);
        }
    }

    fn snapshot(&self, agent: &Agent) -> anyhow::Result<Snapshot> {
        let mut snapshot = agent.snapshot()?;
        for (index, moves) in &*self.moves.borrow() {
            let device = snapshot.links.name(*index);
            let port = device.and_then(|device| snapshot.counters.ports.get_mut(device));
            if let Some(port) = port {
                port.mac_moves = *moves;
            }
        }
        snapshot.health = self.health(agent);
        snapshot.activity = Some(self.activity.clone());
        Ok(snapshot)
    }

    fn health(&self, agent: &Agent) -> Health {
        health::judge(Evidence {
            desired: &self.desired,
            links: agent.links(),
            datapath: agent.ports(),
            known: &self.known,
        })
    }

    /// The file is to be read again as soon as possible.
    pub fn reload_next(&mut self) {
        self.commands.push_back((Command::Reload(None), None));
    }

    /// The next command.
    pub fn next_command(&mut self) -> Option<(Command, Option<Reply>)> {
        self.commands.pop_front()
    }

    /// Whether the daemon was told to stop.
    pub const fn stopping(&self) -> bool {
        self.stopping
    }

    /// What is desired.
    pub fn desired(&self) -> Arc<Desired> {
        Arc::clone(&self.desired)
    }

    /// Something else is desired from now on, with these interfaces of pods.
    pub fn desire(&mut self, desired: Desired, attachments: &[Attachment]) {
        self.desired = Arc::new(desired);
        self.attachments = attachments.to_vec();
    }

    /// The plan for what is left.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Answers a command when what it asked for has been tried.
    pub fn await_effect(&mut self, waiter: Waiter) {
        self.waiters.push(waiter);
    }

    /// The file was read again, with this error if it could not be used.
    pub fn reloaded(&mut self, error: Option<String>) {
        if error.is_none() {
            self.activity.reload.last_success = Some(SystemTime::now());
        }
        self.activity.reload.error = error;
    }

    /// The node could not be read. Whether that is news.
    pub fn look_failed(&mut self, text: &str) -> bool {
        let finding = Finding::new(Subject::Node, Code::LookFailed, text, "");
        let news = !self.known.contains(&finding);
        self.known.retain(|known| known.code != Code::LookFailed);
        self.known.push(finding);
        // Dropping the senders tells those who asked.
        self.plans.clear();
        news
    }

    /// An apply has ended.
    pub fn applied(&mut self, agent: &Agent, plan: Plan, known: Vec<Finding>, took: Duration) {
        self.plan = plan;
        self.known = known;
        self.known.extend(self.journal.finding());
        let health = self.health(agent);
        self.activity.last_duration = took;
        if health.is_well() {
            self.activity.successes += 1;
            self.activity.last_success = Some(SystemTime::now());
        } else {
            self.activity.failures += 1;
        }
        let of_units =
            |(id, _): &(UnitId, String)| self.plan.units.iter().any(|unit| unit.id == *id);
        self.failed.retain(of_units);
        let news = self.log(&health);
        for Waiter { subjects, reply } in std::mem::take(&mut self.waiters) {
            let _gone = reply.send(Ok(answer(&health, &subjects)));
        }
        if news || self.window.is_older_than(PUBLISH) {
            self.publish(agent);
        }
    }

    /// Logs the findings that are new, and those that are gone. Returns whether there are any.
    fn log(&mut self, health: &Health) -> bool {
        let findings: BTreeSet<Finding> = health.findings.iter().cloned().collect();
        for line in self.news.update(&findings, std::time::Instant::now()) {
            match line {
                Line::New(finding) => log(&finding, ""),
                Line::Restless(finding) => {
                    log(&finding, " (it comes and goes: logged again when it stays or stays away)");
                }
                Line::Gone(finding) => info!("no longer: {}", finding.text),
            }
        }
        if self.activity.successes + self.activity.failures == 1 && health.is_well() {
            info!("the node is as desired");
        }
        let news = self.logged != findings;
        self.logged = findings;
        news
    }

    /// Answers those who wait for ports that have been carried out.
    fn answer_ports(&mut self, agent: &Agent, ledger: &Ledger) {
        let port = |waiter: &Waiter| match waiter.subjects.first() {
            Some(Subject::Port(device)) => Some(device.clone()),
            _ => None,
        };
        if self.waiters.iter().all(|waiter| port(waiter).is_none()) {
            return;
        }
        let plan = agent.plan(&self.desired, ledger.permission());
        let left = |device: &IfName| {
            let id = UnitId::new(Part::Port, device);
            plan.units.iter().any(|unit| unit.id == id && unit.is_runnable())
        };
        let done = |waiter: &Waiter| {
            port(waiter)
                .is_some_and(|device| !left(&device) && self.desired.ports.contains_key(&device))
        };
        let (done, open) = std::mem::take(&mut self.waiters).into_iter().partition(done);
        self.waiters = open;
        let done: Vec<Waiter> = done;
        if done.is_empty() {
            return;
        }
        let known = plan.findings().chain(ledger.findings_left(&plan)).cloned();
        let known: Vec<Finding> = known.collect();
        let health = health::judge(Evidence {
            desired: &self.desired,
            links: agent.links(),
            datapath: agent.ports(),
            known: &known,
        });
        for Waiter { subjects, reply } in done {
            let _gone = reply.send(Ok(answer(&health, &subjects)));
        }
    }
}

fn log(finding: &Finding, remark: &str) {
    match finding.code.severity() {
        Severity::Info => info!("{finding}{remark}"),
        Severity::Warning => warn!("{finding}{remark}"),
        Severity::Error if finding.code.is_of_a_nic() => warn!("{finding}{remark}"),
        Severity::Error | Severity::Critical => error!("{finding}{remark}"),
    }
}

/// The answer to a command about parts of the node; none: about all of it. A trial is part of each
/// answer: it undoes the effect.
fn answer(health: &Health, subjects: &BTreeSet<Subject>) -> Answer {
    let is_asked = |finding: &&Finding| {
        let is_its_subject = subjects.is_empty() || subjects.contains(&finding.subject);
        is_its_subject || finding.code == Code::OnTrial
    };
    let findings: Vec<Finding> = health.findings.iter().filter(is_asked).cloned().collect();
    let state = findings.iter().map(|finding| finding.code.state()).max();
    Answer { state: state.unwrap_or(State::Ready), findings }
}

impl Progress for Desk {
    fn outcome(&mut self, outcome: Outcome) {
        let word = if outcome.repair { "repair" } else { "apply" };
        if outcome.repair {
            let repairs = self.activity.repairs.entry(outcome.kind).or_default();
            repairs.attempts += 1;
            match outcome.error {
                None => repairs.successes += 1,
                Some(_) => repairs.failures += 1,
            }
        }
        match &outcome.error {
            None => info!("{word}: {}", outcome.step),
            Some(error) if self.failed.insert((outcome.unit.clone(), error.clone())) => {
                warn!("{word}: {}: {error}", outcome.unit);
            }
            Some(error) => debug!("{word}: {}: {error}", outcome.unit),
        }
        self.journal.add(&outcome);
    }

    async fn between(&mut self, agent: &mut Agent, ledger: &Ledger) -> ControlFlow<()> {
        // Lets signals arrive: steps of the datapath do not wait for anything.
        yield_now().await;
        self.take_all();
        self.answer_ports(agent, ledger);
        if self.answered.is_none_or(|at| at.elapsed() > ANSWERS) {
            self.answer_snapshots(agent).await;
            self.answer_plans(|desk| agent.plan(&desk.desired, ledger.permission()));
        }
        if self.stopping || !self.commands.is_empty() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
