//! Every path changes the tags of a frame as the bridge and the egress hook change them: PCP and
//! DEI stay, and a frame that the egress port must not have does not get there.

use super::{
    Path,
    crossing::{At, Crossing},
};
use crate::{
    Feature,
    frame::{C, S},
    needs, once,
};

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: FILTERING, fastPath: PATH, uplink: { nics: [eth2], bond: { mode: none }, xdp: XDP } }
networks:
  plain:  { clusterNetwork: oob }
  v100:   { clusterNetwork: oob, vlan: 100 }
  ifset:  { clusterNetwork: oob, vlan: 100, priorityTags: if-nonzero }
  always: { clusterNetwork: oob, vlan: 100, priorityTags: always }
  trunk:  { clusterNetwork: oob, trunk: '100,200' }
  native: { clusterNetwork: oob, trunk: '200', native: 100 }
ports:
  - { device: plain,  network: plain }
  - { device: access, network: v100 }
  - { device: ifset,  network: ifset }
  - { device: always, network: always }
  - { device: trunk,  network: trunk }
  - { device: native, network: native }
";

const DEVICES: [&str; 7] = ["eth2", "plain", "access", "ifset", "always", "trunk", "native"];

/// Frames by which the bridge learns the station of each port in its VLANs.
const FIRST: &[At<'_>] = &[
    ("eth2", &[]),
    ("eth2", &[(C, 100)]),
    ("eth2", &[(C, 200)]),
    ("plain", &[]),
    ("access", &[]),
    ("ifset", &[]),
    ("always", &[]),
    ("trunk", &[(C, 100)]),
    ("trunk", &[(C, 200)]),
    ("native", &[]),
    ("native", &[(C, 200)]),
];

/// A frame that enters at a port, and how it leaves at the port of its station.
const CROSS: &[(At<'_>, &[At<'_>])] = &[
    // With PCP 5 and DEI from the wire.
    (
        ("eth2", &[(C, 0xb064)]),
        &[
            ("access", &[]),
            ("ifset", &[(C, 0xb000)]),
            ("always", &[(C, 0xb000)]),
            ("trunk", &[(C, 0xb064)]),
            ("native", &[]),
        ],
    ),
    // DEI alone.
    (("eth2", &[(C, 0x1064)]), &[("ifset", &[(C, 0x1000)]), ("trunk", &[(C, 0x1064)])]),
    (
        ("eth2", &[(C, 100)]),
        &[("access", &[]), ("ifset", &[]), ("always", &[(C, 0)]), ("trunk", &[(C, 100)])],
    ),
    (("eth2", &[(C, 0xb0c8)]), &[("trunk", &[(C, 0xb0c8)]), ("native", &[(C, 0xb0c8)])]),
    (("eth2", &[]), &[("plain", &[])]),
    (("eth2", &[(C, 0xe000)]), &[("plain", &[])]),
    // A second tag is the VM's own if the first one stays.
    (("eth2", &[(C, 100), (C, 200)]), &[("trunk", &[(C, 100), (C, 200)])]),
    // A VM shows the priority of untagged frames in a tag with VID 0.
    (
        ("access", &[(C, 0x7000)]),
        &[
            ("eth2", &[(C, 0x7064)]),
            ("ifset", &[(C, 0x7000)]),
            ("always", &[(C, 0x7000)]),
            ("trunk", &[(C, 0x7064)]),
            ("native", &[]),
        ],
    ),
    (
        ("access", &[]),
        &[
            ("eth2", &[(C, 100)]),
            ("ifset", &[]),
            ("always", &[(C, 0)]),
            ("trunk", &[(C, 100)]),
            ("native", &[]),
        ],
    ),
    (
        ("trunk", &[(C, 0x9064)]),
        &[("eth2", &[(C, 0x9064)]), ("access", &[]), ("ifset", &[(C, 0x9000)]), ("native", &[])],
    ),
    (("trunk", &[(C, 0x90c8)]), &[("eth2", &[(C, 0x90c8)]), ("native", &[(C, 0x90c8)])]),
    (("native", &[(C, 0x4000)]), &[("eth2", &[(C, 0x4064)]), ("trunk", &[(C, 0x4064)])]),
    (("plain", &[(C, 0x6000)]), &[("eth2", &[])]),
];

/// A frame that enters at a port, and a port with its station that must not get it.
const STOPPED: &[(At<'_>, &str)] = &[
    // Without its own tag the frame would show another one.
    (("eth2", &[(C, 100), (C, 200)]), "access"),
    (("eth2", &[(C, 100), (C, 200)]), "native"),
    (("eth2", &[(C, 100), (S, 200)]), "access"),
    (("eth2", &[(S, 100)]), "plain"),
    (("plain", &[(S, 100)]), "eth2"),
    (("trunk", &[(C, 100), (C, 200)]), "access"),
    (("eth2", &[(C, 0), (C, 100)]), "plain"),
    // The station is in a VLAN of the ingress port, and not in the frame's.
    (("eth2", &[(C, 200)]), "access"),
    (("eth2", &[(C, 200)]), "plain"),
    (("eth2", &[]), "access"),
    (("trunk", &[(C, 200)]), "access"),
    (("access", &[]), "plain"),
    // The ingress port must not send the frame.
    (("eth2", &[(C, 300)]), "trunk"),
    (("access", &[(C, 100)]), "trunk"),
    (("access", &[(C, 200)]), "trunk"),
    (("trunk", &[]), "native"),
    (("trunk", &[(C, 300)]), "native"),
];

/// Every case, while the agent lives and when it is gone.
pub fn every_case(
    lab: &Crossing,
    first: &[At<'_>],
    cross: &[(At<'_>, &[At<'_>])],
    stopped: &[(At<'_>, &str)],
) {
    let daemon = lab.node.run();
    first.iter().for_each(|at| lab.introduce(*at));
    let all = || {
        for (from, leaves) in cross {
            leaves.iter().for_each(|to| lab.crosses(*from, *to));
        }
        lab.are_stopped(stopped);
    };
    all();
    if lab.is_fast() {
        lab.lose_agent(daemon);
        all();
    }
}

fn tags_are_changed(filtering: &str, path: Path) {
    let lab = Crossing::new(path, &DEVICES, &CONFIG.replace("FILTERING", filtering));
    every_case(&lab, FIRST, CROSS, STOPPED);
}

#[test]
fn tags_are_changed_by_every_path_around_an_unaware_bridge() {
    once();
    Path::around("off").iter().for_each(|path| tags_are_changed("off", *path));
}

#[test]
fn tags_are_changed_by_every_path_around_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        Path::around("on").iter().for_each(|path| tags_are_changed("on", *path));
    }
}
