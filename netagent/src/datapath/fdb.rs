//! The FDB map of the programs, as [`crate::fdb`] writes it.

mod buckets;

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
};

use anyhow::{Context as _, Result};
use aya::maps::{Array, IterableMap as _, MapData};
use netagent_common::{
    NIC_SLOTS,
    forward::{FRESH_FOR, FdbBucket, FdbEntry, Fresh, Station, epoch},
};

use self::buckets::{AtomicBucket, Buckets};
use super::{
    batch, clock::monotonic_time, grace::wait_for_programs, maps, memory::Memory, pins::Pins,
};

/// The open map, and the maps that belong to it.
pub struct Stations {
    fdb: Array<MapData, FdbBucket>,
    buckets: Buckets<Memory<AtomicBucket>>,
    fresh: Array<MapData, Fresh>,
    seed: u64,
    nics: Array<MapData, u32>,
}

impl Stations {
    /// Opens the pinned maps; `None` if they do not exist yet.
    pub fn open(pins: &Pins) -> Result<Option<Self>> {
        if !maps::are_there(pins) {
            return Ok(None);
        }
        pins.check()?;
        maps::check(pins)?;
        let fdb: Array<MapData, FdbBucket> = maps::pinned(pins, "FDB")?.try_into()?;
        let fresh: Array<MapData, Fresh> = maps::pinned(pins, "FDB_FRESH")?.try_into()?;
        let seed = match fresh.get(&0, 0).context("read the seed of the FDB map")?.seed {
            // A new map. The hasher is used as a source of random bits; the seed is kept in the
            // map.
            0 => RandomState::new().hash_one(0) | 1,
            seed => seed,
        };
        let memory = Memory::of(fdb.map()).context("map the FDB into memory")?;
        let buckets = Buckets::new(memory, seed);
        Ok(Some(Self {
            fdb,
            buckets,
            fresh,
            seed,
            nics: maps::pinned(pins, "XDP_NICS")?.try_into()?,
        }))
    }

    /// Whether the open map is still the pinned one.
    pub fn is_pinned(&self, pins: &Pins) -> bool {
        maps::is_pinned(self.fdb.map(), pins, "FDB")
    }

    /// All entries.
    pub fn entries(&self) -> Vec<FdbEntry> {
        self.buckets.entries()
    }

    /// Writes the port of a station. The bridge has just received a frame from it. A station that
    /// finds its bucket full is left to the bridge.
    pub fn set(&mut self, station: &Station, ifindex: u32) {
        self.buckets.set(station, ifindex, epoch(monotonic_time()), wait_for_programs);
    }

    /// Removes a station, if it is in the map.
    pub fn remove(&mut self, station: &Station) {
        self.buckets.remove(station);
    }

    /// Frees removed entries once no program uses them.
    pub fn tidy(&mut self) {
        self.buckets.clear(wait_for_programs);
    }

    /// Lets XDP forward frames from these NICs only.
    pub fn set_nics(&mut self, nics: &BTreeSet<u32>) -> Result<()> {
        let mut listed = Vec::new();
        batch::each(&self.nics, NIC_SLOTS as usize, |slot, nic: u32| listed.push((slot, nic)))?;
        for (slot, before) in listed {
            let nic = nics.iter().find(|nic| *nic % NIC_SLOTS == slot).copied().unwrap_or(0);
            if nic != before {
                self.nics.set(slot, &nic, 0).context("set the NICs that XDP forwards from")?;
            }
        }
        Ok(())
    }

    /// Declares the map up to date for [`FRESH_FOR`].
    pub fn trust(&mut self) -> Result<()> {
        let until = monotonic_time() + FRESH_FOR;
        let fresh = Fresh { until, seed: self.seed };
        self.fresh.set(0, &fresh, 0).context("declare the FDB map up to date")
    }

    /// Declares the map out of date: the programs leave all frames to the bridge, and no station is
    /// unknown.
    pub fn distrust(&mut self) -> Result<()> {
        self.expire(0)
    }

    /// Declares that the map lacks changes: the programs leave all frames to the bridge. Stations
    /// that it does not have are unknown for another [`FRESH_FOR`].
    pub fn doubt(&mut self) -> Result<()> {
        self.expire(monotonic_time())
    }

    fn expire(&mut self, until: u64) -> Result<()> {
        let fresh = Fresh { until, seed: self.seed };
        self.fresh.set(0, &fresh, 0).context("declare the FDB map out of date")
    }
}

/// Number of stations in the map.
pub fn count(fdb: &MapData) -> Result<usize> {
    let memory: Memory<AtomicBucket> = Memory::of(fdb).context("map the FDB into memory")?;
    Ok(buckets::used(&memory).count())
}
