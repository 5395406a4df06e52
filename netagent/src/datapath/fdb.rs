//! The map of stations, as the mirror writes it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap, IterableMap as _, MapData};
use netagent_common::{
    NIC_SLOTS,
    forward::{FRESH_FOR, Fresh, Place, Station, epoch},
};

use super::{batch, clock::monotonic_time, maps, pins::Pins};

/// The open map.
pub struct Stations {
    fdb: HashMap<MapData, Station, Place>,
    fresh: Array<MapData, Fresh>,
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
        let fdb = maps::pinned(pins, "FDB")?.try_into()?;
        let fresh = maps::pinned(pins, "FDB_FRESH")?.try_into()?;
        Ok(Some(Self { fdb, fresh, nics: maps::pinned(pins, "XDP_NICS")?.try_into()? }))
    }

    /// Whether this is the map that is pinned.
    pub fn is_pinned(&self, pins: &Pins) -> bool {
        maps::is_pinned(self.fdb.map(), pins, "FDB")
    }

    /// Everything in it.
    pub fn entries(&self) -> Result<Vec<(Station, Place)>> {
        let mut entries = Vec::new();
        batch::each(&self.fdb, usize::MAX, |station, place| entries.push((station, place)))?;
        Ok(entries)
    }

    /// Says where a station is. The bridge has just seen it.
    pub fn set(&mut self, station: &Station, ifindex: u32) -> Result<()> {
        let place = Place { ifindex, moved: 0, epoch: epoch(monotonic_time()) };
        self.fdb.insert(station, &place, 0).context("write a station")
    }

    /// Takes a station out; one that is not there is as asked.
    pub fn remove(&mut self, station: &Station) {
        let _gone = self.fdb.remove(station);
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

    /// Lets the programs go by what is in the map, for a few seconds.
    pub fn trust(&mut self) -> Result<()> {
        let until = monotonic_time() + FRESH_FOR;
        self.fresh.set(0, &Fresh { until }, 0).context("say that the stations are up to date")
    }

    /// Keeps the programs from going by what is in the map.
    pub fn distrust(&mut self) -> Result<()> {
        self.fresh.set(0, &Fresh::default(), 0).context("say that the stations are out of date")
    }
}
