//! Compares the programs with what was seen of them, as often as the kernel should tell: a port
//! without its programs is not filtered. In a thread of its own, as the kernel lets it wait for
//! RTNL.

use std::time::Duration;

use anyhow::Result;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use crate::{datapath::glance::Glance, netlink::Changes, worker};

/// The time between two comparisons.
const PERIOD: Duration = Duration::from_millis(800);

/// The way to the thread.
pub struct Glances {
    seen: watch::Sender<Glance>,
    found: mpsc::Receiver<Changes>,
}

impl Glances {
    /// Starts the thread.
    pub fn spawn() -> Result<Self> {
        let (seen, mut given) = watch::channel(Glance::default());
        let (finder, found) = mpsc::channel(1);
        worker::spawn("glance", async move || {
            let mut known = Glance::default();
            loop {
                tokio::select! {
                    changed = given.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        known = given.borrow_and_update().clone();
                    }
                    () = sleep(PERIOD) => {
                        let (links, everything) = known.differences();
                        let changes = Changes { links, everything, ..Changes::default() };
                        // Where the loop is busy, it hears of the rest later.
                        if !changes.is_empty() && finder.send(changes).await.is_err() {
                            return;
                        }
                    }
                }
            }
        })?;
        Ok(Self { seen, found })
    }

    /// From now on, this is what was seen.
    pub fn follow(&self, seen: Glance) {
        self.seen.send_if_modified(|known| {
            let differ = *known != seen;
            *known = seen;
            differ
        });
    }

    /// Waits for differences. Never returns if the thread has ended.
    pub async fn found(&mut self) -> Changes {
        match self.found.recv().await {
            Some(changes) => changes,
            None => std::future::pending().await,
        }
    }
}
