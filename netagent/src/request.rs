//! What can be asked of the daemon's loop.

use std::{collections::BTreeSet, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    intent::PortIntent,
    names::IfName,
    plan::Plan,
    snapshot::Snapshot,
    state::{Finding, State},
};

/// The way to the loop.
pub type Sender = mpsc::Sender<Request>;

/// Asks the loop from another task.
#[derive(Clone)]
pub struct Asker {
    sender: Sender,
    /// How long an answer may take.
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

impl Asker {
    /// Asks over this channel, with this patience.
    pub const fn new(sender: Sender, patience: Duration) -> Self {
        Self { sender, patience }
    }

    /// Asks, and waits for the answer.
    pub async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Unanswered> {
        let asked = async {
            let (sender, answer) = oneshot::channel();
            self.sender.send(request(sender)).await.map_err(|_| Unanswered::Ended)?;
            answer.await.map_err(|_| Unanswered::Failed)
        };
        timeout(self.patience, asked).await.unwrap_or(Err(Unanswered::Late))
    }
}

/// A request with the way back.
pub enum Request {
    /// Whether the loop lives. Looks at nothing.
    Ping(oneshot::Sender<()>),
    /// The node, with its counters as they are now.
    Snapshot(oneshot::Sender<Snapshot>),
    /// The plan for what is left to do.
    Plan(oneshot::Sender<Plan>),
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
    /// Deletes a port that was added.
    DeletePort(IfName),
    /// Confirms a change that waits, before it is carried out.
    Confirm(Waiting),
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
    /// The reason in one line.
    pub fn text(&self) -> &str {
        match self {
            Self::Conflict(text) | Self::NotFound(text) | Self::Failed(text) => text,
        }
    }
}
