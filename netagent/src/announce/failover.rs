//! Announces all stations behind a bond when its traffic takes other members. The kernel sends peer
//! notifications for addresses of the bond and of the VLAN interfaces above it only
//! (NETDEV_NOTIFY_PEERS; a bridge does not pass them on): here, the addresses are on the bridge,
//! and the MAC addresses of VMs behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use anyhow::{Context as _, Error, Result};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, info, warn};

use super::{
    choice::{BondUplink, Interface, Stations, is_failover},
    frames,
};
use crate::{
    dhcp::v4::Outlet,
    logging::Lasting,
    names::Mac,
    netlink::{FdbEvent, FdbWatch, LinkWatch, Netlink},
    worker,
};

/// How long after a notification the bond is read: what comes in a burst is handled once, and the
/// kernel has activated the queues of links that have just got their carrier.
const SETTLE: Duration = Duration::from_millis(10);
/// The delay after a failure.
const RETRY: Duration = Duration::from_secs(2);
/// 50 frames in 5 ms, 10,000 in a second: 1,000 stations take 0.1 s.
const BURST: usize = 50;
const PAUSE: Duration = Duration::from_millis(5);
/// A bond that fails over again within this time is logged at debug level.
const QUIET: Duration = Duration::from_secs(10);

/// The way to the thread.
pub struct Failover {
    uplinks: watch::Sender<Vec<BondUplink>>,
}

impl Failover {
    /// Starts the thread. It ends with this.
    pub fn spawn() -> Result<Self> {
        let (uplinks, wanted) = watch::channel(Vec::new());
        worker::spawn("failover", async move || run(wanted).await)?;
        Ok(Self { uplinks })
    }

    /// The bonds that are uplinks.
    pub fn follow(&self, uplinks: Vec<BondUplink>) {
        self.uplinks.send_if_modified(|known| {
            let differ = *known != uplinks;
            *known = uplinks;
            differ
        });
    }
}

async fn run(mut wanted: watch::Receiver<Vec<BondUplink>>) {
    let mut unread = Lasting::new("failovers of bonds are not announced");
    loop {
        match follow(&mut wanted, &mut unread).await {
            Ok(()) => return,
            Err(error) => {
                unread.is(format!("{error:#}"));
                sleep(RETRY).await;
            }
        }
    }
}

/// What is known of a bond.
struct Known {
    /// The members that its traffic took last; none: it was down.
    carriers: BTreeSet<u32>,
    /// The announcement of its last failover, and when it began.
    announcement: Option<(JoinHandle<()>, Instant)>,
}

/// Follows the bonds until nobody wants it any more.
async fn follow(wanted: &mut watch::Receiver<Vec<BondUplink>>, unread: &mut Lasting) -> Result<()> {
    let mut links = LinkWatch::open()?;
    let netlink = Netlink::open()?;
    let mut known: BTreeMap<u32, Known> = BTreeMap::new();
    loop {
        let uplinks = wanted.borrow_and_update().clone();
        known.retain(|index, _| uplinks.iter().any(|uplink| uplink.ifindex == *index));
        for uplink in &uplinks {
            let carriers = netlink.carriers(uplink.ifindex).await;
            let carriers =
                carriers.with_context(|| format!("{}: read its members", uplink.name))?;
            note(&mut known, uplink, carriers);
        }
        unread.is_gone();
        loop {
            tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return Ok(()),
                },
                // `None`: notifications were lost.
                changed = links.changed() => {
                    let is_of_interest = |links: BTreeSet<u32>| {
                        uplinks.iter().any(|uplink| links.contains(&uplink.ifindex))
                    };
                    if changed.context("read changes of links")?.is_none_or(is_of_interest) {
                        sleep(SETTLE).await;
                        break;
                    }
                }
            }
        }
    }
}

/// Notes which members the traffic of a bond takes now, and announces a failover. What was not
/// announced of an earlier one is announced with it.
fn note(known: &mut BTreeMap<u32, Known>, uplink: &BondUplink, carriers: BTreeSet<u32>) {
    let Some(bond) = known.get_mut(&uplink.ifindex) else {
        known.insert(uplink.ifindex, Known { carriers, announcement: None });
        return;
    };
    let before = std::mem::replace(&mut bond.carriers, carriers);
    if !is_failover(&before, &bond.carriers) || uplink.rounds == 0 {
        return;
    }
    let earlier = bond.announcement.take();
    let is_repeated = earlier.as_ref().is_some_and(|(_, began)| began.elapsed() < QUIET);
    if let Some((task, _)) = earlier {
        task.abort();
    }
    let task = tokio::spawn(announce(uplink.clone(), is_repeated));
    bond.announcement = Some((task, Instant::now()));
}

/// Announces as often as the bond's option says.
async fn announce(uplink: BondUplink, is_repeated: bool) {
    let name = &uplink.name;
    for round in 1..=uplink.rounds {
        let next = Instant::now() + uplink.interval;
        let Sent { addresses, stations, left, error } = send_round(&uplink).await;
        let text = format!(
            "{name}: its traffic takes another member: announced {addresses} addresses of the node \
             and {stations} stations"
        );
        let (text, is_fault) = match error {
            Some(error) => (format!("{text}, not all: {error:#}"), true),
            None if left > 0 => (format!("{text}; {left} more are beyond the limit"), true),
            None => (text, false),
        };
        if round > 1 || is_repeated {
            debug!("{text}");
        } else if is_fault {
            warn!("{text}");
        } else {
            info!("{text}");
        }
        if round < uplink.rounds {
            sleep_until(next).await;
        }
    }
}

/// What one round has sent.
#[derive(Default)]
struct Sent {
    addresses: usize,
    stations: usize,
    /// Stations beyond the limit.
    left: usize,
    /// The first failure. The others are announced all the same.
    error: Option<Error>,
}

async fn send_round(uplink: &BondUplink) -> Sent {
    let mut sent = Sent::default();
    // The node first: it is what everybody asks for.
    for interface in &uplink.interfaces {
        match addresses(interface).await {
            Ok(count) => sent.addresses += count,
            Err(error) => drop(sent.error.get_or_insert(error)),
        }
    }
    if let Err(error) = stations(uplink, &mut sent).await {
        sent.error.get_or_insert(error);
    }
    sent
}

/// Announces the addresses of an interface, on the interface itself: the kernel adds the tag of its
/// VLAN. Returns how many.
async fn addresses(interface: &Interface) -> Result<usize> {
    let netlink = Netlink::open()?;
    let Interface { ifindex, mac, is_station } = *interface;
    let (addresses, is_router) = netlink.own_addresses(ifindex).await.context("list addresses")?;
    let mut frames: Vec<_> = addresses
        .iter()
        .map(|address: &IpAddr| frames::of_address(*address, mac, is_router))
        .collect();
    if frames.is_empty() && is_station {
        frames.push(frames::rarp(mac, None));
    }
    if frames.is_empty() {
        return Ok(0);
    }
    let outlet = open(ifindex)?;
    for frame in &frames {
        outlet.send(frame).context("send by an interface of the node")?;
    }
    Ok(addresses.len())
}

/// Announces the stations behind the ports of the bridge.
async fn stations(uplink: &BondUplink, sent: &mut Sent) -> Result<()> {
    let (stations, left) = read(uplink).await?.in_turn();
    sent.left = left;
    if stations.is_empty() {
        return Ok(());
    }
    let outlet = open(uplink.ifindex)?;
    let mut result = Ok(());
    for burst in stations.chunks(BURST) {
        for (mac, vid) in burst {
            match outlet.send(&frames::rarp(*mac, Some(*vid))) {
                Ok(()) => sent.stations += 1,
                Err(error) => result = Err(error),
            }
        }
        sleep(PAUSE).await;
    }
    result.context("send by the uplink")
}

/// `bridge fdb show br BRIDGE`
async fn read(uplink: &BondUplink) -> Result<Stations> {
    let mut stations = Stations::default();
    let mut reader = FdbWatch::reader()?;
    reader.dump(Some(uplink.bridge)).await?;
    loop {
        for event in reader.events().await? {
            match event {
                FdbEvent::Known { station, ifindex, local: false }
                    if station.bridge == uplink.bridge =>
                {
                    stations.add(uplink, ifindex, Mac(station.mac), station.vid);
                }
                FdbEvent::Dumped { .. } => return Ok(stations),
                _ => {}
            }
        }
    }
}

fn open(ifindex: u32) -> Result<Outlet> {
    Outlet::open(ifindex).context("open a packet socket (needs CAP_NET_RAW)")
}
