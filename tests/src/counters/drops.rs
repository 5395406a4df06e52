//! A dropped frame is counted with the bytes that it would have been counted with, at the hook that
//! drops it: under one of the first keys of its port, and under a later one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::lab::{Lab, Tags, station};
use crate::{
    Feature,
    frame::{BROADCAST, C, S},
    lab::wait_until_eq,
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

/// What a device drops itself is counted by nobody else: here by a veth whose other end takes
/// shorter frames only, as a tap whose VM is paused.
#[test]
fn drops_of_the_device_itself_are_shown_beside_ours() {
    once();
    let lab = Lab::new(&["eth2", "vm-a", "vm-b"]);
    lab.node.configure(
        "
clusterNetworks: { oob: { vlanFiltering: off, uplink: { nics: [eth2], bond: { mode: none } } } }
networks: { v100: { clusterNetwork: oob, vlan: 100 } }
metrics: { listen: \"127.0.0.1:9469\" }
ports: [{ device: vm-a, network: v100 }, { device: vm-b, network: v100 }]
",
    );
    let daemon = lab.node.run();
    let shown = || {
        let rows: Value = serde_json::from_str(&lab.node.ok("show ports -j")).unwrap();
        let row = rows.as_array().unwrap().iter().find(|row| row["device"] == "vm-b").unwrap();
        [row["device_rx_dropped"].as_u64().unwrap(), row["device_tx_dropped"].as_u64().unwrap()]
    };
    let ours = || lab.node.packets("vm-b", "100").1;
    let (dropped, sent) = (shown(), ours());
    lab.others.sh("ip link set vm-b mtu 576");
    for _ in 0..20 {
        lab.send_long("vm-a", &[], [station(1), BROADCAST], 1000);
    }
    wait_until_eq("netagent has sent all", &(sent + 20), ours);
    wait_until_eq("the device has dropped all", &[dropped[0], dropped[1] + 20], shown);
    let line = |direction: &str| {
        let labels = format!("{{device=\"vm-b\",direction=\"{direction}\"}}");
        format!("netagent_device_drop_packets_total{labels} ")
    };
    let metrics = daemon.get("metrics");
    let value = metrics.lines().find_map(|text| text.strip_prefix(&line("transmit")));
    assert_eq!(value, Some((dropped[1] + 20).to_string().as_str()), "{metrics}");
    daemon.kill();
    // Without the daemon as well.
    assert_eq!(shown()[1], dropped[1] + 20);
}
