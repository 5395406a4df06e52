//! The buckets of the FDB map in memory. Programs read them while the agent writes: each word is
//! written by one atomic store.

use std::{
    ops::Deref,
    sync::atomic::{AtomicU64, Ordering},
};

use netagent_common::{
    forward::{FdbEntry, Station, WAYS, at, bucket, who},
    mac,
};

use super::super::memory::halves;

/// The words of an [`FdbEntry`]: station, place, and the programs' marks.
pub type AtomicEntry = [AtomicU64; 3];
/// The entries of a bucket.
pub type AtomicBucket = [AtomicEntry; WAYS];

/// The buckets of the map.
pub struct Buckets<M> {
    memory: M,
    seed: u64,
    /// Removed entries, as (bucket, way), that a program may still be reading. If another station
    /// were written there, the program could take its place for the place of the removed station.
    tombstones: Vec<(usize, usize)>,
}

impl<M: Deref<Target = [AtomicBucket]>> Buckets<M> {
    /// The buckets in the state in which an earlier agent left them. A build may have another hash
    /// than the one before: what is in the wrong bucket goes.
    pub fn new(memory: M, seed: u64) -> Self {
        let mut tombstones = Vec::new();
        for (number, entries) in memory.iter().enumerate() {
            for (way, entry) in entries.iter().enumerate() {
                let [who, place, _] = entry;
                if bucket(who.load(Ordering::Relaxed), seed) as usize != number {
                    place.store(0, Ordering::Release);
                }
                if !is_free(entry) && !is_used(entry) {
                    tombstones.push((number, way));
                }
            }
        }
        Self { memory, seed, tombstones }
    }

    /// All entries.
    pub fn entries(&self) -> Vec<FdbEntry> {
        used(&self.memory).map(read).collect()
    }

    /// Writes the place of a station and the epoch in which its bridge last received a frame from
    /// it. Returns false if the bucket is full. `wait` returns when all programs that run now have
    /// ended.
    pub fn set(&mut self, station: &Station, ifindex: u32, epoch: u32, wait: impl Fn()) -> bool {
        let who = name(station);
        let marks = u64::from(epoch) << 32;
        let place = at(station.bridge, ifindex);
        let number = bucket(who, self.seed) as usize;
        if let Some([_, old, old_marks]) = self.find(station) {
            old.store(place, Ordering::Release);
            // A program that has read the old place may mark the entry as moved: then the bridge
            // forwards the frames of this station until the next dump.
            old_marks.store(marks, Ordering::Release);
            return true;
        }
        let full = |buckets: &Self| !buckets.memory[number].iter().any(is_free);
        if full(self) && self.tombstones.iter().any(|(bucket, _)| *bucket == number) {
            self.clear(wait);
        }
        let Some([new, new_place, new_marks]) =
            self.memory[number].iter().find(|entry| is_free(entry))
        else {
            return false;
        };
        new_marks.store(marks, Ordering::Relaxed);
        new_place.store(place, Ordering::Relaxed);
        new.store(who, Ordering::Release);
        true
    }

    /// Removes a station, if it has an entry.
    pub fn remove(&mut self, station: &Station) {
        let number = bucket(name(station), self.seed) as usize;
        let mut entries = self.memory[number].iter();
        let Some(way) = entries.position(|entry| read(entry).station() == *station) else { return };
        self.memory[number][way][1].store(0, Ordering::Release);
        self.tombstones.push((number, way));
    }

    /// Frees the removed entries.
    pub fn clear(&mut self, wait: impl Fn()) {
        if self.tombstones.is_empty() {
            return;
        }
        wait();
        for (bucket, way) in self.tombstones.drain(..) {
            self.memory[bucket][way][0].store(0, Ordering::Release);
        }
    }

    fn find(&self, station: &Station) -> Option<&AtomicEntry> {
        let entries = &self.memory[bucket(name(station), self.seed) as usize];
        entries.iter().find(|entry| read(entry).station() == *station)
    }
}

/// The entries in use.
pub fn used(memory: &[AtomicBucket]) -> impl Iterator<Item = &AtomicEntry> {
    memory.iter().flatten().filter(|entry| is_used(entry))
}

fn name(station: &Station) -> u64 {
    who(mac::number(station.mac), station.vid)
}

fn is_free([who, ..]: &AtomicEntry) -> bool {
    who.load(Ordering::Relaxed) == 0
}

fn is_used([_, place, _]: &AtomicEntry) -> bool {
    place.load(Ordering::Relaxed) != 0
}

fn read(words: &AtomicEntry) -> FdbEntry {
    let [who, place, marks] = words.each_ref().map(|word| word.load(Ordering::Acquire));
    let [one, two, three, four, five, six, vid @ ..] = who.to_le_bytes();
    let [[bridge, ifindex], [moved, epoch]] = [place, marks].map(halves);
    let mac = [one, two, three, four, five, six];
    FdbEntry { mac, vid: u16::from_le_bytes(vid), bridge, ifindex, moved, epoch }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

    fn buckets() -> Buckets<Vec<AtomicBucket>> {
        let memory = (0..netagent_common::BUCKETS).map(|_| AtomicBucket::default()).collect();
        Buckets::new(memory, SEED)
    }

    /// Stations with the addresses of one vendor, in one VLAN.
    fn station(number: u32) -> Station {
        let [_, high, middle, low] = number.to_be_bytes();
        Station { bridge: 3, vid: 100, mac: [0x52, 0x54, 0, high, middle, low] }
    }

    /// Stations that share a bucket.
    fn crowd() -> impl Iterator<Item = Station> {
        let of = |station: &Station| bucket(name(station), SEED);
        (1..).map(station).filter(move |other| of(other) == of(&station(0)))
    }

    #[test]
    fn a_station_stays_until_it_is_removed() {
        let mut buckets = buckets();
        assert!(buckets.set(&station(1), 7, 5, || {}));
        // The same address on another bridge is another station.
        let twin = Station { bridge: 4, ..station(1) };
        assert!(buckets.set(&twin, 9, 5, || {}));
        assert!(buckets.set(&station(1), 8, 6, || {}));
        let mut entries = buckets.entries();
        entries.sort_by_key(FdbEntry::station);
        let found = entries.iter().map(|entry| (entry.station(), entry.ifindex, entry.epoch));
        assert_eq!(found.collect::<Vec<_>>(), [(station(1), 8, 6), (twin, 9, 5)]);
        buckets.remove(&station(1));
        buckets.remove(&station(2));
        assert_eq!(buckets.entries().len(), 1);
        assert!(buckets.find(&station(1)).is_none() && buckets.find(&twin).is_some());
    }

    #[test]
    fn an_entry_is_reused_only_after_a_grace_period() {
        let mut buckets = buckets();
        let crowd: Vec<_> = crowd().take(WAYS + 1).collect();
        for station in &crowd[..WAYS] {
            assert!(buckets.set(station, 7, 0, || panic!("there is room")));
        }
        let one_more = &crowd[WAYS];
        assert!(!buckets.set(one_more, 7, 0, || panic!("there is no tombstone")));
        assert_eq!(buckets.entries().len(), WAYS);
        buckets.remove(&crowd[0]);
        let waited = Cell::new(0);
        assert!(buckets.set(one_more, 8, 0, || waited.set(waited.get() + 1)));
        assert_eq!(waited.get(), 1);
        assert!(buckets.find(&crowd[0]).is_none() && buckets.find(one_more).is_some());
    }

    #[test]
    fn reopen_reclaims_tombstones() {
        let mut buckets = buckets();
        buckets.set(&station(1), 7, 0, || {});
        buckets.set(&station(2), 7, 0, || {});
        buckets.remove(&station(1));
        let mut buckets = Buckets::new(buckets.memory, SEED);
        assert_eq!(buckets.tombstones.len(), 1);
        buckets.clear(|| {});
        let free = buckets.memory.iter().flatten().filter(|entry| is_free(entry)).count();
        assert_eq!(free, netagent_common::BUCKETS as usize * WAYS - 1);
    }

    #[test]
    fn reopen_removes_what_is_in_another_bucket_than_its_own() {
        let mut buckets = buckets();
        buckets.set(&station(1), 7, 0, || {});
        let buckets = Buckets::new(buckets.memory, SEED + 2);
        assert_eq!((buckets.entries().len(), buckets.tombstones.len()), (0, 1));
        let buckets = Buckets::new(buckets.memory, SEED);
        assert_eq!((buckets.entries().len(), buckets.tombstones.len()), (0, 1));
    }

    #[test]
    fn few_stations_of_a_full_map_find_their_bucket_full() {
        let mut buckets = buckets();
        let stations = (0..netagent_common::MAX_STATIONS).map(station);
        let crowded = stations.filter(|station| !buckets.set(station, 7, 0, || {})).count();
        assert!(crowded < netagent_common::MAX_STATIONS as usize / 50, "{crowded} stations");
    }
}
