//! Reads the counters: sums over the CPUs.

use std::collections::BTreeMap;

use anyhow::Result;
use netagent_common::{
    MAX_PORTS,
    counters::{Direction, DropStats, RawDropKey, RawDropSlots, Reason, VlanStats},
};

use super::{batch, maps::Maps, table::Table};
use crate::{
    names::IfName,
    state::{Count, Counters, DropKind, Forwarded, PortCounters, Traffic},
};

/// Reads all counters.
pub fn read(maps: &Maps, table: &Table) -> Result<Counters> {
    let mut counters = Counters::default();
    let by_number: BTreeMap<u16, &IfName> =
        table.ports.iter().map(|(device, entry)| (entry.policy.port, device)).collect();
    let by_port = by_number.last_key_value().map_or(0, |(port, _)| usize::from(*port) + 1);
    let mut forwarded = vec![Forwarded::default(); by_port];
    batch::each_per_cpu(&maps.forwarded, by_port, |port: u32, cpus| {
        forwarded[port as usize] = cpus.iter().fold(Forwarded::default(), |sum, cpu| Forwarded {
            tc: sum.tc + cpu.tc,
            xdp: sum.xdp + cpu.xdp,
        });
    })?;
    let pairs = table.ports.values().flat_map(|entry| entry.pairs.values()).max();
    let pairs = pairs.map_or(0, |pair| *pair as usize + 1);
    let mut traffic = vec![Traffic::default(); pairs];
    batch::each_per_cpu(&maps.stats, pairs, |pair: u32, cpus| {
        traffic[pair as usize] = cpus.iter().fold(Traffic::default(), add);
    })?;
    for (device, entry) in &table.ports {
        let vlans = entry.pairs.iter().map(|(vid, pair)| (*vid, traffic[*pair as usize]));
        let port = PortCounters {
            vlans: vlans.collect(),
            drops: BTreeMap::new(),
            forwarded: forwarded[usize::from(entry.policy.port)],
            mac_moves: 0,
        };
        counters.ports.insert(device.clone(), port);
    }
    let Counters { ports, elsewhere, drop_keys, .. } = &mut counters;
    let mut add_drops = |key: RawDropKey, packets: u64, bytes: u64| {
        // Reserved keys and free slots have no packets.
        let Some(reason) = Reason::from_u16(key.reason).filter(|_| packets > 0) else { return };
        let direction = if key.direction == 0 { Direction::Receive } else { Direction::Transmit };
        let vid = (key.vid < 4096).then_some(key.vid);
        let port = by_number.get(&key.port).and_then(|device| ports.get_mut(*device));
        let kinds = match port {
            Some(port) => &mut port.drops,
            None if u32::from(key.port) >= MAX_PORTS => elsewhere,
            None => return,
        };
        let count = kinds.entry(DropKind { direction, reason, vid }).or_default();
        count.packets += packets;
        count.bytes += bytes;
    };
    batch::each_per_cpu(&maps.drops, by_port, |_: u32, cpus: &[RawDropSlots]| {
        for slot in cpus.iter().flatten() {
            add_drops(slot.key, slot.packets, slot.bytes);
        }
    })?;
    batch::each_per_cpu(&maps.more_drops, usize::MAX, |key, cpus: &[DropStats]| {
        *drop_keys += 1;
        for cpu in cpus {
            add_drops(key, cpu.packets, cpu.bytes);
        }
    })?;
    Ok(counters)
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
