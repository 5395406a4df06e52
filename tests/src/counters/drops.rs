//! A dropped frame is counted with the bytes that it would have been counted with, at the hook that
//! drops it: under one of the first keys of its port, and under a later one.

use std::collections::BTreeMap;

use super::lab::{Lab, Tags, station};
use crate::{
    Feature,
    frame::{BROADCAST, C, S},
    needs, once,
};

const LENGTHS: [usize; 3] = [60, 100, 1000];

/// A port, the tags of a frame, and how its drop is counted: VLAN and reason.
const CASES: &[(&str, Tags<'_>, &str, &str)] = &[
    ("vm-a", &[(C, 200)], "200", "vlan-not-allowed"),
    ("vm-a", &[(C, 100)], "100", "tagged-on-access"),
    ("vm-a", &[(C, 4095)], "4095", "reserved-vid"),
    ("vm-a", &[(C, 0), (C, 200)], "100", "stacked-tag"),
    ("vm-a", &[(C, 201), (C, 7)], "201", "vlan-not-allowed"),
    ("vm-t", &[], "none", "untagged"),
    ("vm-t", &[(S, 200)], "none", "untagged"),
    ("vm-t", &[(C, 300)], "300", "vlan-not-allowed"),
    // XDP drops these, where it may.
    ("eth2", &[(C, 300)], "300", "vlan-not-allowed"),
    ("eth2", &[(C, 301), (C, 100)], "301", "vlan-not-allowed"),
    ("eth2", &[(C, 302), (S, 7)], "302", "vlan-not-allowed"),
    ("eth2", &[(C, 4095)], "4095", "reserved-vid"),
    ("eth2", &[], "none", "untagged"),
];

fn drops_have_the_bytes_of_their_frames(filtering: &str, xdp: &str) {
    let lab = Lab::new(&["eth2", "vm-a", "vm-t"]);
    lab.node.apply(&format!(
        "
clusterNetworks:
  oob: {{ vlanFiltering: {filtering}, uplink: {{ nics: [eth2], bond: {{ mode: none }}, native: none, xdp: {xdp} }} }}
networks:
  v100:  {{ clusterNetwork: oob, vlan: 100 }}
  trunk: {{ clusterNetwork: oob, trunk: '100,200', native: none }}
ports:
  - {{ device: vm-a, network: v100 }}
  - {{ device: vm-t, network: trunk }}
"
    ));
    let mut expected = BTreeMap::new();
    let mut expect = |key: [&str; 4], length: usize| {
        let [packets, bytes]: &mut [u64; 2] = expected.entry(key.map(str::to_owned)).or_default();
        *packets += 1;
        *bytes += u64::try_from(length).unwrap();
    };
    for length in LENGTHS {
        for (port, tags, vlan, reason) in CASES {
            // The Ethertype after the outer tag, which the kernel keeps in the metadata, and all
            // that follows.
            let inner = 4 * tags.len().saturating_sub(1);
            lab.send_long(port, tags, [station(1), BROADCAST], length);
            expect([port, "receive", vlan, reason], length + inner);
        }
        // An unaware bridge floods all VLANs to all ports.
        lab.send_long("eth2", &[(C, 200)], [station(2), BROADCAST], length);
        if filtering == "off" {
            expect(["vm-a", "transmit", "200", "egress-filtered"], length);
        }
    }
    for port in ["vm-a", "vm-t"] {
        assert_eq!(lab.heard(port, &[], ("eth2", &[(C, 100)])), [0_usize; 0]);
    }
    let seen: BTreeMap<_, _> = lab.drops();
    assert_eq!(seen, expected);
}

#[test]
fn drops_have_the_bytes_of_their_frames_on_an_unaware_bridge() {
    once();
    drops_have_the_bytes_of_their_frames("off", "off");
}

#[test]
fn drops_have_the_bytes_of_their_frames_on_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        drops_have_the_bytes_of_their_frames("on", "off");
    }
}

#[test]
fn drops_have_the_bytes_of_their_frames_at_xdp() {
    once();
    drops_have_the_bytes_of_their_frames("off", "auto");
}
