//! Keeps the programs' map of stations as the bridges have it, in a thread of its own: nothing that the agent does else delays
//! what a bridge has learned.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use netagent_common::forward::{FRESH_FOR, Station};
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep},
};
use tracing::{debug, warn};

use crate::{
    datapath::{fdb::Stations, pins::Pins},
    fdb::{Bridges, Mirror, Write},
    netlink::{FdbEvent, FdbWatch, Netlink},
};

/// How often the programs hear that the map is up to date; well within the time for which they believe it.
const BEAT: Duration = Duration::from_millis(250);
/// How often all is compared, though no notification was missed.
const COMPARE: Duration = Duration::from_secs(60);
/// How soon it is tried again after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// Starts the thread; it follows these bridges from then on, until the sender is dropped.
pub fn spawn(pins: &Pins) -> Result<watch::Sender<Bridges>> {
    let (sender, bridges) = watch::channel(Bridges::default());
    let pins = pins.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    thread::Builder::new()
        .name("fdb".to_owned())
        .spawn(move || runtime.block_on(run(&pins, bridges)))
        .context("start the thread that follows the bridges")?;
    Ok(sender)
}

async fn run(pins: &Pins, mut bridges: watch::Receiver<Bridges>) {
    let mut complaint = String::new();
    loop {
        match follow(pins, &mut bridges).await {
            Ok(true) => complaint.clear(),
            Ok(false) => return,
            Err(error) => {
                let text = format!("{error:#}");
                if text != complaint {
                    warn!("frames go by the bridge until this is mended: {text}");
                }
                complaint = text;
                sleep(RETRY).await;
            }
        }
    }
}

/// Follows the bridges until others are to be followed (true), or none any more (false).
async fn follow(pins: &Pins, wanted: &mut watch::Receiver<Bridges>) -> Result<bool> {
    let bridges = wanted.borrow_and_update().clone();
    let stations = if bridges.macs.is_empty() { None } else { Stations::open(pins)? };
    let Some(mut stations) = stations else { return Ok(wanted.changed().await.is_ok()) };
    // Whoever was before us may have left it trusted.
    stations.distrust()?;
    let netlink = Netlink::open()?;
    let mut watch = FdbWatch::open()?;
    let found = stations.entries().into_iter().map(|entry| (entry.station(), entry.ifindex));
    let mut copy = Copy {
        mirror: Mirror::new(bridges, found),
        stations,
        up_to_date: false,
        renewed: Instant::now(),
        dumping: false,
        again: false,
    };
    copy.read_ports(&netlink).await?;
    copy.dump(&mut watch).await?;
    let mut beat = interval(BEAT);
    let mut compared = Instant::now();
    loop {
        tokio::select! {
            events = watch.events() => copy.take(&events?, &mut watch, &netlink).await?,
            _ = beat.tick() => {
                if !copy.stations.is_pinned(pins) {
                    return Ok(true);
                }
                copy.stations.tidy();
                copy.renew(&mut watch).await?;
                if compared.elapsed() >= COMPARE {
                    compared = Instant::now();
                    copy.dump(&mut watch).await?;
                }
            }
            changed = wanted.changed() => return Ok(changed.is_ok()),
        }
    }
}

/// The copy, and the map that it is written to.
struct Copy {
    mirror: Mirror,
    stations: Stations,
    up_to_date: bool,
    /// When the programs heard last that it is.
    renewed: Instant,
    dumping: bool,
    /// There is something that the dump under way may not have seen.
    again: bool,
}

impl Copy {
    /// Takes over what has happened: the last word on each station, so that nothing is written that was outdated when it
    /// was read.
    async fn take(
        &mut self,
        events: &[FdbEvent],
        watch: &mut FdbWatch,
        netlink: &Netlink,
    ) -> Result<()> {
        let mut writes = BTreeMap::new();
        let (mut ports, mut dump) = (false, false);
        for event in events {
            let write = match *event {
                FdbEvent::Known { station, ifindex, local } => {
                    self.mirror.known(station, ifindex, local)
                }
                FdbEvent::Gone(station) => self.mirror.gone(station),
                FdbEvent::Link => {
                    ports = true;
                    None
                }
                FdbEvent::Dumped { interrupted } => {
                    self.dumping = false;
                    dump |= interrupted || std::mem::take(&mut self.again);
                    if !dump {
                        writes.extend(self.mirror.end().into_iter().map(by_station));
                        self.up_to_date = true;
                        self.renewed = Instant::now();
                    }
                    None
                }
                FdbEvent::Lost => {
                    debug!("notifications of bridges were lost: reading all again");
                    self.up_to_date = false;
                    self.stations.distrust()?;
                    dump = true;
                    None
                }
            };
            writes.extend(write.map(by_station));
        }
        for write in writes.into_values() {
            self.write(write);
        }
        dump |= ports && self.read_ports(netlink).await?;
        if dump {
            self.dump(watch).await?;
        }
        self.renew(watch).await
    }

    /// What has become of ports and of bonds' members; whether the bridges must be asked again.
    async fn read_ports(&mut self, netlink: &Netlink) -> Result<bool> {
        let ports = netlink.plain_ports().await.context("list bridge ports")?;
        let (writes, ask) = self.mirror.set_ports(ports);
        for write in writes {
            self.write(write);
        }
        let mut nics = BTreeSet::new();
        for uplink in self.mirror.uplinks() {
            let members = netlink.active_members(*uplink).await.context("list a bond's members")?;
            nics.extend(members.into_iter().chain([*uplink]));
        }
        self.stations.set_nics(&nics)?;
        Ok(ask)
    }

    /// Says that the copy is up to date. Where nobody has said so for too long (this process was stopped, or had no processor), it may
    /// be no more: what has happened meanwhile is read first.
    async fn renew(&mut self, watch: &mut FdbWatch) -> Result<()> {
        if self.up_to_date && self.renewed.elapsed() >= Duration::from_nanos(FRESH_FOR) {
            self.up_to_date = false;
            return self.dump(watch).await;
        }
        if self.up_to_date {
            self.renewed = Instant::now();
            self.stations.trust()?;
        }
        Ok(())
    }

    async fn dump(&mut self, watch: &mut FdbWatch) -> Result<()> {
        // One at a time.
        if self.dumping {
            self.again = true;
            return Ok(());
        }
        let moved = self.stations.entries().into_iter().filter(|entry| entry.moved != 0);
        self.mirror.begin(moved.map(|entry| entry.station()));
        self.dumping = true;
        watch.dump().await
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Set(station, ifindex) => self.stations.set(&station, ifindex),
            Write::Remove(station) => self.stations.remove(&station),
        }
    }
}

fn by_station(write: Write) -> (Station, Write) {
    match write {
        Write::Set(station, _) | Write::Remove(station) => (station, write),
    }
}
