//! Lets the bridge and the switches know where stations are. Runs in threads of its own: other work
//! of the agent does not delay it.
//!
//! - This file announces the VM of a silent port when it runs: once, by RARP (RFC 903) as QEMU
//!   does, in each of its VLANs.
//! - `failover` announces all stations behind a bond when its traffic takes other members.
//! - `frames` has the frames, `choice` the stations of a round.

mod choice;
mod failover;
mod frames;
#[cfg(test)]
mod tests;

pub use self::{
    choice::{BondUplink, Interface},
    failover::Failover,
};

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use netagent_common::silence::{ANNOUNCED, Silence};
use tokio::{
    sync::{Notify, watch},
    time::interval,
};
use tracing::{info, warn};

use crate::{
    datapath::{pins::Pins, silence::Silences},
    dhcp::v4::Outlet,
    logging::Lasting,
    names::{IfName, Mac},
    netlink::Netlink,
    worker,
};

/// How often it is looked whether a VM has sent frames of its own.
const BEAT: Duration = Duration::from_millis(250);
/// The VM of a trunk is announced in that many VLANs at most.
const MOST_VLANS: usize = 64;

/// A silent port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentPort {
    /// Number of the port.
    pub number: u16,
    /// The device.
    pub device: IfName,
    /// Its interface index.
    pub ifindex: u32,
    /// Whether the bridge learns per VLAN.
    pub per_vlan: bool,
    /// Interface index of the uplink.
    pub uplink: Option<u32>,
    /// The VLAN of untagged frames, otherwise all VLANs.
    pub vids: Vec<u16>,
    /// The addresses that the VM may use.
    pub macs: BTreeSet<Mac>,
}

/// The way to the thread.
pub struct Announcer {
    ports: watch::Sender<Vec<SilentPort>>,
    told: Arc<Notify>,
}

impl Announcer {
    /// Starts the thread. It ends with this.
    pub fn spawn(pins: &Pins) -> Result<Self> {
        let (ports, receiver) = watch::channel(Vec::new());
        let told = Arc::new(Notify::new());
        let (pins, notified) = (pins.clone(), Arc::clone(&told));
        worker::spawn("announce", async move || run(&pins, receiver, &notified).await)?;
        Ok(Self { ports, told })
    }

    /// The silent ports.
    pub fn follow(&self, ports: Vec<SilentPort>) {
        self.ports.send_if_modified(|known| {
            let differ = *known != ports;
            *known = ports;
            differ
        });
    }

    /// A silence was ended just now.
    pub fn look(&self) {
        self.told.notify_one();
    }
}

async fn run(pins: &Pins, mut wanted: watch::Receiver<Vec<SilentPort>>, told: &Notify) {
    let mut beat = interval(BEAT);
    let mut unread = Lasting::new("silent ports are not looked at");
    loop {
        let mut left = wanted.borrow_and_update().clone();
        while !left.is_empty() {
            tokio::select! {
                _ = beat.tick() => {}
                () = told.notified() => {}
                changed = wanted.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
            }
            match announce(pins, &left).await {
                Ok(done) => {
                    unread.is_gone();
                    left.retain(|port| !done.contains(&port.number));
                }
                Err(error) => unread.is(format!("{error:#}")),
            }
        }
        if left.is_empty() && wanted.changed().await.is_err() {
            return;
        }
    }
}

/// Announces the VMs that run. Returns the numbers of the ports that need no further look.
async fn announce(pins: &Pins, ports: &[SilentPort]) -> Result<BTreeSet<u16>> {
    // Opened again each time: the maps may have been made again.
    let mut silences = Silences::open(pins)?;
    let states = silences.all()?;
    let mut done = BTreeSet::new();
    for port in ports {
        let Some(state) = states.get(&port.number).filter(|state| state.is_over()) else {
            continue;
        };
        if state.told == ANNOUNCED {
            done.insert(port.number);
            continue;
        }
        let macs = addresses(port, *state);
        if macs.is_empty() {
            // The next frame of the VM has it.
            continue;
        }
        done.insert(port.number);
        silences.announced(port.number)?;
        let names: Vec<_> = macs.iter().map(Mac::to_string).collect();
        let names = names.join(", ");
        match tell(port, &macs).await {
            Ok(()) => info!("port {}: its VM runs here: {names}", port.device),
            Err(error) => warn!("port {}: announce {names}: {error:#}", port.device),
        }
    }
    Ok(done)
}

/// The addresses of the VM: that of its frames, and those that it may use.
fn addresses(port: &SilentPort, state: Silence) -> BTreeSet<Mac> {
    let [mac @ .., _, _] = state.mac.to_le_bytes();
    let seen = (state.mac != 0).then_some(Mac(mac));
    let may_use = |mac: &Mac| port.macs.is_empty() || port.macs.contains(mac);
    seen.filter(may_use).into_iter().chain(port.macs.iter().copied()).collect()
}

/// Lets the bridge and the switches know where the VM is.
async fn tell(port: &SilentPort, macs: &BTreeSet<Mac>) -> Result<()> {
    let vids = || port.vids.iter().copied().take(MOST_VLANS);
    let stations = || macs.iter().flat_map(|mac| vids().map(move |vid| (*mac, vid)));
    let netlink = Netlink::open()?;
    for (mac, vid) in stations() {
        let of_bridge = port.per_vlan.then_some(vid);
        netlink.learn(port.ifindex, mac, of_bridge).await.context("bridge fdb replace")?;
    }
    let Some(uplink) = port.uplink else { return Ok(()) };
    let outlet = Outlet::open(uplink).context("open a packet socket (needs CAP_NET_RAW)")?;
    for (mac, vid) in stations() {
        outlet.send(&frames::rarp(mac, Some(vid))).context("send by the uplink")?;
    }
    Ok(())
}
