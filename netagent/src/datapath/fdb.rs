//! The map of stations, as the mirror writes it.

use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap, IterableMap as _, MapData};
use netagent_common::forward::{FRESH_FOR, Fresh, Place, Station, epoch};

use super::{clock::monotonic_time, maps, pins::Pins};

/// The open map.
pub struct Stations {
    fdb: HashMap<MapData, Station, Place>,
    fresh: Array<MapData, Fresh>,
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
        Ok(Some(Self { fdb, fresh: maps::pinned(pins, "FDB_FRESH")?.try_into()? }))
    }

    /// Whether this is the map that is pinned.
    pub fn is_pinned(&self, pins: &Pins) -> bool {
        maps::is_pinned(self.fdb.map(), pins, "FDB")
    }

    /// Everything in it.
    pub fn entries(&self) -> impl Iterator<Item = (Station, Place)> + '_ {
        self.fdb.iter().map_while(Result::ok)
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
