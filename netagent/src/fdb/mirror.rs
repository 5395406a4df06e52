//! A pure copy of the bridges' FDBs. It decides which stations are written to the programs' map.
//! Its size is bounded for any traffic, and what is full is shared: see [`places`].

mod places;

use std::collections::{BTreeMap, BTreeSet};

use netagent_common::{STATIONS_PER_PORT, forward::Station};

use self::places::Places;
use crate::names::Mac;

/// The bridges whose ports have a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridges {
    /// MAC addresses of the bridges by interface index. A frame to one of them is for the node.
    pub macs: BTreeMap<u32, Mac>,
    /// Interface indexes of the uplinks. The number of stations behind an uplink is not limited.
    pub uplinks: BTreeSet<u32>,
}

/// A change of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// The station is behind the port with this interface index.
    Set(Station, u32),
    /// The programs may not forward to the station.
    Remove(Station),
}

/// How often stations have moved to a port from another port of its bridge, by the interface index
/// of the port, since it forwards.
pub type Moves = BTreeMap<u32, u64>;

struct Known {
    ifindex: u32,
    /// The programs have seen it elsewhere: the next entry is written even if it is unchanged.
    rewrite: bool,
    /// Number of the last dump that contained the station.
    dump: u64,
}

/// The copy of the FDBs.
pub struct Mirror {
    bridges: Bridges,
    /// Ports that the programs may send to, with their bridge.
    ports: BTreeMap<u32, u32>,
    stations: BTreeMap<Station, Known>,
    places: Places,
    /// Stations that have lost their place to others.
    displaced: Vec<Station>,
    moves: Moves,
    dump: u64,
}

impl Mirror {
    /// A copy that starts from the stations that an earlier agent left in the map, and from the
    /// moves that were counted.
    pub fn new(
        bridges: Bridges,
        found: impl IntoIterator<Item = (Station, u32)>,
        moves: Moves,
    ) -> Self {
        let mut mirror = Self {
            bridges,
            ports: BTreeMap::new(),
            stations: BTreeMap::new(),
            places: Places::default(),
            displaced: Vec::new(),
            moves,
            dump: 0,
        };
        for (station, ifindex) in found {
            mirror.insert(station, ifindex);
        }
        mirror
    }

    /// Interface indexes of the uplinks.
    pub fn uplinks(&self) -> &BTreeSet<u32> {
        &self.bridges.uplinks
    }

    /// The moves.
    pub const fn moves(&self) -> &Moves {
        &self.moves
    }

    /// Sets the ports that forward and learn unconditionally, with their bridge. Returns the
    /// writes, and whether a new dump is needed: the copy lacks the stations that a new port has
    /// learned.
    pub fn set_ports(&mut self, ports: BTreeMap<u32, u32>) -> (Vec<Write>, bool) {
        let lost = |ifindex: &u32, bridge: u32| {
            ports.get(ifindex) != Some(&bridge) && !self.bridges.macs.contains_key(ifindex)
        };
        let gone: Vec<_> = self
            .stations
            .iter()
            .filter(|(station, known)| lost(&known.ifindex, station.bridge))
            .map(|(station, _)| *station)
            .collect();
        let new = ports.iter().any(|(port, bridge)| self.ports.get(port) != Some(bridge));
        self.ports = ports;
        // An interface index may be that of another device later.
        self.moves.retain(|port, _| self.ports.contains_key(port));
        (gone.into_iter().filter_map(|station| self.gone(station)).collect(), new)
    }

    /// [`set_ports`](Self::set_ports) for one port; `bridge` is `None` if it is not such a port.
    pub fn set_port(&mut self, port: u32, bridge: Option<u32>) -> (Vec<Write>, bool) {
        let before = self.ports.get(&port).copied();
        if before == bridge {
            return (Vec::new(), false);
        }
        let mut ports = self.ports.clone();
        match bridge {
            Some(bridge) => drop(ports.insert(port, bridge)),
            None => drop(ports.remove(&port)),
        }
        self.set_ports(ports)
    }

    /// A bridge has an FDB entry for a station; `local`: the entry is an address of this node.
    pub fn known(&mut self, station: Station, ifindex: u32, local: bool) -> Option<Write> {
        let mac = self.bridges.macs.get(&station.bridge)?;
        let place = if local {
            // Frames to the node have the bridge's own address as their destination.
            (mac.0 == station.mac).then_some(station.bridge)
        } else {
            (self.ports.get(&ifindex) == Some(&station.bridge)).then_some(ifindex)
        };
        let Some(place) = place else { return self.gone(station) };
        if let Some(known) = self.stations.get_mut(&station) {
            known.dump = self.dump;
            if known.ifindex == place && !known.rewrite {
                return None;
            }
            if known.ifindex != place && !local {
                *self.moves.entry(place).or_default() += 1;
            }
        }
        let was_there = self.remove(station);
        if self.make_room(place) {
            self.insert(station, place);
            return Some(Write::Set(station, place));
        }
        was_there.then_some(Write::Remove(station))
    }

    /// The removal of the stations that have lost their place since the last call.
    pub fn displaced(&mut self) -> impl Iterator<Item = Write> {
        self.displaced.drain(..).map(Write::Remove)
    }

    /// A bridge has removed the FDB entry of a station.
    pub fn gone(&mut self, station: Station) -> Option<Write> {
        self.remove(station).then_some(Write::Remove(station))
    }

    /// A dump begins. The programs have received frames of the `moved` stations by another port:
    /// the dump's entries for them are written even if they are unchanged.
    pub fn begin(&mut self, moved: impl IntoIterator<Item = Station>) {
        for station in moved {
            if let Some(known) = self.stations.get_mut(&station) {
                known.rewrite = true;
            }
        }
        self.dump += 1;
    }

    /// A dump has ended. Removes the stations that it did not contain.
    pub fn end(&mut self) -> Vec<Write> {
        let dump = self.dump;
        let missing = self.stations.iter().filter(|(_, known)| known.dump != dump);
        let missing: Vec<_> = missing.map(|(station, _)| *station).collect();
        missing.into_iter().filter_map(|station| self.gone(station)).collect()
    }

    /// Whether a station behind a port may be in the copy. If the copy is full, one of the port
    /// that has the most stations loses its place.
    fn make_room(&mut self, port: u32) -> bool {
        let unlimited =
            self.bridges.uplinks.contains(&port) || self.bridges.macs.contains_key(&port);
        if !unlimited && self.places.of_port(port) >= STATIONS_PER_PORT as usize {
            return false;
        }
        if !self.places.are_taken() {
            return true;
        }
        let Some(station) = self.places.to_be_shared_with(port) else { return false };
        self.remove(station);
        self.displaced.push(station);
        true
    }

    fn insert(&mut self, station: Station, ifindex: u32) {
        self.places.take(station, ifindex);
        self.stations.insert(station, Known { ifindex, rewrite: false, dump: self.dump });
    }

    fn remove(&mut self, station: Station) -> bool {
        let Some(known) = self.stations.remove(&station) else { return false };
        self.places.leave(station, known.ifindex);
        true
    }
}

#[cfg(test)]
mod tests;
