//! What can be asked of the daemon's loop, and what it shows to those who cannot wait: while it
//! waits in the kernel, readers get the last published snapshot.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use netagent_cni::Attachment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    intent::PortIntent,
    names::IfName,
    plan::Plan,
    snapshot::Snapshot,
    state::{Finding, State},
};

/// How long a reader waits for the loop before it gets the last published snapshot. Longer than a
/// step takes on a slow machine: an answer of the loop is the better one.
const READER: Duration = Duration::from_secs(2);
/// How long a command waits for its effect, behind those that came before it.
pub const COMMAND: Duration = Duration::from_secs(120);
/// The loop is taken for dead after this time without a sign of life. Longer than its period, in
/// which an idle loop gives one.
pub const LIFE: Duration = Duration::from_secs(60);

/// What the loop shows to those who cannot wait for it.
struct Shown {
    /// When the loop last gave a sign of life.
    alive: Instant,
    /// The last published snapshot, and when it was made.
    snapshot: Option<(Arc<Snapshot>, Instant)>,
}

/// The loop's end of [`channel`].
pub struct Window(watch::Sender<Shown>);

/// Asks the loop from another thread.
#[derive(Clone)]
pub struct Asker {
    sender: mpsc::Sender<Request>,
    shown: watch::Receiver<Shown>,
    /// How long a reader waits for the loop.
    patience: Duration,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The loop took the request, and could not answer; the log has the reason.
    Failed,
    /// The loop has ended.
    Ended,
    /// The loop did not answer in time.
    Late,
}

/// The way to the loop.
pub fn channel() -> (Asker, mpsc::Receiver<Request>, Window) {
    let (sender, requests) = mpsc::channel(64);
    let (window, shown) = watch::channel(Shown { alive: Instant::now(), snapshot: None });
    (Asker { sender, shown, patience: READER }, requests, Window(window))
}

impl Window {
    /// Pretends that the last sign of life was so long ago.
    #[cfg(test)]
    pub fn silent_for(&self, silence: Duration) {
        self.0.send_modify(|shown| shown.alive = Instant::now().checked_sub(silence).unwrap());
    }

    /// Gives a sign of life.
    pub fn alive(&self) {
        self.0.send_modify(|shown| shown.alive = Instant::now());
    }

    /// Publishes a snapshot.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.0.send_modify(|shown| shown.snapshot = Some((snapshot, Instant::now())));
    }

    /// Whether the published snapshot is older than this, or there is none.
    pub fn is_older_than(&self, age: Duration) -> bool {
        self.0.borrow().snapshot.as_ref().is_none_or(|(_, at)| at.elapsed() > age)
    }
}

impl Asker {
    /// With a short patience.
    #[cfg(test)]
    #[must_use]
    pub fn hurried(self) -> Self {
        Self { patience: Duration::from_millis(100), ..self }
    }

    /// Asks, and waits for the answer.
    pub async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Unanswered> {
        self.ask_within(COMMAND, request).await
    }

    /// The node as it is now, or, where the loop does not answer in time, as it was published last.
    pub async fn snapshot(&self) -> Result<Snapshot, Unanswered> {
        match self.ask_within(self.patience, Request::Snapshot).await {
            Ok(snapshot) => Ok(Arc::unwrap_or_clone(snapshot)),
            Err(Unanswered::Late) => {
                let shown = self.shown.borrow();
                let (snapshot, at) = shown.snapshot.as_ref().ok_or(Unanswered::Late)?;
                Ok(Snapshot::clone(snapshot).aged(at.elapsed()))
            }
            Err(unanswered) => Err(unanswered),
        }
    }

    /// How long ago the loop gave a sign of life; `None` if it has ended. Does not wait for it.
    pub fn silence(&self) -> Option<Duration> {
        (!self.sender.is_closed()).then(|| self.shown.borrow().alive.elapsed())
    }

    async fn ask_within<T>(
        &self,
        patience: Duration,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Unanswered> {
        let asked = async {
            let (sender, answer) = oneshot::channel();
            self.sender.send(request(sender)).await.map_err(|_| Unanswered::Ended)?;
            answer.await.map_err(|_| Unanswered::Failed)
        };
        timeout(patience, asked).await.unwrap_or(Err(Unanswered::Late))
    }
}

/// A request with the way back.
pub enum Request {
    /// The node, with its counters as they are now.
    Snapshot(oneshot::Sender<Arc<Snapshot>>),
    /// The plan for what is left to do.
    Plan(oneshot::Sender<Plan>),
    /// The interfaces of pods.
    Attachments(oneshot::Sender<Vec<Attachment>>),
    /// Something to be done. Without a way back the log has the answer.
    Command(Command, Option<oneshot::Sender<Result<Answer, Refusal>>>),
}

/// Something to be done.
#[derive(Clone, Debug)]
pub enum Command {
    /// Reads the file again. With a time, whatever changes is on trial for that long.
    Reload(Option<Duration>),
    /// Adds a port.
    AddPort(Box<PortIntent>),
    /// Plugs the device of a running VM into another network.
    MovePort {
        /// The device.
        device: IfName,
        /// The network.
        network: String,
    },
    /// Ends the silence of a port.
    Announce(IfName),
    /// Deletes a port that was added.
    DeletePort(IfName),
    /// Plugs the interface of a pod in.
    Attach(Box<Attachment>),
    /// Unplugs the interface of a pod.
    Detach {
        /// The container's ID.
        container_id: String,
        /// The name of the pod's end.
        ifname: String,
    },
    /// Confirms a change that waits, before it is carried out.
    Confirm(Waiting),
    /// Gives a cluster network or a port back as it was found, and leaves it alone; or takes it
    /// back (`undo`).
    Release {
        /// The cluster network, or the device of the port.
        name: String,
        /// Takes it back.
        undo: bool,
    },
    /// Keeps the change that is on trial.
    Keep,
    /// Undoes the change that is on trial.
    RollBack,
}

/// A change that waits for confirmation.
#[derive(Clone, Debug)]
pub enum Waiting {
    /// That of these links.
    Links(BTreeSet<IfName>),
    /// The one with this ID.
    Change(String),
}

/// The answer to a command that was carried out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// The state of the part that the command was about.
    pub state: State,
    /// What an operator should know about it.
    pub findings: Vec<Finding>,
}

/// Why a command was not carried out.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The command contradicts something.
    Conflict(String),
    /// There is no such thing.
    NotFound(String),
    /// It was tried and failed.
    Failed(String),
}

impl Refusal {
    /// There is no port for a device.
    pub fn no_port(device: &IfName) -> Self {
        Self::NotFound(format!("there is no port {device}: see `netagent port list`"))
    }

    /// The reason in one line.
    pub fn text(&self) -> &str {
        match self {
            Self::Conflict(text) | Self::NotFound(text) | Self::Failed(text) => text,
        }
    }
}
