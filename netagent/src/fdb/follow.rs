//! Follows the bridges' FDBs and keeps the programs' map equal to them. Runs in its own thread, so
//! that other work of the agent does not delay an update.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result};
use netagent_common::forward::{FRESH_FOR, Station};
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep},
};
use tracing::debug;

use super::mirror::{Bridges, Mirror, Moves, Write};
use crate::{
    datapath::{fdb::Stations, pins::Pins},
    logging::Lasting,
    netlink::{FdbEvent, FdbWatch, Netlink},
    worker,
};

/// Interval at which the map is declared up to date; a fraction of [`FRESH_FOR`].
const BEAT: Duration = Duration::from_millis(300);
/// Interval of full dumps while no notification is lost.
const COMPARE: Duration = Duration::from_secs(60);
/// A dump that takes longer than this is followed by a pause: see [`pause`].
const SHORT: Duration = Duration::from_millis(250);
/// How much longer than the dump the pause is.
const PAUSE: u32 = 9;
/// Reading all ports takes fewer system calls than reading more than this many one by one.
const SINGLE: usize = 16;
/// Delay before the next attempt after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// The way to the thread.
pub struct Fdb {
    /// The bridges that it follows.
    pub bridges: watch::Sender<Bridges>,
    /// The moves that it has counted.
    pub moves: watch::Receiver<Moves>,
}

/// Starts the thread. It follows the bridges that are sent to it, until the sender is dropped.
pub fn spawn(pins: &Pins) -> Result<Fdb> {
    let (sender, bridges) = watch::channel(Bridges::default());
    let (counted, moves) = watch::channel(Moves::new());
    let pins = pins.clone();
    worker::spawn("fdb", async move || run(&pins, bridges, &counted).await)?;
    Ok(Fdb { bridges: sender, moves })
}

async fn run(pins: &Pins, mut bridges: watch::Receiver<Bridges>, counted: &watch::Sender<Moves>) {
    let mut disabled = Lasting::new("fast path disabled");
    loop {
        match follow(pins, &mut bridges, counted, &mut disabled).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                disabled.is(format!("{error:#}"));
                sleep(RETRY).await;
            }
        }
    }
}

/// Follows the bridges. Returns true when other bridges are to be followed, false when the sender
/// is gone.
async fn follow(
    pins: &Pins,
    wanted: &mut watch::Receiver<Bridges>,
    counted: &watch::Sender<Moves>,
    disabled: &mut Lasting,
) -> Result<bool> {
    let bridges = wanted.borrow_and_update().clone();
    let stations = if bridges.macs.is_empty() { None } else { Stations::open(pins)? };
    let Some(mut stations) = stations else { return Ok(wanted.changed().await.is_ok()) };
    // An earlier agent may have declared the map up to date.
    stations.distrust()?;
    let netlink = Netlink::open()?;
    let mut watch = FdbWatch::open()?;
    let found = stations.entries().into_iter().map(|entry| (entry.station(), entry.ifindex));
    let mut follower = Follower {
        mirror: Mirror::new(bridges, found, counted.borrow().clone()),
        nics: BTreeSet::new(),
        stations,
        up_to_date: false,
        was_complete: false,
        declared: Instant::now(),
        dumping: None,
        paused_until: Instant::now(),
        dump_again: false,
    };
    follower.read_ports(&netlink).await?;
    follower.dump(&mut watch).await?;
    let mut beat = interval(BEAT);
    let mut dumped = Instant::now();
    loop {
        tokio::select! {
            events = watch.events() => {
                follower.take(&events?, &mut watch, &netlink).await?;
                let moves = follower.mirror.moves();
                counted.send_if_modified(|known| {
                    let differ = known != moves;
                    if differ {
                        known.clone_from(moves);
                    }
                    differ
                });
            }
            _ = beat.tick() => {
                if !follower.stations.is_pinned(pins) {
                    return Ok(true);
                }
                follower.stations.tidy();
                follower.renew(&mut watch).await?;
                if follower.dump_again && follower.dumping.is_none() {
                    follower.dump(&mut watch).await?;
                }
                if follower.up_to_date {
                    disabled.is_gone();
                }
                if dumped.elapsed() >= COMPARE {
                    dumped = Instant::now();
                    follower.dump(&mut watch).await?;
                }
            }
            changed = wanted.changed() => return Ok(changed.is_ok()),
        }
    }
}

/// The mirror, the map that it is written to, and the state of the dump.
struct Follower {
    mirror: Mirror,
    /// The uplinks and the active members of bonds.
    nics: BTreeSet<u32>,
    stations: Stations,
    /// The map equals the FDBs, as far as notifications tell.
    up_to_date: bool,
    /// The map was up to date once.
    was_complete: bool,
    /// When the map was last declared up to date.
    declared: Instant,
    /// When the dump that is under way began.
    dumping: Option<Instant>,
    /// No dump begins before.
    paused_until: Instant,
    /// Another dump must follow: the current one may miss a change, or there is a pause.
    dump_again: bool,
}

impl Follower {
    /// Applies events. Only the last event of each station is written.
    async fn take(
        &mut self,
        events: &[FdbEvent],
        watch: &mut FdbWatch,
        netlink: &Netlink,
    ) -> Result<()> {
        let mut writes = BTreeMap::new();
        let (mut links, mut dump) = (BTreeSet::new(), false);
        for event in events {
            let write = match *event {
                FdbEvent::Known { station, ifindex, local } => {
                    self.mirror.known(station, ifindex, local)
                }
                FdbEvent::Gone(station) => self.mirror.gone(station),
                FdbEvent::Link(index) => {
                    links.insert(index);
                    None
                }
                FdbEvent::Dumped { interrupted } => {
                    let took = self.dumping.take().map_or(Duration::ZERO, |it| it.elapsed());
                    self.paused_until = Instant::now() + pause(took);
                    dump |= interrupted || std::mem::take(&mut self.dump_again);
                    if !dump {
                        writes.extend(self.mirror.end().into_iter().map(by_station));
                        (self.up_to_date, self.was_complete) = (true, true);
                        self.declared = Instant::now();
                    }
                    None
                }
                FdbEvent::Lost => {
                    debug!("FDB notifications were lost: dumping the FDBs again");
                    self.up_to_date = false;
                    self.stations.doubt()?;
                    dump = true;
                    None
                }
            };
            writes.extend(write.into_iter().chain(self.mirror.displaced()).map(by_station));
        }
        for write in writes.into_values() {
            self.write(write);
        }
        dump |= if links.len() > SINGLE {
            self.read_ports(netlink).await?
        } else {
            self.read_some(&links, netlink).await?
        };
        if dump {
            self.dump(watch).await?;
        }
        self.renew(watch).await
    }

    /// Reads the bridge ports and the active members of bonds. Returns whether a new dump is
    /// needed.
    async fn read_ports(&mut self, netlink: &Netlink) -> Result<bool> {
        let ports = netlink.plain_ports().await.context("list bridge ports")?;
        let (writes, dump) = self.mirror.set_ports(ports);
        for write in writes {
            self.write(write);
        }
        self.read_nics(netlink).await?;
        Ok(dump)
    }

    /// [`read_ports`](Self::read_ports) for links that have changed.
    async fn read_some(&mut self, links: &BTreeSet<u32>, netlink: &Netlink) -> Result<bool> {
        let (mut dump, mut of_uplink) = (false, false);
        for index in links {
            let read = netlink.plain_port(*index).await;
            let (controller, bridge) = read.context("read a bridge port")?;
            let (writes, is_new) = self.mirror.set_port(*index, bridge);
            for write in writes {
                self.write(write);
            }
            dump |= is_new;
            let uplinks = self.mirror.uplinks();
            of_uplink |= self.nics.contains(index)
                || uplinks.contains(index)
                || controller.is_some_and(|bond| uplinks.contains(&bond));
        }
        if of_uplink {
            self.read_nics(netlink).await?;
        }
        Ok(dump)
    }

    /// Reads the active members of bonds: XDP forwards from these NICs.
    async fn read_nics(&mut self, netlink: &Netlink) -> Result<()> {
        let mut nics = BTreeSet::new();
        for uplink in self.mirror.uplinks() {
            let members = netlink.active_members(*uplink).await.context("list a bond's members")?;
            nics.extend(members.into_iter().chain([*uplink]));
        }
        self.stations.set_nics(&nics)?;
        self.nics = nics;
        Ok(())
    }

    /// Declares the map up to date, or, until a dump has ended, that it lacks changes. After a
    /// longer interruption (the process was stopped, or had no CPU) the map may be outdated: then a
    /// dump is started instead.
    async fn renew(&mut self, watch: &mut FdbWatch) -> Result<()> {
        if self.up_to_date && self.declared.elapsed() >= Duration::from_nanos(FRESH_FOR) {
            self.up_to_date = false;
            return self.dump(watch).await;
        }
        if self.up_to_date {
            self.declared = Instant::now();
            self.stations.trust()?;
        } else if self.was_complete {
            self.stations.doubt()?;
        }
        Ok(())
    }

    async fn dump(&mut self, watch: &mut FdbWatch) -> Result<()> {
        // The kernel runs one dump per socket.
        if self.dumping.is_some() || Instant::now() < self.paused_until {
            self.dump_again = true;
            return Ok(());
        }
        self.dump_again = false;
        let moved = self.stations.entries().into_iter().filter(|entry| entry.moved != 0);
        self.mirror.begin(moved.map(|entry| entry.station()));
        self.dumping = Some(Instant::now());
        watch.dump(None).await
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Set(station, ifindex) => self.stations.set(&station, ifindex),
            Write::Remove(station) => self.stations.remove(&station),
        }
    }
}

/// How long no dump follows one that took so long. A flood of addresses makes dumps long, and
/// notifications get lost, which needs another dump: the agent would do nothing else.
fn pause(took: Duration) -> Duration {
    if took > SHORT { took * PAUSE } else { Duration::ZERO }
}

fn by_station(write: Write) -> (Station, Write) {
    match write {
        Write::Set(station, _) | Write::Remove(station) => (station, write),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_take_a_tenth_of_the_time_at_most() {
        for (took, expected) in [(0, 0), (250, 0), (251, 2259), (10_000, 90_000)] {
            let [took, expected] = [took, expected].map(Duration::from_millis);
            assert_eq!(pause(took), expected, "{took:?}");
        }
    }
}
