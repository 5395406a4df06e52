//! A customer's frames to known stations, on every path.

use super::{CASES, CONFIG, PORTS, make_room_for_a_tag, modern};
use crate::{
    Feature,
    forward::{
        self, Path,
        crossing::{At, Crossing},
    },
    frame::{C, S},
    needs, once,
};

/// Frames by which the bridge learns the station of each port in its VLANs.
const FIRST: &[At<'_>] = &[
    ("eth2", &[(C, 100)]),
    ("eth2", &[(C, 200)]),
    ("eth2", &[(S, 3000)]),
    ("eth2", &[(C, 3001)]),
    ("a100", &[]),
    ("some1", &[]),
    ("some2", &[]),
    ("every", &[]),
    ("never", &[]),
    ("ifset", &[]),
    ("always", &[]),
];

/// The cases, by frames to known stations. What leaves nowhere does not leave for any station.
fn known_stations(filtering: &str, path: Path) {
    let lab = Crossing::new(path, &PORTS, &CONFIG.replace("FILTERING", filtering));
    make_room_for_a_tag(&lab.others, &PORTS);
    let (dropped, leave): (Vec<_>, Vec<_>) =
        CASES.iter().partition(|(_, _, leaves)| leaves.is_empty());
    let cross: Vec<_> = leave.iter().map(|(from, tags, to)| ((*from, *tags), *to)).collect();
    let others = |from: &'static str| PORTS.into_iter().filter(move |port| *port != from);
    let stopped = dropped
        .iter()
        .flat_map(|(from, tags, _)| others(from).map(move |port| ((*from, *tags), port)));
    forward::every_case(&lab, FIRST, &cross, &stopped.collect::<Vec<_>>());
}

#[test]
fn service_vlan_carries_its_customer_on_every_path_around_an_unaware_bridge() {
    once();
    if modern() {
        Path::around("off").iter().for_each(|path| known_stations("off", *path));
    }
}

#[test]
fn service_vlan_carries_its_customer_on_every_path_around_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) && modern() {
        Path::around("on").iter().for_each(|path| known_stations("on", *path));
    }
}
