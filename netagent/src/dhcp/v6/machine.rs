//! The client's exchanges of messages (RFC 8415 section 18.2), as a machine without a clock and
//! sockets: times and messages come in, actions come out. Times are since the boot.

mod answers;

use std::{net::Ipv6Addr, time::Duration};

use super::{
    duid::Duid,
    lease::Lease,
    message::{Answer, Ask, Question, Reply, Status},
    retry::{self, Exchange},
};
use crate::dhcp::{client, random::Random};

/// What the daemon is told.
pub type Event = client::Event<Lease>;

/// The longest delay of the first message (SOL_MAX_DELAY, CNF_MAX_DELAY).
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// How long Confirm is sent (CNF_MAX_RD).
const CONFIRM_TIME: Duration = Duration::from_secs(10);
/// The preference of a server that is not compared with others.
const BEST: u8 = 255;
/// The wait after a server had no address, or one that another station has.
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
}

/// What the client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends a message to all servers on the link.
    Send(Question),
    /// Tells the daemon.
    Tell(Event),
}

/// The offer of a server, or an address that is asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offer {
    server: Duid,
    preference: u8,
    address: Ipv6Addr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Solicit has been sent, or is to be; the best offer until now.
    Soliciting(Option<Offer>),
    /// Request has been sent.
    Requesting(Offer),
    /// Confirm has been sent, or is to be.
    Confirming,
    /// The lease is in force.
    Bound,
    /// Its server is asked to extend it.
    Renewing,
    /// Every server is asked.
    Rebinding,
    /// The server is told that another station has the address.
    Declining(Duid, Ipv6Addr),
    /// The server is told that the address is given up.
    Releasing(Duid, Ipv6Addr),
    /// Nothing follows.
    Done,
}

/// The client of one interface.
pub struct Machine {
    client: Duid,
    phase: Phase,
    /// The lease in force.
    lease: Option<Lease>,
    /// An address that is asked for.
    hint: Option<Ipv6Addr>,
    xid: u32,
    exchange: Exchange,
    /// The longest wait between two Solicits, if a server has said it.
    solicit_max: Option<Duration>,
    /// When the exchange began.
    began: Duration,
    /// When the client asked last: a lease begins then.
    asked: Duration,
    deadline: Duration,
    random: Random,
}

impl Machine {
    /// A client with this identifier, and its first actions.
    pub fn new(
        client: Duid,
        start: Start,
        mut random: Random,
        now: Duration,
    ) -> (Self, Vec<Action>) {
        let deadline = now + random.up_to(FIRST_DELAY);
        let mut machine = Self {
            client,
            phase: Phase::Soliciting(None),
            lease: None,
            hint: None,
            xid: 0,
            exchange: Exchange::new(retry::SOLICIT),
            solicit_max: None,
            began: now,
            asked: now,
            deadline,
            random,
        };
        let mut actions = Vec::new();
        if let Start::Lease { lease, there } = start {
            machine.enter(Phase::Confirming, retry::CONFIRM);
            // An address on the interface is in use: it stays so until a server refuses it.
            if there {
                actions.push(Action::Tell(Event::Bound(lease.clone())));
            }
            machine.hint = Some(lease.address);
            machine.lease = Some(lease);
        }
        (machine, actions)
    }

    /// When [`expire`](Self::expire) is to be called.
    pub fn deadline(&self) -> Duration {
        match &self.lease {
            Some(lease) => self.deadline.min(Duration::from_secs(lease.until)),
            None => self.deadline,
        }
    }

    /// Whether answers are awaited.
    pub const fn listens(&self) -> bool {
        !matches!(self.phase, Phase::Bound | Phase::Done)
    }

    /// Whether the lease has been given up.
    pub const fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Releasing(..) | Phase::Done)
    }

    /// Whether nothing follows.
    pub const fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// Whether the lease in force is at its end.
    pub fn has_expired(&self, now: Duration) -> bool {
        self.lease.as_ref().is_some_and(|lease| Duration::from_secs(lease.until) <= now)
    }

    /// The deadline has come.
    pub fn expire(&mut self, now: Duration) -> Vec<Action> {
        if self.has_expired(now) {
            return self.end(now, "it has expired, and no server has extended it");
        }
        match self.phase.clone() {
            Phase::Soliciting(Some(offer)) => self.request(now, offer),
            Phase::Soliciting(None) => self.ask(now, Ask::Solicit, None, self.hint),
            Phase::Requesting(_) if self.exchange.is_over() => self.begin(now),
            Phase::Requesting(offer) => {
                self.ask(now, Ask::Request, Some(offer.server), Some(offer.address))
            }
            Phase::Confirming => self.confirm(now),
            Phase::Bound | Phase::Renewing | Phase::Rebinding => self.extend(now),
            Phase::Declining(..) if self.exchange.is_over() => self.pause(now),
            Phase::Declining(server, address) => {
                self.ask(now, Ask::Decline, Some(server), Some(address))
            }
            Phase::Releasing(..) if self.exchange.is_over() => self.done(),
            Phase::Releasing(server, address) => {
                self.ask(now, Ask::Release, Some(server), Some(address))
            }
            Phase::Done => vec![],
        }
    }

    /// A server has answered.
    pub fn answer(&mut self, now: Duration, reply: &Reply) -> Vec<Action> {
        if reply.xid != self.xid || reply.client != self.client || self.exchange.sent() == 0 {
            return vec![];
        }
        match (self.phase.clone(), reply.kind) {
            (Phase::Soliciting(best), Answer::Advertise) => self.offered(now, best, reply),
            (Phase::Requesting(offer), Answer::Reply) if reply.server == offer.server => {
                self.replied(now, reply)
            }
            (Phase::Confirming, Answer::Reply) => match (reply.status, self.lease.clone()) {
                (Status::Success, Some(lease)) => self.bind(lease),
                (Status::NotOnLink, _) => self.refused(now, "its address does not fit the link"),
                _ => vec![],
            },
            (Phase::Renewing, Answer::Reply) if self.is_of_server(reply) => {
                self.extended(now, reply)
            }
            (Phase::Rebinding, Answer::Reply) => self.extended(now, reply),
            (Phase::Declining(server, _), Answer::Reply) if reply.server == server => {
                self.pause(now)
            }
            (Phase::Releasing(server, _), Answer::Reply) if reply.server == server => self.done(),
            _ => vec![],
        }
    }

    /// The kernel has found that another station has an address.
    pub fn duplicate(&mut self, now: Duration, address: Ipv6Addr) -> Vec<Action> {
        let Some(lease) = self.lease.take_if(|lease| lease.address == address) else {
            return vec![];
        };
        self.hint = None;
        self.enter(Phase::Declining(lease.server.clone(), address), retry::DECLINE);
        let ended = Event::Ended(lease, "another station has this address".to_owned());
        [vec![Action::Tell(ended)], self.expire(now)].concat()
    }

    /// The lease is given up.
    pub fn release(&mut self, now: Duration) -> Vec<Action> {
        let Some(lease) = self.lease.take() else { return self.done() };
        self.enter(Phase::Releasing(lease.server, lease.address), retry::RELEASE);
        self.expire(now)
    }

    fn is_of_server(&self, reply: &Reply) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.server == reply.server)
    }

    fn confirm(&mut self, now: Duration) -> Vec<Action> {
        let Some(lease) = self.lease.clone() else { return self.begin(now) };
        // No server answers: the lease is in force until it ends.
        if self.exchange.sent() > 0 && now >= self.began + CONFIRM_TIME {
            return self.bind(lease);
        }
        let actions = self.ask(now, Ask::Confirm, None, Some(lease.address));
        self.deadline = self.deadline.min(self.began + CONFIRM_TIME);
        actions
    }

    fn bind(&mut self, lease: Lease) -> Vec<Action> {
        self.phase = Phase::Bound;
        self.hint = Some(lease.address);
        self.deadline = Duration::from_secs(lease.renew);
        self.lease = Some(lease.clone());
        vec![Action::Tell(Event::Bound(lease))]
    }

    /// The lease is to be extended: by its server until T2, then by any.
    fn extend(&mut self, now: Duration) -> Vec<Action> {
        let Some(lease) = self.lease.clone() else { return self.begin(now) };
        let rebind = Duration::from_secs(lease.rebind);
        if now < rebind {
            if self.phase != Phase::Renewing {
                self.enter(Phase::Renewing, retry::RENEW);
            }
            let actions = self.ask(now, Ask::Renew, Some(lease.server), Some(lease.address));
            self.deadline = self.deadline.min(rebind);
            actions
        } else {
            if self.phase != Phase::Rebinding {
                self.enter(Phase::Rebinding, retry::REBIND);
            }
            self.ask(now, Ask::Rebind, None, Some(lease.address))
        }
    }

    /// The lease has ended.
    fn end(&mut self, now: Duration, why: &str) -> Vec<Action> {
        let ended = self.lease.take().map(|lease| Event::Ended(lease, why.to_owned()));
        ended.map(Action::Tell).into_iter().chain(self.begin(now)).collect()
    }

    /// A server has refused the address: the lease, if there is one, has ended. Then it is asked
    /// for another one, after a time.
    fn refused(&mut self, now: Duration, why: &str) -> Vec<Action> {
        self.hint = None;
        let ended = self.lease.take().map(|lease| Event::Ended(lease, why.to_owned()));
        ended.map(Action::Tell).into_iter().chain(self.pause(now)).collect()
    }

    /// Begins again, at once.
    fn begin(&mut self, now: Duration) -> Vec<Action> {
        self.pause(now);
        self.ask(now, Ask::Solicit, None, self.hint)
    }

    /// Begins again, after a time.
    fn pause(&mut self, now: Duration) -> Vec<Action> {
        let most = self.solicit_max.or(retry::SOLICIT.most);
        self.enter(Phase::Soliciting(None), retry::Times { most, ..retry::SOLICIT });
        self.deadline = now + PAUSE;
        vec![]
    }

    fn done(&mut self) -> Vec<Action> {
        self.phase = Phase::Done;
        vec![]
    }

    fn request(&mut self, now: Duration, offer: Offer) -> Vec<Action> {
        let Offer { server, address, .. } = offer.clone();
        self.enter(Phase::Requesting(offer), retry::REQUEST);
        self.ask(now, Ask::Request, Some(server), Some(address))
    }

    fn enter(&mut self, phase: Phase, times: retry::Times) {
        self.phase = phase;
        self.exchange = Exchange::new(times);
    }

    fn ask(
        &mut self,
        now: Duration,
        kind: Ask,
        server: Option<Duid>,
        address: Option<Ipv6Addr>,
    ) -> Vec<Action> {
        if self.exchange.sent() == 0 {
            self.xid = self.random.number() & 0x00ff_ffff;
            self.began = now;
        }
        let wait = self.exchange.send(&mut self.random);
        self.asked = now;
        self.deadline = now + wait;
        let elapsed = now.saturating_sub(self.began);
        vec![Action::Send(Question { kind, xid: self.xid, elapsed, server, address })]
    }
}

#[cfg(test)]
mod tests;
