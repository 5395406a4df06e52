//! The map of stations as it lies in memory: who writes it, one word at a time, while programs read.

use std::{
    ops::Deref,
    sync::atomic::{AtomicU64, Ordering},
};

use netagent_common::{
    forward::{Entry, Station, WAYS, at, bucket, who},
    mac,
};

use super::memory::halves;

/// An entry's words: who, where, and the programs' marks.
pub type Words = [AtomicU64; 3];
/// Of all entries of a bucket.
pub type Bucket = [Words; WAYS];

/// The buckets of the map.
pub struct Buckets<M> {
    memory: M,
    seed: u64,
    /// Places of entries that are nobody's, whose address a program may still have in mind: it could take what is written there next
    /// for the place of that station.
    left: Vec<(usize, usize)>,
}

impl<M: Deref<Target = [Bucket]>> Buckets<M> {
    /// The buckets, as whoever was before has left them.
    pub fn new(memory: M, seed: u64) -> Self {
        let mut left = Vec::new();
        for (bucket, entries) in memory.iter().enumerate() {
            for (way, entry) in entries.iter().enumerate() {
                if !is_free(entry) && !is_used(entry) {
                    left.push((bucket, way));
                }
            }
        }
        Self { memory, seed, left }
    }

    /// Who is in it.
    pub fn entries(&self) -> Vec<Entry> {
        used(&self.memory).map(read).collect()
    }

    /// Says where a station is, and when its bridge saw it last. Whether there is room; `wait` returns when no program has anything
    /// in mind that it read before.
    pub fn set(&mut self, station: &Station, ifindex: u32, epoch: u32, wait: impl Fn()) -> bool {
        let who = name(station);
        let marks = u64::from(epoch) << 32;
        let place = at(station.bridge, ifindex);
        let number = bucket(who, self.seed) as usize;
        if let Some([_, old, old_marks]) = self.find(station) {
            old.store(place, Ordering::Release);
            // A program that has still read the old place may mark the new one: that costs the way past the bridge, until all is
            // compared.
            old_marks.store(marks, Ordering::Release);
            return true;
        }
        let full = |buckets: &Self| !buckets.memory[number].iter().any(is_free);
        if full(self) && self.left.iter().any(|(bucket, _)| *bucket == number) {
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

    /// Takes a station out; one that is not there is as asked.
    pub fn remove(&mut self, station: &Station) {
        let number = bucket(name(station), self.seed) as usize;
        let mut entries = self.memory[number].iter();
        let Some(way) = entries.position(|entry| read(entry).station() == *station) else { return };
        self.memory[number][way][1].store(0, Ordering::Release);
        self.left.push((number, way));
    }

    /// Frees the entries that are nobody's.
    pub fn clear(&mut self, wait: impl Fn()) {
        if self.left.is_empty() {
            return;
        }
        wait();
        for (bucket, way) in self.left.drain(..) {
            self.memory[bucket][way][0].store(0, Ordering::Release);
        }
    }

    fn find(&self, station: &Station) -> Option<&Words> {
        let entries = &self.memory[bucket(name(station), self.seed) as usize];
        entries.iter().find(|entry| read(entry).station() == *station)
    }
}

/// The entries in use.
pub fn used(memory: &[Bucket]) -> impl Iterator<Item = &Words> {
    memory.iter().flatten().filter(|entry| is_used(entry))
}

fn name(station: &Station) -> u64 {
    who(mac::number(station.mac), station.vid)
}

fn is_free([who, ..]: &Words) -> bool {
    who.load(Ordering::Relaxed) == 0
}

fn is_used([_, place, _]: &Words) -> bool {
    place.load(Ordering::Relaxed) != 0
}

fn read(words: &Words) -> Entry {
    let [who, place, marks] = words.each_ref().map(|word| word.load(Ordering::Acquire));
    let [one, two, three, four, five, six, vid @ ..] = who.to_le_bytes();
    let [[bridge, ifindex], [moved, epoch]] = [place, marks].map(halves);
    let mac = [one, two, three, four, five, six];
    Entry { mac, vid: u16::from_le_bytes(vid), bridge, ifindex, moved, epoch }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

    fn buckets() -> Buckets<Vec<Bucket>> {
        let memory = (0..netagent_common::BUCKETS).map(|_| Bucket::default()).collect();
        Buckets::new(memory, SEED)
    }

    /// Of one vendor, in one VLAN.
    fn station(number: u32) -> Station {
        let [_, high, middle, low] = number.to_be_bytes();
        Station { bridge: 3, vid: 100, mac: [0x52, 0x54, 0, high, middle, low] }
    }

    /// Stations of one bucket.
    fn crowd() -> impl Iterator<Item = Station> {
        let of = |station: &Station| bucket(name(station), SEED);
        (1..).map(station).filter(move |other| of(other) == of(&station(0)))
    }

    #[test]
    fn what_was_set_is_there_until_it_is_removed() {
        let mut buckets = buckets();
        assert!(buckets.set(&station(1), 7, 5, || {}));
        // The same address on another bridge is another station.
        let twin = Station { bridge: 4, ..station(1) };
        assert!(buckets.set(&twin, 9, 5, || {}));
        assert!(buckets.set(&station(1), 8, 6, || {}));
        let mut entries = buckets.entries();
        entries.sort_by_key(Entry::station);
        let found = entries.iter().map(|entry| (entry.station(), entry.ifindex, entry.epoch));
        assert_eq!(found.collect::<Vec<_>>(), [(station(1), 8, 6), (twin, 9, 5)]);
        buckets.remove(&station(1));
        buckets.remove(&station(2));
        assert_eq!(buckets.entries().len(), 1);
        assert!(buckets.find(&station(1)).is_none() && buckets.find(&twin).is_some());
    }

    #[test]
    fn an_entry_is_another_stations_only_after_no_program_knows_it() {
        let mut buckets = buckets();
        let crowd: Vec<_> = crowd().take(WAYS + 1).collect();
        for station in &crowd[..WAYS] {
            assert!(buckets.set(station, 7, 0, || panic!("there is room")));
        }
        let one_more = &crowd[WAYS];
        assert!(!buckets.set(one_more, 7, 0, || panic!("nothing would come of it")));
        assert_eq!(buckets.entries().len(), WAYS);
        buckets.remove(&crowd[0]);
        let waited = Cell::new(0);
        assert!(buckets.set(one_more, 8, 0, || waited.set(waited.get() + 1)));
        assert_eq!(waited.get(), 1);
        assert!(buckets.find(&crowd[0]).is_none() && buckets.find(one_more).is_some());
    }

    #[test]
    fn who_comes_later_frees_what_was_left() {
        let mut buckets = buckets();
        buckets.set(&station(1), 7, 0, || {});
        buckets.set(&station(2), 7, 0, || {});
        buckets.remove(&station(1));
        let mut buckets = Buckets::new(buckets.memory, SEED);
        assert_eq!(buckets.left.len(), 1);
        buckets.clear(|| {});
        let free = buckets.memory.iter().flatten().filter(|entry| is_free(entry)).count();
        assert_eq!(free, netagent_common::BUCKETS as usize * WAYS - 1);
    }

    #[test]
    fn few_of_very_many_find_no_room() {
        let mut buckets = buckets();
        let stations = (0..netagent_common::MAX_STATIONS).map(station);
        let crowded = stations.filter(|station| !buckets.set(station, 7, 0, || {})).count();
        assert!(crowded < netagent_common::MAX_STATIONS as usize / 50, "{crowded} find no room");
    }
}
