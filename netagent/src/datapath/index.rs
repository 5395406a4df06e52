//! The port index: the policy record of each device.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result};
use aya::maps::IterableMap as _;
use netagent_common::{PORT_INDEX_SIZE, policy::PortRef};

use super::{batch, maps::Maps, memory::Memory};

/// The interface indexes of each record.
pub fn read(maps: &Maps) -> Result<BTreeMap<u32, BTreeSet<u32>>> {
    let mut devices: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for PortRef { ifindex, record } in elements(maps).context("read the port index")? {
        devices.entry(record).or_default().insert(ifindex);
    }
    batch::each(&maps.spill, usize::MAX, |ifindex, record| {
        // An element takes precedence over a spilled entry.
        if !devices.values().any(|of_record| of_record.contains(&ifindex)) {
            devices.entry(record).or_default().insert(ifindex);
        }
    })?;
    Ok(devices)
}

/// The elements in use: few of very many, so that the map is read in memory.
fn elements(maps: &Maps) -> io::Result<Vec<PortRef>> {
    let elements = Memory::<AtomicU64>::of(maps.index.map())?;
    let element = |word: &AtomicU64| PortRef::from_word(word.load(Ordering::Relaxed));
    Ok(elements.iter().map(element).filter(|element| element.ifindex != 0).collect())
}

/// Sets the policy record of a device, by one store.
pub fn point(maps: &mut Maps, ifindex: u32, record: u32) -> Result<()> {
    let element = ifindex % PORT_INDEX_SIZE;
    let there = maps.index.get(&element, 0).context("read the port index")?;
    if there.ifindex == 0 || there.ifindex == ifindex {
        let port_ref = PortRef { ifindex, record };
        maps.index.set(element, &port_ref, 0).context("write the port index")?;
        // Remove the spilled entry from the time when another device had the element.
        unspill(maps, ifindex)
    } else {
        maps.spill.insert(&ifindex, &record, 0).context("write the spilled port index")
    }
}

/// Removes a device of a port. If the device leads to another port now (the NIC has moved there, or
/// its index was reused), it stays.
pub fn unpoint(maps: &mut Maps, ifindex: u32, port: u32) -> Result<()> {
    let element = ifindex % PORT_INDEX_SIZE;
    let there = maps.index.get(&element, 0).context("read the port index")?;
    if there.ifindex == ifindex && there.record / 2 == port {
        maps.index.set(element, &PortRef::default(), 0).context("write the port index")?;
    }
    if maps.spill.get(&ifindex, 0).is_ok_and(|record| record / 2 != port) {
        return Ok(());
    }
    unspill(maps, ifindex)
}

fn unspill(maps: &mut Maps, ifindex: u32) -> Result<()> {
    match maps.spill.remove(&ifindex) {
        Err(aya::maps::MapError::SyscallError(error))
            if error.io_error.kind() != io::ErrorKind::NotFound =>
        {
            Err(error).context("write the spilled port index")
        }
        _ => Ok(()),
    }
}
