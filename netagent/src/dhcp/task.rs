//! The client of one interface at work: its sockets, its clock, and what it tells the daemon.

use std::{
    collections::hash_map::RandomState, convert::Infallible, hash::BuildHasher as _, io,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    frame::{self, Frame},
    machine::{Action, Event, Machine, Start},
    message::Reply,
    socket::{Frames, Renewal},
};
use crate::{
    clock::since_boot,
    names::{IfName, Mac},
};

/// The delay after a socket could not be opened or has failed.
const RETRY: Duration = Duration::from_secs(5);
/// The longest sleep: the clock of leases runs while the machine is suspended, and that of sleeps
/// does not.
const NAP: Duration = Duration::from_secs(60);

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
    /// What it tells.
    pub event: Event,
}

/// Runs until the task is aborted.
pub async fn run(interface: Interface, start: Start, daemon: mpsc::Sender<Told>) {
    let seed = RandomState::new().hash_one(&interface.name);
    let (machine, actions) = Machine::new(interface.mac, start, seed, since_boot());
    let mut client = Client { interface, machine, daemon, frames: None, renewal: None };
    client.perform(actions).await;
    let mut failed = false;
    loop {
        let Err(error) = client.work().await;
        let text = format!("{}: DHCP: {error}", client.interface.name);
        // The interface may be down or gone for a while.
        if failed {
            debug!("{text}");
        } else {
            warn!("{text}; it is tried again");
        }
        failed = true;
        client.frames = None;
        sleep(RETRY).await;
    }
}

struct Client {
    interface: Interface,
    machine: Machine,
    daemon: mpsc::Sender<Told>,
    /// Open while answers are awaited: a socket for frames costs each frame of the interface time.
    frames: Option<Frames>,
    renewal: Option<Renewal>,
}

impl Client {
    async fn work(&mut self) -> io::Result<Infallible> {
        loop {
            let left = self.machine.deadline().saturating_sub(since_boot());
            let received = if let Some(frames) = &self.frames {
                timeout(left.min(NAP), frames.receive()).await.ok()
            } else {
                sleep(left.min(NAP)).await;
                None
            };
            let now = since_boot();
            let actions = match received {
                Some(bytes) => self.received(now, &bytes?),
                None if self.machine.deadline() <= now => {
                    // Before the question: an answer may come at once.
                    if self.frames.is_none() {
                        self.frames = Some(Frames::open(self.interface.index)?);
                    }
                    self.machine.expire(now)
                }
                None => vec![],
            };
            self.perform(actions).await;
            if !self.machine.listens() {
                (self.frames, self.renewal) = (None, None);
            }
        }
    }

    fn received(&mut self, now: Duration, bytes: &[u8]) -> Vec<Action> {
        match frame::read(bytes) {
            Some(Frame::Arp(station, address)) => self.machine.heard(now, station, address),
            Some(Frame::Dhcp(message)) => match Reply::read(&message) {
                Some(reply) => {
                    debug!("{}: DHCP: received {reply:?}", self.interface.name);
                    self.machine.answer(now, &reply)
                }
                None => vec![],
            },
            None => vec![],
        }
    }

    async fn perform(&mut self, actions: Vec<Action>) {
        let Interface { name, mac, .. } = self.interface.clone();
        for action in actions {
            debug!("{name}: DHCP: {action:?}");
            let sent = match action {
                Action::Broadcast(question) => {
                    self.send(&frame::broadcast(mac, &question.bytes(mac)))
                }
                Action::Probe(address) => self.send(&frame::probe(mac, address)),
                Action::Unicast(question, server, from) => {
                    let sent = Renewal::send(&name, from, server, &question.bytes(mac));
                    sent.map(|renewal| self.renewal = Some(renewal))
                }
                Action::Tell(event) => {
                    let told = Told { interface: self.interface.clone(), event };
                    // Without a daemon the task ends.
                    drop(self.daemon.send(told).await);
                    Ok(())
                }
            };
            // As a message that was lost: it is sent again.
            if let Err(error) = sent {
                debug!("{name}: DHCP: send: {error}");
            }
        }
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        match &self.frames {
            Some(frames) => frames.send(frame),
            None => Ok(()),
        }
    }
}
