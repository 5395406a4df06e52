//! The client's states (RFC 2131 section 4.4), as a machine without a clock and sockets: times and
//! messages come in, actions come out. Times are since the boot.

use std::{cmp::max, net::Ipv4Addr, time::Duration};

use super::{
    lease::Lease,
    message::{Answer, Ask, Question, Reply},
};
use crate::{
    dhcp::{client, random::Random},
    names::{Cidr, Mac},
};

/// What the daemon is told.
pub type Event = client::Event<Lease>;

/// How often an answer to DHCPREQUEST is awaited before the client begins again.
const TRIES: u32 = 4;
/// The first wait for an answer; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(4);
/// The longest wait.
const LAST_WAIT: Duration = Duration::from_secs(64);
/// The first wait in INIT-REBOOT: a node that restarts its agent has a lease in force.
const REBOOT_WAIT: Duration = Duration::from_secs(2);
/// How often and for how long a new address is probed: less than RFC 5227 asks for, as a server has
/// checked it as well.
const PROBES: u32 = 2;
const PROBE_WAIT: Duration = Duration::from_millis(500);
/// The wait after an address was declined (RFC 2131 section 3.1, step 5) or refused.
const PAUSE: Duration = Duration::from_secs(10);

/// What the client begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    Nothing,
    /// A lease of this client. `there`: its address is on the interface.
    Lease {
        /// The lease.
        lease: Lease,
        /// Whether its address is on the interface.
        there: bool,
    },
    /// An address that another client of the node has got.
    Address(Cidr),
}

/// What the client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends a message to everybody.
    Broadcast(Question),
    /// Sends a message to the server, from the leased address.
    Unicast(Question, Ipv4Addr, Ipv4Addr),
    /// Asks who has an address.
    Probe(Ipv4Addr),
    /// Tells the daemon.
    Tell(Event),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// DHCPDISCOVER has been sent, or is to be.
    Discovering,
    /// DHCPREQUEST has been sent for an offer.
    Requesting(Lease),
    /// DHCPREQUEST has been sent for an address of an earlier time.
    Rebooting(Ipv4Addr),
    /// The address is probed before it is used.
    Probing(Lease),
    /// The lease is in force.
    Bound,
    /// Its server is asked to extend it.
    Renewing,
    /// Every server is asked.
    Rebinding,
}

/// The client of one interface.
pub struct Machine {
    mac: Mac,
    phase: Phase,
    /// The lease in force.
    lease: Option<Lease>,
    /// An address on the interface that another client of the node has got.
    former: Option<Cidr>,
    /// An address that is asked for.
    hint: Option<Ipv4Addr>,
    xid: u32,
    tries: u32,
    /// When the client began to ask.
    began: Duration,
    /// When it asked last: a lease begins then.
    asked: Duration,
    deadline: Duration,
    random: Random,
}

impl Machine {
    /// A client, and its first actions.
    pub fn new(mac: Mac, start: Start, random: Random, now: Duration) -> (Self, Vec<Action>) {
        let mut machine = Self {
            mac,
            phase: Phase::Discovering,
            lease: None,
            former: None,
            hint: None,
            xid: 0,
            tries: 0,
            began: now,
            asked: now,
            deadline: now,
            random,
        };
        let mut actions = Vec::new();
        match start {
            Start::Nothing => {}
            Start::Lease { lease, there } => {
                machine.phase = Phase::Rebooting(lease.ip());
                // An address on the interface is in use: it stays so until the server refuses it.
                if there {
                    actions.push(Action::Tell(Event::Bound(lease.clone())));
                }
                machine.lease = Some(lease);
            }
            Start::Address(cidr) => {
                machine.former = Some(cidr);
                if let std::net::IpAddr::V4(address) = cidr.address {
                    machine.phase = Phase::Rebooting(address);
                }
            }
        }
        machine.xid = machine.random.number();
        (machine, actions)
    }

    /// When [`expire`](Self::expire) is to be called.
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Whether answers are awaited.
    pub const fn listens(&self) -> bool {
        !matches!(self.phase, Phase::Bound)
    }

    /// The deadline has come.
    pub fn expire(&mut self, now: Duration) -> Vec<Action> {
        match self.phase.clone() {
            Phase::Discovering => vec![self.discover(now)],
            Phase::Requesting(offer) if self.tries < TRIES => vec![self.request(now, &offer)],
            Phase::Requesting(_) => self.begin(now),
            Phase::Rebooting(address) if self.tries < TRIES - 1 => {
                let wait = REBOOT_WAIT * 2_u32.pow(self.tries);
                vec![self.ask(now, wait, Ask::Request, Some(address))]
            }
            // No server answers: the lease is in force until it ends.
            Phase::Rebooting(_) => match &self.lease {
                Some(lease) => {
                    let lease = lease.clone();
                    self.resume(now, lease)
                }
                None => self.begin(now),
            },
            Phase::Probing(lease) if self.tries < PROBES => {
                self.tries += 1;
                self.deadline = now + PROBE_WAIT;
                vec![Action::Probe(lease.ip())]
            }
            Phase::Probing(lease) => self.bind(lease),
            Phase::Bound | Phase::Renewing | Phase::Rebinding => match self.lease.clone() {
                Some(lease) => self.extend(now, &lease),
                None => self.begin(now),
            },
        }
    }

    /// A server has answered.
    pub fn answer(&mut self, now: Duration, reply: &Reply) -> Vec<Action> {
        if reply.xid != self.xid || reply.mac != self.mac {
            return vec![];
        }
        match (self.phase.clone(), reply.kind) {
            (Phase::Discovering, Answer::Offer) => match reply.lease(self.asked.as_secs()) {
                Some(offer) => {
                    self.tries = 0;
                    let request = self.request(now, &offer);
                    self.phase = Phase::Requesting(offer);
                    vec![request]
                }
                None => vec![],
            },
            (Phase::Requesting(offer), Answer::Ack) if reply.server == Some(offer.server) => {
                self.acknowledged(now, reply)
            }
            (Phase::Rebooting(_) | Phase::Renewing | Phase::Rebinding, Answer::Ack) => {
                self.acknowledged(now, reply)
            }
            (Phase::Requesting(offer), Answer::Nak) if reply.server == Some(offer.server) => {
                self.hint = None;
                self.pause(now)
            }
            (Phase::Rebooting(_) | Phase::Renewing | Phase::Rebinding, Answer::Nak) => {
                self.hint = None;
                self.end(now, "the server has refused it")
            }
            _ => vec![],
        }
    }

    /// A station has said that it has an address.
    pub fn heard(&mut self, now: Duration, station: Mac, address: Ipv4Addr) -> Vec<Action> {
        let Phase::Probing(lease) = &self.phase else { return vec![] };
        if address != lease.ip() || station == self.mac {
            return vec![];
        }
        let decline = Question {
            kind: Ask::Decline,
            wanted: Some(address),
            server: Some(lease.server),
            ..self.question(now)
        };
        self.hint = None;
        let mut actions = vec![Action::Broadcast(decline)];
        actions.extend(self.pause(now));
        actions
    }

    /// The lease is given up. Nothing follows.
    pub fn release(&mut self, now: Duration) -> Vec<Action> {
        let Some(lease) = self.lease.take() else { return vec![] };
        self.xid = self.random.number();
        let (own, server) = (Some(lease.ip()), Some(lease.server));
        let question = Question { kind: Ask::Release, own, server, ..self.question(now) };
        vec![Action::Unicast(question, lease.server, lease.ip())]
    }

    /// A lease was granted. An address that is new on the interface is probed.
    fn acknowledged(&mut self, now: Duration, reply: &Reply) -> Vec<Action> {
        let Some(lease) = reply.lease(self.asked.as_secs()) else { return vec![] };
        let mut lease = lease;
        // As the client does not drop the address of another client before it has its own.
        lease.replaces = self.former.filter(|former| *former != lease.address);
        let former = self.former.map(|former| former.address);
        let held = self.lease.as_ref().map(|held| held.address.address);
        if [former, held].contains(&Some(lease.address.address)) {
            return self.bind(lease);
        }
        self.tries = 0;
        self.deadline = now;
        self.phase = Phase::Probing(lease);
        vec![]
    }

    fn bind(&mut self, lease: Lease) -> Vec<Action> {
        self.phase = Phase::Bound;
        self.tries = 0;
        self.hint = Some(lease.ip());
        self.deadline = Duration::from_secs(lease.renew);
        self.lease = Some(lease.clone());
        vec![Action::Tell(Event::Bound(lease))]
    }

    /// Continues with a lease of an earlier time.
    fn resume(&mut self, now: Duration, lease: Lease) -> Vec<Action> {
        if Duration::from_secs(lease.until) <= now {
            return self.end(now, "it has expired");
        }
        self.bind(lease)
    }

    /// The lease is to be extended, or has ended.
    fn extend(&mut self, now: Duration, lease: &Lease) -> Vec<Action> {
        let [rebind, until] = [lease.rebind, lease.until].map(Duration::from_secs);
        if now >= until {
            return self.end(now, "it has expired, and no server has extended it");
        }
        let (phase, next) =
            if now < rebind { (Phase::Renewing, rebind) } else { (Phase::Rebinding, until) };
        if self.phase != phase {
            self.tries = 0;
            self.xid = self.random.number();
            self.began = now;
        }
        self.phase = phase;
        // Half of the time that is left, and at least a minute (RFC 2131 section 4.4.5); less for
        // leases that are not much longer than that.
        let time = until.saturating_sub(Duration::from_secs(lease.renew));
        let at_least = (time / 8).clamp(Duration::from_secs(1), Duration::from_secs(60));
        let left = next.saturating_sub(now);
        let wait = max(left / 2, at_least).min(left);
        let mut question = self.question(now);
        question.own = Some(lease.ip());
        self.asked = now;
        self.tries += 1;
        self.deadline = now + wait;
        if self.phase == Phase::Renewing {
            vec![Action::Unicast(question, lease.server, lease.ip())]
        } else {
            vec![Action::Broadcast(question)]
        }
    }

    /// The lease has ended.
    fn end(&mut self, now: Duration, why: &str) -> Vec<Action> {
        let ended = self.lease.take().map(|lease| Event::Ended(lease, why.to_owned()));
        ended.map(Action::Tell).into_iter().chain(self.begin(now)).collect()
    }

    /// Begins again, at once.
    fn begin(&mut self, now: Duration) -> Vec<Action> {
        self.phase = Phase::Discovering;
        self.tries = 0;
        vec![self.discover(now)]
    }

    /// Begins again, after a time.
    fn pause(&mut self, now: Duration) -> Vec<Action> {
        self.phase = Phase::Discovering;
        self.tries = 0;
        self.deadline = now + PAUSE;
        vec![]
    }

    fn discover(&mut self, now: Duration) -> Action {
        if self.tries == 0 {
            self.xid = self.random.number();
            self.began = now;
        }
        let wait = self.wait();
        self.ask(now, wait, Ask::Discover, self.hint)
    }

    fn request(&mut self, now: Duration, offer: &Lease) -> Action {
        let wait = self.wait();
        match self.ask(now, wait, Ask::Request, Some(offer.ip())) {
            Action::Broadcast(question) => {
                Action::Broadcast(Question { server: Some(offer.server), ..question })
            }
            action => action,
        }
    }

    fn ask(
        &mut self,
        now: Duration,
        wait: Duration,
        kind: Ask,
        wanted: Option<Ipv4Addr>,
    ) -> Action {
        let question = Question { kind, wanted, ..self.question(now) };
        self.tries += 1;
        self.asked = now;
        self.deadline = now + wait;
        Action::Broadcast(question)
    }

    fn question(&self, now: Duration) -> Question {
        let seconds = now.saturating_sub(self.began).as_secs();
        Question {
            kind: Ask::Request,
            xid: self.xid,
            seconds: u16::try_from(seconds).unwrap_or(u16::MAX),
            own: None,
            wanted: None,
            server: None,
        }
    }

    /// The wait for an answer (RFC 2131 section 4.1): give or take a second, so that nodes that
    /// start together do not ask together.
    fn wait(&mut self) -> Duration {
        let wait = (FIRST_WAIT * 2_u32.pow(self.tries.min(5))).min(LAST_WAIT);
        wait.saturating_sub(Duration::from_secs(1)) + self.random.up_to(Duration::from_secs(2))
    }
}

#[cfg(test)]
mod tests;
