//! Two cluster networks on one node, with the same VLAN and the same addresses in both: no frame
//! crosses from one to the other, and both bypass their bridges.

use super::{
    Path,
    crossing::Crossing,
    entry::{self, IFINDEX},
};
use crate::{
    Feature,
    frame::{C, Frame},
    needs, once,
};

const CONFIG: &str = "
clusterNetworks:
  near: { vlanFiltering: FILTERING, fastPath: PATH, uplink: { nics: [eth2], bond: { mode: none }, xdp: XDP } }
  far:  { vlanFiltering: FILTERING, fastPath: PATH, uplink: { nics: [eth3], bond: { mode: none }, xdp: XDP } }
networks:
  near100: { clusterNetwork: near, vlan: 100 }
  far100:  { clusterNetwork: far, vlan: 100 }
ports:
  - { device: near-a, network: near100 }
  - { device: near-b, network: near100 }
  - { device: far-a, network: far100 }
  - { device: far-b, network: far100 }
";

const NEAR: [&str; 3] = ["eth2", "near-a", "near-b"];
const FAR: [&str; 3] = ["eth3", "far-a", "far-b"];

/// The tags of a frame at a port.
fn tags(port: &str) -> &'static [(u16, u16)] {
    if port.starts_with("eth") { &[(C, 100)] } else { &[] }
}

/// A frame from the station behind a port of `near` to the one behind another; the stations of
/// `far` are given their addresses, `turned` places further.
fn sends(lab: &Crossing, ports: &[&'static str; 3], turned: usize, [from, to]: [usize; 2]) {
    let address = |place: usize| lab.station(NEAR[(place + turned) % 3]);
    lab.leaves(ports[from], (ports[to], tags(ports[to])), || Frame {
        source: address(from),
        ..lab.frame(ports[from], tags(ports[from]), address(to))
    });
}

/// Every station of both networks sends to every other. First the addresses of `far` are behind the
/// corresponding ports, then behind other ones.
fn networks_stay_apart(filtering: &str, path: Path) {
    let lab = Crossing::new(
        path,
        &["eth2", "near-a", "near-b", "eth3", "far-a", "far-b"],
        &CONFIG.replace("FILTERING", filtering),
    );
    let _daemon = lab.node.run();
    for turned in 0..2 {
        for (ports, turned) in [(&NEAR, 0), (&FAR, turned)] {
            for place in 0..3 {
                lab.introduce_as(
                    ports[place],
                    tags(ports[place]),
                    lab.station(NEAR[(place + turned) % 3]),
                );
            }
        }
        for pair in [[0, 1], [1, 2], [2, 0], [1, 0], [2, 1], [0, 2]] {
            sends(&lab, &NEAR, 0, pair);
            sends(&lab, &FAR, turned, pair);
        }
    }
    // The place of a station is that of a port which is in the other network by now.
    let vid = if filtering == "on" { 100 } else { 0 };
    let (target, far) = (lab.station("near-a"), lab.node.netns.ifindex("far-a"));
    entry::alter(&lab.node, ("near-br", vid, target), IFINDEX, |_| far);
    for from in ["near-b", "eth2"] {
        for _ in 0..3 {
            let frame = lab.frame(from, tags(from), target);
            let copies = lab.send(from, &frame, Some("near-a"));
            let ports: Vec<_> = copies.into_keys().collect();
            assert_eq!(ports, ["near-a"], "from {from} by {path:?}");
        }
    }
}

#[test]
fn unaware_cluster_networks_stay_apart_on_every_path() {
    once();
    Path::around("off").iter().for_each(|path| networks_stay_apart("off", *path));
}

#[test]
fn aware_cluster_networks_stay_apart_on_every_path() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        Path::around("on").iter().for_each(|path| networks_stay_apart("on", *path));
    }
}
