//! What is announced when the traffic of a bond takes other members: pure decisions.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::MOST_VLANS;
use crate::names::{IfName, Mac};

/// The most frames for stations in one round.
pub const MOST_FRAMES: usize = 4096;

/// A bond that is an uplink, and what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BondUplink {
    /// The bond.
    pub name: IfName,
    /// Its interface index.
    pub ifindex: u32,
    /// The interface index of its bridge.
    pub bridge: u32,
    /// The native VLAN.
    pub native: Option<u16>,
    /// `num_grat_arp`
    pub rounds: u8,
    /// The time from the beginning of one round to that of the next.
    pub interval: Duration,
    /// The VLANs of each port, by interface index. A bridge that does not learn per VLAN cannot
    /// tell in which of them a station is.
    pub vlans: BTreeMap<u32, Vec<u16>>,
    /// The bridge and the interfaces above it.
    pub interfaces: Vec<Interface>,
}

/// An interface of the node itself, on a bridge or above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The interface index.
    pub ifindex: u32,
    /// The MAC address.
    pub mac: Mac,
    /// Whether switches hear of its MAC address though it has no IP address: the interface may be
    /// that of a VM (macvtap).
    pub is_station: bool,
}

/// Whether the traffic of a bond takes none of the members that it took before. Switches that
/// learnt stations at those members send to them still.
///
/// In 802.3ad, balance-xor and balance-rr a switch learns at the link aggregation: one member less
/// or more moves no station.
pub fn is_failover(before: &BTreeSet<u32>, now: &BTreeSet<u32>) -> bool {
    !now.is_empty() && now.is_disjoint(before)
}

/// The stations that a bridge knows behind its ports.
#[derive(Default)]
pub struct Stations {
    by_port: BTreeMap<u32, VecDeque<(Mac, u16)>>,
    /// Stations that there was no room for.
    beyond: usize,
}

impl Stations {
    /// Adds an entry of the FDB; VID 0: the bridge does not learn per VLAN.
    pub fn add(&mut self, uplink: &BondUplink, port: u32, mac: Mac, vid: u16) {
        if port == uplink.ifindex {
            return;
        }
        let vids: Vec<u16> = match vid {
            0 => match uplink.vlans.get(&port) {
                Some(vids) => vids.iter().copied().take(MOST_VLANS).collect(),
                None => uplink.native.into_iter().collect(),
            },
            vid => vec![vid],
        };
        let stations = self.by_port.entry(port).or_default();
        let room = MOST_FRAMES.saturating_sub(stations.len()).min(vids.len());
        self.beyond += vids.len() - room;
        stations.extend(vids[..room].iter().map(|vid| (mac, *vid)));
    }

    /// The stations to announce, with their VLANs, and how many are left out: at most
    /// [`MOST_FRAMES`], one of each port after the other, so that a port with many addresses takes
    /// nothing from others.
    pub fn in_turn(mut self) -> (Vec<(Mac, u16)>, usize) {
        let mut chosen = Vec::new();
        while chosen.len() < MOST_FRAMES && !self.by_port.is_empty() {
            let room = MOST_FRAMES - chosen.len();
            chosen.extend(self.by_port.values_mut().take(room).filter_map(VecDeque::pop_front));
            self.by_port.retain(|_, stations| !stations.is_empty());
        }
        let left: usize = self.by_port.values().map(VecDeque::len).sum();
        (chosen, self.beyond + left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPLINK: u32 = 2;

    fn uplink() -> BondUplink {
        BondUplink {
            name: "oob-bo".parse().unwrap(),
            ifindex: UPLINK,
            bridge: 3,
            native: Some(1),
            rounds: 1,
            interval: Duration::from_millis(100),
            vlans: BTreeMap::from([(UPLINK, vec![1]), (6, vec![100]), (7, (1..=80).collect())]),
            interfaces: vec![],
        }
    }

    fn mac(number: usize) -> Mac {
        let [.., a, b, c] = number.to_be_bytes();
        Mac([2, 0, 0, a, b, c])
    }

    #[test]
    fn traffic_that_takes_other_members_is_a_failover() {
        let of = |before: &[u32], now: &[u32]| {
            is_failover(&before.iter().copied().collect(), &now.iter().copied().collect())
        };
        assert!(of(&[4], &[5]), "active-backup");
        assert!(of(&[], &[4]), "the last member is back");
        assert!(of(&[4, 5], &[6, 7]), "another aggregator");
        assert!(!of(&[4], &[]), "nothing can be sent");
        assert!(!of(&[4], &[4]));
        assert!(!of(&[4, 5], &[5]), "the switch has one link aggregation of both");
        assert!(!of(&[5], &[4, 5]));
        assert!(!of(&[4, 5], &[5, 6]));
    }

    #[test]
    fn stations_are_announced_in_the_vlan_where_the_bridge_knows_them() {
        let mut stations = Stations::default();
        stations.add(&uplink(), 6, mac(1), 100);
        stations.add(&uplink(), 7, mac(1), 200);
        stations.add(&uplink(), UPLINK, mac(2), 100);
        assert_eq!(stations.in_turn(), (vec![(mac(1), 100), (mac(1), 200)], 0));
    }

    #[test]
    fn bridge_that_does_not_learn_per_vlan_leaves_the_vlans_of_the_port() {
        let mut stations = Stations::default();
        stations.add(&uplink(), 6, mac(1), 0);
        stations.add(&uplink(), 8, mac(3), 0);
        assert_eq!(stations.in_turn(), (vec![(mac(1), 100), (mac(3), 1)], 0));
        let mut stations = Stations::default();
        stations.add(&uplink(), 7, mac(2), 0);
        let (chosen, _) = stations.in_turn();
        let expected: Vec<_> = (1..=64).map(|vid| (mac(2), vid)).collect();
        assert_eq!(chosen, expected, "a trunk's first 64");
    }

    #[test]
    fn a_port_with_many_stations_takes_nothing_from_others() {
        let mut stations = Stations::default();
        (0..MOST_FRAMES + 900).for_each(|number| stations.add(&uplink(), 6, mac(number), 100));
        (0..3).for_each(|number| stations.add(&uplink(), 7, mac(10_000 + number), 7));
        let (chosen, left) = stations.in_turn();
        assert_eq!((chosen.len(), left), (MOST_FRAMES, 903));
        let quiet = chosen.iter().filter(|(_, vid)| *vid == 7).count();
        assert_eq!((quiet, chosen[5].1), (3, 7), "the others are among the first");
    }

    #[test]
    fn a_thousand_stations_are_announced_in_one_round() {
        let mut stations = Stations::default();
        (0..1000).for_each(|number| stations.add(&uplink(), 6, mac(number), 100));
        let (chosen, left) = stations.in_turn();
        assert_eq!((chosen.len(), left), (1000, 0));
    }
}
