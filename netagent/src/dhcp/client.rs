//! What the clients of both families have in common: their interface, what they tell, and what
//! they are told.

use std::{io, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, bail};
use rustix::thread::{CapabilitySet, capabilities};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};
use tracing::{debug, warn};

use super::Lease;
use crate::names::{Family, IfName, Mac};

/// The delay after a socket could not be opened or has failed.
const RETRY: Duration = Duration::from_secs(5);
/// The longest sleep: the clock of leases runs while the machine is suspended, and that of sleeps
/// does not.
pub const NAP: Duration = Duration::from_secs(60);

/// The interface of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The name.
    pub name: IfName,
    /// The interface index.
    pub index: u32,
    /// The MAC address.
    pub mac: Mac,
}

/// What a client tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The interface of the client.
    pub interface: Interface,
    /// The family of its address.
    pub family: Family,
    /// What it tells.
    pub event: Event,
}

/// What the daemon is told of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<L = Lease> {
    /// A lease is in force, as a new one or for a longer time.
    Bound(L),
    /// The lease has ended: why.
    Ended(L, String),
}

impl<L> Event<L> {
    /// The event with another form of the lease.
    pub fn map<M>(self, lease: impl FnOnce(L) -> M) -> Event<M> {
        match self {
            Self::Bound(known) => Event::Bound(lease(known)),
            Self::Ended(known, why) => Event::Ended(lease(known), why),
        }
    }
}

/// What a client is told.
#[derive(Debug)]
pub enum Notice {
    /// The kernel has found that another station has this address.
    Duplicate(IpAddr),
    /// The lease is given up. Answered when the server has been told.
    Release(oneshot::Sender<()>),
}

/// A client's end of the channels to the daemon.
pub struct Line {
    /// The interface.
    pub interface: Interface,
    /// To the daemon.
    pub daemon: mpsc::Sender<Told>,
    /// From the daemon.
    pub notices: mpsc::Receiver<Notice>,
}

impl Line {
    /// Tells the daemon. Without a daemon the task ends soon.
    pub async fn tell(&self, family: Family, event: Event) {
        let told = Told { interface: self.interface.clone(), family, event };
        drop(self.daemon.send(told).await);
    }

    /// The next notice.
    pub async fn notice(&mut self) -> Notice {
        match self.notices.recv().await {
            Some(notice) => notice,
            // The daemon ends the task, or ends itself.
            None => std::future::pending().await,
        }
    }
}

/// The failures of a client's sockets.
#[derive(Default)]
pub struct Failures {
    reported: bool,
}

impl Failures {
    /// Reports a failure, the first one for the operator, and waits before the next attempt: the
    /// interface may be down or gone for a while.
    pub async fn pause(&mut self, name: &IfName, family: Family, error: &io::Error) {
        let text = format!("{name}: {}: {error}", family.dhcp());
        if std::mem::replace(&mut self.reported, true) {
            debug!("{text}");
        } else {
            warn!("{text}; it is tried again");
        }
        sleep(RETRY).await;
    }
}

/// Refuses a process that lacks one of these capabilities.
pub fn require(family: Family, needed: &[(&str, CapabilitySet)]) -> Result<()> {
    let effective = capabilities(None).context("read the capabilities of the process")?.effective;
    match needed.iter().find(|(_, needed)| !effective.contains(*needed)) {
        None => Ok(()),
        Some((name, _)) => bail!("nothing was done: no {name}, which `dhcp: {family}` needs"),
    }
}
