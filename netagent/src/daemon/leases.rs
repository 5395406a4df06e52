//! The DHCP clients of the node's own interfaces, one for each, and the leases that they have got:
//! a source of what is desired. The leases are kept in the state directory, so that an agent that
//! is started again continues with them.

mod client;
mod duid;
mod file;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::Result;
use tokio::{sync::mpsc, task::spawn};
use tracing::{info, warn};

use self::{
    client::Client,
    duid::DuidFile,
    file::{Key, LeaseFile},
    steps::{is_taken_over, moves, removes},
};
use super::Daemon;
use crate::{
    clock::boot_seconds,
    dhcp::{self, Event, Interface, Lease, Line, Notice, Told, v4, v6},
    intent::{LeaseIntent, Origin, Sourced},
    logging::Lasting,
    names::{Cidr, Family, IfName},
    netlink::Changes,
    plan::Plan,
    state::{Desired, Host, Lifetime, Link, Observed},
};

/// The clients, and what is known of their leases.
pub struct Leases {
    file: LeaseFile,
    duid: DuidFile,
    clients: BTreeMap<Key, Client>,
    known: BTreeMap<Key, Event>,
    /// Whether the leases of an earlier start are known.
    resumed: bool,
    /// Why the file is not up to date.
    unwritten: Lasting,
    sender: mpsc::Sender<Told>,
    receiver: mpsc::Receiver<Told>,
}

impl Daemon {
    /// A client has told something: the leases as they are now are desired.
    pub(super) fn leased(&mut self, told: Told) {
        if self.leases.take(told) {
            self.sources.set_leases(self.leases.intents());
            self.compile();
        }
    }

    /// Continues with the leases of an earlier start whose addresses are there.
    pub(super) fn resume_leases(&mut self) {
        if self.leases.resume(self.agent.links()) {
            self.sources.set_leases(self.leases.intents());
            self.compile();
        }
    }

    /// Releases the leases whose addresses the plan removes, before they go.
    pub(super) async fn release_leases(&mut self, desired: &Desired) {
        if self.leases.has_former(desired) {
            let plan = self.agent.plan(desired, self.ledger.permission());
            self.leases.release(desired, self.agent.links(), &plan).await;
        }
    }

    /// Starts the clients of interfaces that are ready, and ends those of others.
    pub(super) fn follow_leases(&mut self, desired: &Desired, plan: &Plan) {
        if self.leases.follow(desired, self.agent.links(), plan) {
            self.sources.set_leases(self.leases.intents());
            self.compile();
        }
    }
}

impl Leases {
    /// Reads the leases of a state directory. Fails where the file wants leases, and the process
    /// may not ask for them.
    pub fn read(directory: &Path, desired: &Desired) -> Result<Self> {
        for family in desired.hosts.values().flat_map(|host| host.dhcp.keys()) {
            dhcp::check_rights(*family)?;
        }
        let (sender, receiver) = mpsc::channel(16);
        Ok(Self {
            file: LeaseFile::read(directory),
            duid: DuidFile::read(directory),
            clients: BTreeMap::new(),
            known: BTreeMap::new(),
            resumed: false,
            unwritten: Lasting::new("the DHCP leases are not kept"),
            sender,
            receiver,
        })
    }

    /// What a client tells. Cancelling it loses nothing.
    pub async fn told(&mut self) -> Told {
        match self.receiver.recv().await {
            Some(told) => told,
            // Not while there is the other end here.
            None => std::future::pending().await,
        }
    }

    /// Notes what a client tells. Returns whether it is news.
    fn take(&mut self, told: Told) -> bool {
        let Told { interface, family, event } = told;
        let key = Key(interface.name.clone(), family);
        let (name, protocol) = (&interface.name, family.dhcp());
        // A client that has ended may have told something before.
        if self.clients.get(&key).is_none_or(|client| client.interface != interface) {
            return false;
        }
        match &event {
            Event::Bound(lease) => {
                let before = match self.known.get(&key) {
                    Some(Event::Bound(before)) => Some(before.address()),
                    Some(Event::Ended(..)) | None => None,
                };
                if before != Some(lease.address()) {
                    info!("{name}: {protocol} lease of {}", text(lease));
                }
                self.file.insert(&interface, lease);
            }
            Event::Ended(lease, reason) => {
                warn!("{name}: the {protocol} lease of {} has ended: {reason}", lease.address());
                self.file.remove(&key);
            }
        }
        self.save();
        self.known.insert(key, event.clone()).as_ref() != Some(&event)
    }

    /// Writes the file.
    fn save(&mut self) {
        match self.file.save() {
            Ok(()) => self.unwritten.is_gone(),
            Err(error) => self.unwritten.is(format!("{error:#}")),
        }
    }

    /// Tells clients that the kernel has found their address at another station.
    pub fn note_duplicates(&self, changes: &Changes) {
        for (index, address) in &changes.duplicates {
            for client in self.clients.values().filter(|it| it.interface.index == *index) {
                // A client that does not listen has not got a lease.
                let _told = client.notices.try_send(Notice::Duplicate((*address).into()));
            }
        }
    }

    /// The leases, as a source.
    fn intents(&self) -> Vec<Sourced<LeaseIntent>> {
        let intents = self.known.iter().map(|(Key(name, family), event)| {
            let (lease, ended) = match event {
                Event::Bound(lease) => (lease, None),
                Event::Ended(lease, reason) => (lease, Some(reason.clone())),
            };
            let value = LeaseIntent {
                interface: name.clone(),
                address: lease.address(),
                lifetime: Lifetime { preferred: lease.preferred(), until: lease.until() },
                routes: lease.routes(),
                replaces: lease.replaces(),
                ended,
            };
            Sourced { origin: Origin::Lease(name.clone(), *family), value }
        });
        intents.collect()
    }

    /// Notes the leases of an earlier start whose addresses are there, wanted or not. Returns
    /// whether there are any.
    fn resume(&mut self, links: &Observed) -> bool {
        if std::mem::replace(&mut self.resumed, true) {
            return false;
        }
        let keys: Vec<Key> = self.file.keys().cloned().collect();
        for key in keys {
            let Some(link) = links.link(&key.0) else { continue };
            let lease = self.file.get(&interface(&key.0, link), key.1);
            let is_there = |lease: &Lease| {
                lease.until() > boot_seconds() && link.addresses.contains_key(&lease.address())
            };
            if let Some(lease) = lease.filter(is_there) {
                self.known.insert(key, Event::Bound(lease));
            }
        }
        !self.known.is_empty()
    }

    /// Whether there is a lease that is not desired.
    fn has_former(&self, desired: &Desired) -> bool {
        self.known.keys().any(|key| !wants(desired, key))
    }

    /// Releases the leases whose addresses a plan removes.
    async fn release(&mut self, desired: &Desired, links: &Observed, plan: &Plan) {
        for (key, event) in self.known.clone() {
            let (key, Event::Bound(lease)) = (&key, &event) else { continue };
            let goes =
                plan.units.iter().any(|unit| unit.is_runnable() && removes(unit, key, lease));
            if !goes || wants(desired, key) || moves(plan, lease) {
                continue;
            }
            let client = match (self.clients.remove(key), links.link(&key.0)) {
                (Some(client), _) => client,
                (None, Some(link)) => self.start(interface(&key.0, link), key.1, None, link),
                (None, None) => continue,
            };
            info!("{}: releasing the {} lease of {}", key.0, key.1.dhcp(), lease.address());
            client.release().await;
        }
    }

    /// Starts and ends clients. Returns whether a lease is forgotten, as nobody wants it.
    fn follow(&mut self, desired: &Desired, links: &Observed, plan: &Plan) -> bool {
        // A lease stays in force as long as the removal of its address waits for something.
        let waits = |key: &Key| match self.known.get(key) {
            Some(Event::Bound(lease)) => {
                plan.units.iter().any(|unit| !unit.is_runnable() && removes(unit, key, lease))
            }
            Some(Event::Ended(..)) | None => false,
        };
        let waiting: BTreeSet<Key> = self.known.keys().filter(|key| waits(key)).cloned().collect();
        let is_needed = |key: &Key| wants(desired, key) || waiting.contains(key);
        let is_same = |client: &Client| {
            let link = links.link(&client.interface.name);
            link.is_some_and(|link| client.interface == interface(&client.interface.name, link))
        };
        self.clients.retain(|key, client| is_needed(key) && is_same(client));
        // Behind a carrier that comes back there may be another network: a client that starts again
        // asks whether its lease is good there (RFC 2131 section 3.7, RFC 8415 section 18.2.12).
        self.clients.retain(|key, client| {
            let carrier = links.link(&key.0).is_some_and(|link| link.carrier);
            std::mem::replace(&mut client.carrier, carrier) || !carrier
        });
        let before = self.known.len();
        self.known.retain(|key, _| is_needed(key));
        if self.file.retain(is_needed) {
            self.save();
        }
        let of_host = |(name, host): (&IfName, &Host)| {
            host.dhcp.keys().map(|family| Key(name.clone(), *family)).collect::<Vec<_>>()
        };
        let needed = desired.hosts.iter().flat_map(of_host).chain(waiting);
        for key in needed.collect::<BTreeSet<Key>>() {
            let Some(link) = links.link(&key.0) else { continue };
            let host = desired.hosts.get(&key.0);
            let comes_along = host.is_some_and(|host| is_taken_over(desired, plan, host));
            if link.up && link.carrier && !comes_along && !self.clients.contains_key(&key) {
                let client = self.start(interface(&key.0, link), key.1, host, link);
                self.clients.insert(key, client);
            }
        }
        self.known.len() < before
    }

    /// Starts a client with its own lease, or with what a DHCP client before has got.
    fn start(
        &mut self,
        interface: Interface,
        family: Family,
        host: Option<&Host>,
        link: &Link,
    ) -> Client {
        let known = match self.known.get(&Key(interface.name.clone(), family)) {
            Some(Event::Bound(lease)) => Some(lease.clone()),
            Some(Event::Ended(..)) => None,
            None => self.file.get(&interface, family),
        };
        let known = known.filter(|lease| lease.until() > boot_seconds());
        let there =
            known.as_ref().is_some_and(|lease| link.addresses.contains_key(&lease.address()));
        let (notices, receiver) = mpsc::channel(4);
        let ends =
            Line { interface: interface.clone(), daemon: self.sender.clone(), notices: receiver };
        let task = match (family, known) {
            (Family::V4, Some(Lease::V4(lease))) => {
                spawn(v4::run(ends, v4::Start::Lease { lease, there }))
            }
            (Family::V4, _) => spawn(v4::run(ends, former(host, link))),
            (Family::V6, known) => {
                let start = match known {
                    Some(Lease::V6(lease)) => v6::Start::Lease { lease, there },
                    _ => v6::Start::Nothing,
                };
                spawn(v6::run(ends, self.duid.get(interface.mac), start))
            }
        };
        Client { interface, carrier: true, notices, task: Some(task.abort_handle()) }
    }
}

fn wants(desired: &Desired, Key(name, family): &Key) -> bool {
    desired.hosts.get(name).is_some_and(|host| host.dhcp.contains_key(family))
}

/// An address that another DHCPv4 client of the node has got.
fn former(host: Option<&Host>, link: &Link) -> v4::Start {
    let expires = |cidr: &Cidr| {
        cidr.family() == Family::V4 && host.is_none_or(|host| !host.addresses.contains(cidr))
    };
    let mut expiring = link.addresses.iter().filter(|(cidr, it)| it.expires() && expires(cidr));
    expiring.next().map_or(v4::Start::Nothing, |(cidr, _)| v4::Start::Address(*cidr))
}

fn interface(name: &IfName, link: &Link) -> Interface {
    Interface { name: name.clone(), index: link.index, mac: link.mac }
}

fn text(lease: &Lease) -> String {
    let seconds = lease.until().saturating_sub(boot_seconds());
    let address = lease.address();
    match lease {
        Lease::V4(v4::Lease { server, mtu, ntp, .. }) => {
            let mtu = mtu.map(|mtu| format!(", MTU {mtu} (not set: see uplink.mtu)"));
            let mtu = mtu.unwrap_or_default();
            let ntp = match &ntp[..] {
                [] => String::new(),
                servers => format!(", NTP servers {servers:?}"),
            };
            format!("{address} from {server} for {seconds} s{mtu}{ntp}")
        }
        Lease::V6(v6::Lease { server, .. }) => format!("{address} from {server} for {seconds} s"),
    }
}
