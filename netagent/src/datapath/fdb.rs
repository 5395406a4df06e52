//! The map of stations, as the mirror writes it.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
};

use anyhow::{Context as _, Result};
use aya::maps::{Array, IterableMap as _, MapData};
use netagent_common::{
    BUCKETS, NIC_SLOTS,
    forward::{Bucket, Entry, FRESH_FOR, Fresh, Station, epoch},
};

use super::{
    batch,
    clock::monotonic_time,
    grace::wait_for_programs,
    maps,
    memory::Memory,
    pins::Pins,
    stations::{self, Buckets},
};

/// The open map.
pub struct Stations {
    fdb: Array<MapData, Bucket>,
    buckets: Buckets<Memory<stations::Bucket>>,
    fresh: Array<MapData, Fresh>,
    seed: u64,
    nics: Array<MapData, u32>,
}

impl Stations {
    /// Opens what is pinned; `None` where nothing is attached yet.
    pub fn open(pins: &Pins) -> Result<Option<Self>> {
        if !maps::are_there(pins) {
            return Ok(None);
        }
        pins.check()?;
        maps::check(pins)?;
        let fdb: Array<MapData, Bucket> = maps::pinned(pins, "FDB")?.try_into()?;
        let fresh: Array<MapData, Fresh> = maps::pinned(pins, "FDB_FRESH")?.try_into()?;
        let seed = match fresh.get(&0, 0).context("read the seed of the stations")?.seed {
            // Nobody was here before, and nothing is in the map.
            0 => RandomState::new().hash_one(0) | 1,
            seed => seed,
        };
        let memory = Memory::of(fdb.map(), BUCKETS).context("map the stations into memory")?;
        let buckets = Buckets::new(memory, seed);
        Ok(Some(Self {
            fdb,
            buckets,
            fresh,
            seed,
            nics: maps::pinned(pins, "XDP_NICS")?.try_into()?,
        }))
    }

    /// Whether this is the map that is pinned.
    pub fn is_pinned(&self, pins: &Pins) -> bool {
        maps::is_pinned(self.fdb.map(), pins, "FDB")
    }

    /// Everything in it.
    pub fn entries(&self) -> Vec<Entry> {
        self.buckets.entries()
    }

    /// Says where a station is. The bridge has just seen it. Of those that find no room, frames go by the bridge.
    pub fn set(&mut self, station: &Station, ifindex: u32) {
        self.buckets.set(station, ifindex, epoch(monotonic_time()), wait_for_programs);
    }

    /// Takes a station out; one that is not there is as asked.
    pub fn remove(&mut self, station: &Station) {
        self.buckets.remove(station);
    }

    /// Frees the room of those that were taken out, once no program has them in mind.
    pub fn tidy(&mut self) {
        self.buckets.clear(wait_for_programs);
    }

    /// Lets XDP forward what these NICs receive, and no others.
    pub fn set_nics(&mut self, nics: &BTreeSet<u32>) -> Result<()> {
        let mut listed = Vec::new();
        batch::each(&self.nics, NIC_SLOTS as usize, |slot, nic: u32| listed.push((slot, nic)))?;
        for (slot, before) in listed {
            let nic = nics.iter().find(|nic| *nic % NIC_SLOTS == slot).copied().unwrap_or(0);
            if nic != before {
                self.nics.set(slot, &nic, 0).context("list the NICs that XDP forwards from")?;
            }
        }
        Ok(())
    }

    /// Lets the programs go by what is in the map, for a second.
    pub fn trust(&mut self) -> Result<()> {
        let until = monotonic_time() + FRESH_FOR;
        let fresh = Fresh { until, seed: self.seed };
        self.fresh.set(0, &fresh, 0).context("say that the stations are up to date")
    }

    /// Keeps the programs from going by what is in the map.
    pub fn distrust(&mut self) -> Result<()> {
        let fresh = Fresh { until: 0, seed: self.seed };
        self.fresh.set(0, &fresh, 0).context("say that the stations are out of date")
    }
}
