//! Reading the counters: plain sums over the CPUs.

use std::{borrow::Cow, collections::BTreeMap};

use anyhow::{Context as _, Result};
use netagent_common::{
    MAX_PORTS,
    counters::{Direction, DropStats, Reason, VlanStats},
};
use serde::Serialize;

use super::{maps::Maps, table::Table};
use crate::names::IfName;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Frames.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Traffic of one VLAN at one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// From the VM or the wire.
    pub receive: Count,
    /// To the VM or the wire.
    pub transmit: Count,
}

/// Drops of one kind. `vid` is `None` for VIDs beyond those that are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DropKind {
    /// Direction.
    pub direction: Direction,
    /// Reason.
    pub reason: Reason,
    /// The frame's VID; 0: it had none.
    pub vid: Option<u16>,
}

impl DropKind {
    /// The VLAN in metrics and tables: the VID, "none" of untagged frames, "other" of VIDs that are not kept apart.
    pub fn vlan(&self) -> Cow<'static, str> {
        match self.vid {
            None => "other".into(),
            Some(0) => "none".into(),
            Some(vid) => vid.to_string().into(),
        }
    }
}

/// What one port has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// By VID; 0: link-local frames.
    pub vlans: BTreeMap<u16, Traffic>,
    /// Drops.
    pub drops: BTreeMap<DropKind, Count>,
    /// Frames that it received and that went past the bridge.
    pub forwarded: Forwarded,
}

/// Frames past the bridge, by the way that they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forwarded {
    /// TC redirect.
    pub tc: u64,
    /// XDP redirect.
    pub xdp: u64,
}

/// Everything that was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By device.
    pub ports: BTreeMap<IfName, PortCounters>,
    /// Drops on devices without a policy, or beyond the size of the map.
    pub elsewhere: BTreeMap<DropKind, Count>,
}

/// Reads all counters.
pub fn read(maps: &Maps, table: &Table) -> Result<Counters> {
    let mut counters = Counters::default();
    let mut by_number = BTreeMap::new();
    for (device, entry) in &table.ports {
        by_number.insert(entry.policy.port, device.clone());
        let port = counters.ports.entry(device.clone()).or_default();
        let cpus = maps.forwarded.get(&u32::from(entry.policy.port), 0);
        for cpu in cpus.context("read what was forwarded")?.iter() {
            port.forwarded.tc += cpu.tc;
            port.forwarded.xdp += cpu.xdp;
        }
        for (vid, pair) in &entry.pairs {
            let cpus = maps.stats.get(pair, 0).context("read a counter")?;
            port.vlans.insert(*vid, cpus.iter().fold(Traffic::default(), add));
        }
    }
    for drop in &maps.drops {
        // The iteration is over a map that programs write to: a key may be gone, or come twice.
        let Ok((key, cpus)) = drop else { break };
        let Some(reason) = Reason::from_u16(key.reason) else { continue };
        let direction = if key.direction == 0 { Direction::Receive } else { Direction::Transmit };
        let vid = (key.vid < 4096).then_some(key.vid);
        let kinds = match by_number.get(&key.port) {
            Some(device) => &mut counters.ports.entry(device.clone()).or_default().drops,
            None if u32::from(key.port) >= MAX_PORTS => &mut counters.elsewhere,
            None => continue,
        };
        // The keys that are reserved count nothing until they are needed.
        let count = sum(&cpus);
        if count.packets > 0 {
            kinds.insert(DropKind { direction, reason, vid }, count);
        }
    }
    Ok(counters)
}

fn sum(cpus: &[DropStats]) -> Count {
    cpus.iter().fold(Count::default(), |sum, cpu| Count {
        packets: sum.packets + cpu.packets,
        bytes: sum.bytes + cpu.bytes,
    })
}

fn add(sum: Traffic, cpu: &VlanStats) -> Traffic {
    Traffic {
        receive: Count {
            packets: sum.receive.packets + cpu.rx_packets,
            bytes: sum.receive.bytes + cpu.rx_bytes,
        },
        transmit: Count {
            packets: sum.transmit.packets + cpu.tx_packets,
            bytes: sum.transmit.bytes + cpu.tx_bytes,
        },
    }
}
