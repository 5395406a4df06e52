//! The places of the copy, by port. While there are free places, each port has as many as it wants.
//! Then a port gets one from the port that has the most, until both have as many: addresses that
//! one VM or the wire makes up take places from stations of their own port only.

use std::collections::{BTreeMap, BTreeSet};

use netagent_common::{MAX_STATIONS, forward::Station};

/// The places.
#[derive(Default)]
pub struct Places {
    taken: usize,
    /// The stations behind each port that has some, by interface index.
    stations: BTreeMap<u32, BTreeSet<Station>>,
    /// The ports that have some, with their number, so that the largest is found without a search.
    sizes: BTreeSet<(usize, u32)>,
}

impl Places {
    /// Whether there is no free place.
    pub const fn are_taken(&self) -> bool {
        self.taken >= MAX_STATIONS as usize
    }

    /// How many stations behind a port have a place.
    pub fn of_port(&self, port: u32) -> usize {
        self.stations.get(&port).map_or(0, BTreeSet::len)
    }

    /// A station that should give its place to one behind this port, which has fewer.
    pub fn to_be_shared_with(&self, port: u32) -> Option<Station> {
        let (most, largest) = self.sizes.last()?;
        // With equal shares, each would displace the other for ever.
        let has_more = *most > self.of_port(port) + 1;
        has_more.then(|| self.stations.get(largest)?.last().copied())?
    }

    /// A station takes a place.
    pub fn take(&mut self, station: Station, port: u32) {
        self.change(port, |stations| stations.insert(station));
    }

    /// A station leaves its place.
    pub fn leave(&mut self, station: Station, port: u32) {
        self.change(port, |stations| stations.remove(&station));
    }

    fn change(&mut self, port: u32, change: impl FnOnce(&mut BTreeSet<Station>) -> bool) {
        let stations = self.stations.entry(port).or_default();
        let before = stations.len();
        change(stations);
        let after = stations.len();
        self.sizes.remove(&(before, port));
        if after == 0 {
            self.stations.remove(&port);
        } else {
            self.sizes.insert((after, port));
        }
        self.taken = self.taken + after - before;
    }
}
