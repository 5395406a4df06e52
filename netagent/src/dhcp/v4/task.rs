//! The client of one interface at work: its sockets, its clock, and what it tells the daemon.

use std::{io, time::Duration};

use tokio::{
    select,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    frame::{self, Frame},
    machine::{Action, Machine, Start},
    message::Reply,
    socket::{Frames, Renewal},
};
use crate::{
    clock::since_boot,
    dhcp::{
        Lease, Notice,
        client::{Failures, Line, NAP},
        random::Random,
    },
    names::Family,
};

/// Runs until the lease is released or the task is aborted.
pub async fn run(line: Line, start: Start) {
    let name = line.interface.name.clone();
    let (machine, actions) =
        Machine::new(line.interface.mac, start, Random::of(&name), since_boot());
    let mut client = Client { line, machine, frames: None, renewal: None };
    client.perform(actions).await;
    let mut failures = Failures::default();
    while let Err(error) = client.work().await {
        client.frames = None;
        failures.pause(&name, Family::V4, &error).await;
    }
}

struct Client {
    line: Line,
    machine: Machine,
    /// Open while answers are awaited: a socket for frames costs each frame of the interface time.
    frames: Option<Frames>,
    renewal: Option<Renewal>,
}

impl Client {
    async fn work(&mut self) -> io::Result<()> {
        loop {
            let left = self.machine.deadline().saturating_sub(since_boot()).min(NAP);
            let frames = self.frames.as_ref();
            let receive = async {
                if let Some(frames) = frames {
                    timeout(left, frames.receive()).await.ok()
                } else {
                    sleep(left).await;
                    None
                }
            };
            let received = select! {
                notice = self.line.notice() => match notice {
                    Notice::Release(done) => {
                        let actions = self.machine.release(since_boot());
                        self.perform(actions).await;
                        if let Some(renewal) = &self.renewal {
                            renewal.sent().await;
                        }
                        // The daemon may have stopped to wait.
                        let _told = done.send(());
                        return Ok(());
                    }
                    // The client has probed the address itself.
                    Notice::Duplicate(_) => continue,
                },
                received = receive => received,
            };
            let now = since_boot();
            let actions = match received {
                Some(bytes) => self.received(now, &bytes?),
                None if self.machine.deadline() <= now => {
                    // Before the question: an answer may come at once.
                    if self.frames.is_none() {
                        self.frames = Some(Frames::open(self.line.interface.index)?);
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
                    debug!("{}: DHCP: received {reply:?}", self.line.interface.name);
                    self.machine.answer(now, &reply)
                }
                None => vec![],
            },
            None => vec![],
        }
    }

    async fn perform(&mut self, actions: Vec<Action>) {
        let (name, mac) = (self.line.interface.name.clone(), self.line.interface.mac);
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
                    self.line.tell(Family::V4, event.map(Lease::V4)).await;
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
