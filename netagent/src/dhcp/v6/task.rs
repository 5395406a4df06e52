//! The client of one interface at work: its socket, its clock, and what it tells the daemon.

use std::{io, net::IpAddr, time::Duration};

use netagent_common::fnv;
use tokio::{
    select,
    sync::oneshot,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    duid::Duid,
    machine::{Action, Machine, Start},
    message::Reply,
    socket::Socket,
};
use crate::{
    clock::since_boot,
    dhcp::{
        Lease, Notice,
        client::{Failures, Line, NAP},
        random::Random,
    },
    names::{Family, IfName},
};

/// How often it is looked for a link-local address.
const LOOK: Duration = Duration::from_millis(200);
/// How often in vain, before that is reported.
const LOOKS: u32 = 25;

/// Runs until the lease is released or the task is aborted.
pub async fn run(line: Line, duid: Duid, start: Start) {
    let name = line.interface.name.clone();
    let (machine, actions) = Machine::new(duid.clone(), start, Random::of(&name), since_boot());
    let association = association(&name);
    let mut client =
        Client { line, duid, association, machine, socket: None, looks: 0, released: None };
    client.perform(actions).await;
    let mut failures = Failures::default();
    while let Err(error) = client.work().await {
        // The interface may have gone with its address.
        if client.machine.is_leaving() {
            return;
        }
        client.socket = None;
        failures.pause(&name, Family::V6, &error).await;
    }
}

/// The number of an interface among those of the client (IAID): it survives a restart.
fn association(name: &IfName) -> u32 {
    let hash = fnv::hash(name.as_str().bytes());
    u32::try_from((hash >> 32) ^ (hash & u64::from(u32::MAX))).unwrap_or_default()
}

struct Client {
    line: Line,
    duid: Duid,
    association: u32,
    machine: Machine,
    /// Open while answers are awaited.
    socket: Option<Socket>,
    /// How often it was looked for a link-local address in vain.
    looks: u32,
    /// The daemon waits until the server has been told of a release.
    released: Option<oneshot::Sender<()>>,
}

impl Client {
    async fn work(&mut self) -> io::Result<()> {
        while !self.machine.is_done() {
            let left = self.machine.deadline().saturating_sub(since_boot()).min(NAP);
            let socket = self.socket.as_ref();
            let receive = async {
                if let Some(socket) = socket {
                    timeout(left, socket.receive()).await.ok()
                } else {
                    sleep(left).await;
                    None
                }
            };
            let actions = select! {
                notice = self.line.notice() => self.noticed(notice)?,
                received = receive => {
                    let now = since_boot();
                    match received {
                        Some(bytes) => self.received(now, &bytes?),
                        None if self.machine.deadline() > now => vec![],
                        None if self.listen()? || self.machine.has_expired(now) => {
                            self.machine.expire(now)
                        }
                        None => {
                            sleep(LOOK).await;
                            vec![]
                        }
                    }
                }
            };
            self.perform(actions).await;
            if !self.machine.listens() {
                self.socket = None;
            }
        }
        Ok(())
    }

    fn noticed(&mut self, notice: Notice) -> io::Result<Vec<Action>> {
        match notice {
            Notice::Duplicate(IpAddr::V6(address)) => {
                self.listen()?;
                Ok(self.machine.duplicate(since_boot(), address))
            }
            Notice::Duplicate(IpAddr::V4(_)) => Ok(vec![]),
            Notice::Release(done) => {
                self.listen()?;
                self.released = Some(done);
                Ok(self.machine.release(since_boot()))
            }
        }
    }

    /// Opens the socket, if the interface has a link-local address that can be used.
    fn listen(&mut self) -> io::Result<bool> {
        if self.socket.is_none() {
            self.socket = Socket::open(self.line.interface.index)?;
            self.looks = if self.socket.is_some() { 0 } else { self.looks.saturating_add(1) };
            if self.looks == LOOKS {
                let name = &self.line.interface.name;
                warn!(
                    "{name}: DHCPv6 waits for a link-local address; see \
                     net.ipv6.conf.{name}.disable_ipv6 and addr_gen_mode"
                );
            }
        }
        Ok(self.socket.is_some())
    }

    fn received(&mut self, now: Duration, bytes: &[u8]) -> Vec<Action> {
        let Some(reply) = Reply::read(bytes, self.association) else { return vec![] };
        debug!("{}: DHCPv6: received {reply:?}", self.line.interface.name);
        self.machine.answer(now, &reply)
    }

    async fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            debug!("{}: DHCPv6: {action:?}", self.line.interface.name);
            match action {
                Action::Send(question) => {
                    let message = question.bytes(&self.duid, self.association);
                    let sent = match &self.socket {
                        Some(socket) => socket.send(&message).await,
                        None => Ok(()),
                    };
                    // As a message that was lost: it is sent again.
                    if let Err(error) = sent {
                        debug!("{}: DHCPv6: send: {error}", self.line.interface.name);
                    }
                }
                Action::Tell(event) => self.line.tell(Family::V6, event.map(Lease::V6)).await,
            }
        }
        if let Some(done) = self.released.take() {
            // The daemon may have stopped to wait.
            let _told = done.send(());
        }
    }
}
