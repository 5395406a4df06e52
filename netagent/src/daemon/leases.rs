//! The DHCP clients of the node's own interfaces, one for each, and the leases that they have got:
//! a source of what is desired. The leases are kept in the state directory, so that an agent that
//! is started again continues with them.

mod file;

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, spawn},
};
use tracing::{info, warn};

use self::file::LeaseFile;
use super::Daemon;
use crate::{
    change::{Change, LinkChange},
    clock::boot_seconds,
    dhcp::{self, Event, Interface, Lease, Start, Told},
    intent::{LeaseIntent, Origin, Sourced},
    names::{Cidr, IfName},
    plan::{Plan, Step},
    state::{Desired, Host, Link, Observed, Part},
};

/// The clients, and what is known of their leases.
pub struct Leases {
    file: LeaseFile,
    clients: BTreeMap<IfName, Client>,
    known: BTreeMap<IfName, Event>,
    sender: mpsc::Sender<Told>,
    receiver: mpsc::Receiver<Told>,
}

/// A client at work. It ends when it is dropped.
struct Client {
    interface: Interface,
    task: AbortHandle,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Daemon {
    /// A client has told something: the leases as they are now are desired.
    pub(super) fn leased(&mut self, told: Told) {
        if self.leases.take(told) {
            self.sources.set_leases(self.leases.intents());
            self.compile();
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
        if desired.hosts.values().any(|host| host.dhcp.is_some()) {
            dhcp::check_rights()?;
        }
        let (sender, receiver) = mpsc::channel(16);
        let file = LeaseFile::read(directory);
        Ok(Self { file, clients: BTreeMap::new(), known: BTreeMap::new(), sender, receiver })
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
        let Told { interface, event } = told;
        let name = &interface.name;
        // A client that has ended may have told something before.
        if self.clients.get(name).is_none_or(|client| client.interface != interface) {
            return false;
        }
        match &event {
            Event::Bound(lease) => {
                let before = match self.known.get(name) {
                    Some(Event::Bound(before)) => Some(before.address),
                    Some(Event::Ended(..)) | None => None,
                };
                if before != Some(lease.address) {
                    info!("{name}: DHCP lease of {}", text(lease));
                }
                self.file.insert(&interface, lease);
            }
            Event::Ended(lease, reason) => {
                warn!("{name}: the DHCP lease of {} has ended: {reason}", lease.address);
                self.file.remove(name);
            }
        }
        if let Err(error) = self.file.save() {
            warn!("{error:#}");
        }
        self.known.insert(name.clone(), event.clone()).as_ref() != Some(&event)
    }

    /// The leases, as a source.
    fn intents(&self) -> Vec<Sourced<LeaseIntent>> {
        let intents = self.known.iter().map(|(name, event)| {
            let (lease, ended) = match event {
                Event::Bound(lease) => (lease, None),
                Event::Ended(lease, reason) => (lease, Some(reason.clone())),
            };
            let routes = lease.routes.iter().map(|(to, via)| (*to, via.map(Into::into)));
            let value = LeaseIntent {
                interface: name.clone(),
                address: lease.address,
                until: lease.until,
                routes: routes.collect(),
                replaces: lease.replaces,
                ended,
            };
            Sourced { origin: Origin::Lease(name.clone()), value }
        });
        intents.collect()
    }

    /// Starts and ends clients. Returns whether a lease is forgotten, as nobody wants it.
    fn follow(&mut self, desired: &Desired, links: &Observed, plan: &Plan) -> bool {
        let wants = |name: &IfName| desired.hosts.get(name).is_some_and(|it| it.dhcp.is_some());
        let is_same = |client: &Client| {
            let link = links.link(&client.interface.name);
            link.is_some_and(|link| client.interface == interface(&client.interface.name, link))
        };
        self.clients.retain(|name, client| wants(name) && is_same(client));
        let before = self.known.len();
        self.known.retain(|name, _| wants(name));
        if self.file.retain(|name| wants(name))
            && let Err(error) = self.file.save()
        {
            warn!("{error:#}");
        }
        for (name, host) in desired.hosts.iter().filter(|(_, host)| host.dhcp.is_some()) {
            let Some(link) = links.link(name) else { continue };
            let is_ready = link.up && link.carrier && !is_taken_over(desired, plan, host);
            if is_ready && !self.clients.contains_key(name) {
                let interface = interface(name, link);
                let start = self.start(&interface, host, link);
                let task = spawn(dhcp::run(interface.clone(), start, self.sender.clone()));
                let task = task.abort_handle();
                self.clients.insert(name.clone(), Client { interface, task });
            }
        }
        self.known.len() < before
    }

    /// What a client begins with: its own lease, or what a DHCP client before has got.
    fn start(&self, interface: &Interface, host: &Host, link: &Link) -> Start {
        let known = match self.known.get(&interface.name) {
            Some(Event::Bound(lease)) => Some(lease.clone()),
            Some(Event::Ended(..)) => None,
            None => self.file.get(interface),
        };
        if let Some(lease) = known.filter(|lease| lease.until > boot_seconds()) {
            let there = link.addresses.contains_key(&lease.address);
            return Start::Lease { lease, there };
        }
        let expires = |cidr: &Cidr| cidr.address.is_ipv4() && !host.addresses.contains(cidr);
        let mut expiring = link.addresses.iter().filter(|(cidr, it)| it.expires() && expires(cidr));
        expiring.next().map_or(Start::Nothing, |(cidr, _)| Start::Address(*cidr))
    }
}

/// Whether the NIC that has the node's address is still to join the segment of a host: its address
/// comes along.
fn is_taken_over(desired: &Desired, plan: &Plan, host: &Host) -> bool {
    let subject = desired.segment_of(&host.bridge);
    let joins = |step: &Step| {
        matches!(step.change, Change::Link(LinkChange::AddMember(..) | LinkChange::AddPort(..)))
    };
    plan.units.iter().any(|unit| {
        matches!(unit.id.part, Part::Takeover | Part::Port)
            && unit.subject == subject
            && unit.steps.iter().any(joins)
    })
}

fn interface(name: &IfName, link: &Link) -> Interface {
    Interface { name: name.clone(), index: link.index, mac: link.mac }
}

fn text(lease: &Lease) -> String {
    let Lease { address, server, mtu, ntp, .. } = lease;
    let seconds = lease.until.saturating_sub(boot_seconds());
    let mtu = mtu.map(|mtu| format!(", MTU {mtu} (not set: see uplink.mtu)")).unwrap_or_default();
    let ntp = match &ntp[..] {
        [] => String::new(),
        servers => format!(", NTP servers {servers:?}"),
    };
    format!("{address} from {server} for {seconds} s{mtu}{ntp}")
}
