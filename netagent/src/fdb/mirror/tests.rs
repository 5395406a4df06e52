use netagent_common::MAX_STATIONS;

use super::*;

const BRIDGE: u32 = 10;
const UPLINK: u32 = 11;
const VM: u32 = 12;
const OTHER: u32 = 13;

fn station(number: u32) -> Station {
    let [a, b, c, d] = number.to_be_bytes();
    Station { bridge: BRIDGE, vid: 100, mac: [2, 0, a, b, c, d] }
}

fn mirror() -> Mirror {
    let bridges = Bridges {
        macs: BTreeMap::from([(BRIDGE, Mac([2; 6]))]),
        uplinks: BTreeSet::from([UPLINK]),
    };
    let mut mirror = Mirror::new(bridges, [], Moves::new());
    let (writes, ask) = mirror.set_ports(ports(&[UPLINK, VM, OTHER]));
    assert!(writes.is_empty() && ask);
    mirror
}

fn ports(ports: &[u32]) -> BTreeMap<u32, u32> {
    ports.iter().map(|port| (*port, BRIDGE)).collect()
}

#[test]
fn only_changes_are_written() {
    let mut mirror = mirror();
    assert_eq!(mirror.known(station(1), VM, false), Some(Write::Set(station(1), VM)));
    assert_eq!(mirror.known(station(1), VM, false), None);
    assert_eq!(mirror.known(station(1), UPLINK, false), Some(Write::Set(station(1), UPLINK)));
    assert_eq!(mirror.gone(station(1)), Some(Write::Remove(station(1))));
    assert_eq!(mirror.gone(station(1)), None);
}

#[test]
fn stations_of_other_bridges_and_ports_are_not_copied() {
    let mut mirror = mirror();
    assert_eq!(mirror.known(Station { bridge: 99, ..station(1) }, VM, false), None);
    assert_eq!(mirror.known(station(1), 99, false), None);
    // A station that moves to such a port is removed.
    mirror.known(station(2), VM, false);
    assert_eq!(mirror.known(station(2), 99, false), Some(Write::Remove(station(2))));
}

#[test]
fn only_the_address_of_the_bridge_is_a_local_station() {
    let mut mirror = mirror();
    let node = Station { mac: [2; 6], ..station(0) };
    // The kernel reports the first port that has this address.
    assert_eq!(mirror.known(node, UPLINK, true), Some(Write::Set(node, BRIDGE)));
    assert_eq!(mirror.known(station(1), VM, true), None);
}

#[test]
fn a_port_that_stops_forwarding_loses_its_stations() {
    let mut mirror = mirror();
    mirror.known(station(1), VM, false);
    mirror.known(station(2), OTHER, false);
    let (writes, ask) = mirror.set_ports(ports(&[UPLINK, OTHER]));
    assert_eq!((writes, ask), (vec![Write::Remove(station(1))], false));
    assert_eq!(mirror.known(station(1), VM, false), None);
    // The port forwards again: a dump gets the stations that it learned meanwhile.
    assert_eq!(mirror.set_ports(ports(&[UPLINK, VM, OTHER])), (vec![], true));
}

#[test]
fn a_single_port_is_set_like_all_of_them() {
    let mut mirror = mirror();
    mirror.known(station(1), VM, false);
    mirror.known(station(2), OTHER, false);
    assert_eq!(mirror.set_port(VM, Some(BRIDGE)), (vec![], false));
    assert_eq!(mirror.set_port(VM, None), (vec![Write::Remove(station(1))], false));
    assert_eq!(mirror.set_port(VM, None), (vec![], false));
    assert_eq!(mirror.set_port(VM, Some(BRIDGE)), (vec![], true));
    // It moves to another bridge.
    assert_eq!(mirror.set_port(OTHER, Some(99)), (vec![Write::Remove(station(2))], true));
}

#[test]
fn a_dump_removes_the_stations_that_it_lacks() {
    let mut mirror = mirror();
    mirror.known(station(1), VM, false);
    mirror.known(station(2), VM, false);
    mirror.known(station(3), VM, false);
    mirror.begin([station(3)]);
    assert_eq!(mirror.known(station(1), VM, false), None);
    // The programs have marked it as moved: an unchanged entry is written again.
    assert_eq!(mirror.known(station(3), VM, false), Some(Write::Set(station(3), VM)));
    assert_eq!(mirror.end(), [Write::Remove(station(2))]);
    // A marked station that the bridge has removed since is removed from the map.
    mirror.begin([station(3)]);
    mirror.known(station(1), VM, false);
    assert_eq!(mirror.end(), [Write::Remove(station(3))]);
}

#[test]
fn stations_left_by_an_earlier_agent_are_compared() {
    let bridges = Bridges { macs: BTreeMap::from([(BRIDGE, Mac([2; 6]))]), ..Bridges::default() };
    let mut mirror =
        Mirror::new(bridges, [(station(1), VM), (station(2), VM), (station(3), 99)], Moves::new());
    assert_eq!(mirror.set_ports(ports(&[VM])).0, [Write::Remove(station(3))]);
    mirror.begin([]);
    assert_eq!(mirror.known(station(1), VM, false), None);
    assert_eq!(mirror.end(), [Write::Remove(station(2))]);
}

#[test]
fn the_stations_of_one_port_are_limited() {
    let mut mirror = mirror();
    for number in 0..STATIONS_PER_PORT {
        assert!(mirror.known(station(number), VM, false).is_some());
    }
    let one_more = station(STATIONS_PER_PORT);
    assert_eq!(mirror.known(one_more, VM, false), None);
    // A station that moves to a full port is removed from its old port.
    mirror.known(station(9999), OTHER, false);
    assert_eq!(mirror.known(station(9999), VM, false), Some(Write::Remove(station(9999))));
    assert!(matches!(mirror.known(one_more, OTHER, false), Some(Write::Set(..))));
    for number in 0..2 * MAX_STATIONS {
        mirror.known(Station { vid: 7, ..station(number) }, UPLINK, false);
    }
    assert_eq!(mirror.stations.len(), MAX_STATIONS as usize);
    // A removed station frees its place.
    mirror.gone(station(0));
    assert!(matches!(mirror.known(station(0), VM, false), Some(Write::Set(..))));
}

/// The wire fills the copy: stations of VMs take places from it, and it does not get them back.
#[test]
fn a_full_copy_is_shared_by_the_ports() {
    let mut mirror = mirror();
    let on_wire = |number| Station { vid: 7, ..station(number) };
    for number in 0..MAX_STATIONS + 100 {
        mirror.known(on_wire(number), UPLINK, false);
    }
    assert_eq!(mirror.displaced().count(), 0, "its own stations");
    for number in 0..STATIONS_PER_PORT + 100 {
        mirror.known(station(number), VM, false);
    }
    let displaced: Vec<_> = mirror.displaced().collect();
    assert_eq!(displaced.len(), STATIONS_PER_PORT as usize);
    assert!(displaced.iter().all(|write| matches!(write, Write::Remove(it) if it.vid == 7)));
    assert_eq!(mirror.displaced().count(), 0);
    assert_eq!(mirror.stations.len(), MAX_STATIONS as usize);
    for number in 0..MAX_STATIONS {
        mirror.known(on_wire(number), UPLINK, false);
    }
    assert_eq!(mirror.displaced().count(), 0, "the wire has the most");
}

#[test]
fn no_port_has_more_places_than_another_that_wants_them() {
    let mut mirror = mirror();
    let ports_of_vms: Vec<u32> = (20..60).collect();
    let all = ports(&ports_of_vms);
    mirror.set_ports(all);
    for port in &ports_of_vms {
        for number in 0..STATIONS_PER_PORT {
            mirror.known(Station { vid: 1, ..station(port << 16 | number) }, *port, false);
        }
    }
    let shares: Vec<_> = ports_of_vms.iter().map(|port| mirror.places.of_port(*port)).collect();
    let share = MAX_STATIONS as usize / ports_of_vms.len();
    assert!(shares.iter().all(|of_port| share.abs_diff(*of_port) < 2), "{shares:?}");
    assert_eq!(shares.iter().sum::<usize>(), mirror.stations.len());
}

#[test]
fn stations_that_move_are_counted_at_the_port_that_they_move_to() {
    let mut mirror = mirror();
    mirror.known(station(1), VM, false);
    mirror.known(station(1), VM, false);
    assert_eq!(mirror.moves(), &Moves::new(), "it was not known before");
    mirror.known(station(1), UPLINK, false);
    mirror.known(station(1), VM, false);
    mirror.known(station(2), OTHER, false);
    // A dump that writes it again is no move; one that has it elsewhere is.
    mirror.begin([station(1), station(2)]);
    mirror.known(station(1), VM, false);
    mirror.known(station(2), VM, false);
    mirror.end();
    let moves = Moves::from([(UPLINK, 1), (VM, 2)]);
    assert_eq!(mirror.moves(), &moves);
    // Its own address, and an address that leaves what is followed, move nowhere.
    mirror.known(Station { mac: [2; 6], ..station(0) }, VM, true);
    mirror.known(station(1), 99, false);
    assert_eq!(mirror.moves(), &moves);
    // The index may be that of another device when it comes back.
    mirror.set_port(VM, None);
    mirror.set_port(VM, Some(BRIDGE));
    assert_eq!(mirror.moves(), &Moves::from([(UPLINK, 1)]));
}
