//! How the daemon fares, for whoever asks: scrapes, and checks of its health.

use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tracing::error;

use crate::{
    agent::{Agent, not_ready},
    snapshot::{Daemon as Health, Snapshot},
    state::Desired,
};

/// How the daemon fares.
#[derive(Default)]
pub struct Status {
    /// What is counted.
    pub health: Health,
    /// What was applied last: as long as it is what the file says, differences are drift.
    pub applied: Option<Desired>,
    /// The last complaint, so that it is logged once and not every few seconds.
    pub complaint: String,
}

impl Status {
    /// Takes down how a reconciliation went that took so long. False: try again soon.
    pub fn note(&mut self, result: anyhow::Result<()>, took: Duration) -> bool {
        self.health.last_duration = took;
        match result {
            Ok(()) => {
                self.health.reconciles += 1;
                self.health.last_success = Some(SystemTime::now());
                self.complaint.clear();
                true
            }
            Err(error) => {
                self.health.failures += 1;
                let complaint = format!("{error:#}");
                if complaint != self.complaint {
                    error!("{complaint}");
                }
                self.complaint = complaint;
                false
            }
        }
    }

    /// Answers all of these with what there is now; `desired` is what the file says.
    pub async fn answer(
        &self,
        agent: &mut Agent,
        desired: &Desired,
        requests: Vec<oneshot::Sender<Snapshot>>,
    ) {
        match agent.snapshot().await {
            Ok(mut snapshot) => {
                let mut health = self.health.clone();
                health.not_ready = not_ready(desired, &snapshot.links, &snapshot.datapath);
                if self.applied.is_none() {
                    health.not_ready.push("the file has not been applied yet".to_owned());
                }
                if !self.complaint.is_empty() {
                    health.not_ready.push(self.complaint.clone());
                }
                snapshot.daemon = Some(health);
                for request in requests {
                    // Whoever asked may be gone.
                    let _ = request.send(snapshot.clone());
                }
            }
            // Dropping the sender tells the one who asked.
            Err(error) => error!("read the node for a scrape: {error:#}"),
        }
    }
}
