//! Drops that find no counter of their own: those in the many VLANs of a port share one, those that
//! find the map full are counted at no port, and those of a device without a policy as well.

use std::{fs, ops::Range, time::Duration};

use super::lab::{Lab, station};
use crate::{
    frame::{BROADCAST, C},
    lab::{bpftool_bytes, sh},
    once,
};

/// Keys of a port on one processor, and in the map that all ports share.
const SLOTS: u64 = 2;
const QUOTA: u64 = 32;
/// More keys than that map has.
const ALL: u32 = 16_384;
/// The discriminant of the reason.
const VLAN_NOT_ALLOWED: u16 = 1;

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: off, uplink: { nics: [eth2], bond: { mode: none }, xdp: off } }
networks: { v100: { clusterNetwork: oob, vlan: 100 } }
ports:
  - { device: vm-a, network: v100 }
  - { device: vm-b, network: v100 }
  - { device: vm-c, network: v100 }
  - { device: vm-d, network: v100 }
";

impl Lab {
    /// Sends a frame in each of these VLANs, which are not allowed. Returns how many are counted
    /// there by VLAN, and how many in a VLAN without a counter.
    fn flood(&self, port: &str, vids: Range<u16>) -> [u64; 2] {
        let counted = || {
            let drops = self.drops();
            let here = drops.iter().filter(|([device, ..], _)| device == port);
            let sum = |other: bool| {
                let rows = here.clone().filter(|([_, _, vlan, _], _)| (vlan == "other") == other);
                rows.map(|(_, [packets, bytes])| {
                    assert_eq!(*bytes, 60 * packets);
                    packets
                })
                .sum::<u64>()
            };
            [sum(false), sum(true)]
        };
        let before = counted();
        for vid in vids {
            self.send(port, &[(C, vid)], [station(1), BROADCAST]);
        }
        self.fence.pass();
        let after = counted();
        [0, 1].map(|kind| after[kind] - before[kind])
    }

    /// What is counted at no port for a reason.
    fn elsewhere(&self, reason: &str) -> Option<[u64; 2]> {
        let key = ["other", "receive", "other", reason].map(str::to_owned);
        self.drops().get(&key).copied()
    }

    /// Adds keys of a port that does not exist until the map is full.
    fn fill(&self) {
        let pin = self.node.pin("maps/MORE_DROPS");
        let line = |number: u32| {
            let [a, b, c, d] = number.to_ne_bytes();
            let value = "00 ".repeat(16);
            format!(
                "map update pinned {pin} key hex 84 03 {a:02x} {b:02x} {c:02x} {d:02x} 0 0 value hex {value}\n"
            )
        };
        let file = self.node.state().with_extension("batch");
        fs::write(&file, (0..ALL).map(line).collect::<String>()).unwrap();
        let output = self.node.netns.output(&format!("bpftool batch file {}", file.display()));
        assert!(!output.status.success(), "the map has room for more than {ALL} keys");
    }
}

#[test]
fn drops_without_a_counter_of_their_own_are_counted() {
    once();
    let lab = Lab::new(&["eth2", "vm-a", "vm-b", "vm-c", "vm-d"]);
    lab.node.apply(CONFIG);
    // On one processor: see the slots.
    let own = SLOTS + QUOTA;
    assert_eq!(lab.flood("vm-a", 1000..1060), [own, 60 - own]);
    assert_eq!(lab.flood("vm-a", 1000..1061), [own, 61 - own], "a key keeps its counter");
    // The quota is that of the port.
    assert_eq!(lab.flood("vm-b", 1000..1010), [10, 0]);

    lab.fill();
    assert_eq!(lab.flood("vm-b", 1000..1020), [10, 10]);
    assert_eq!(lab.flood("vm-c", 1000..1010), [SLOTS, 10 - SLOTS]);
    assert_eq!(lab.elsewhere("vlan-not-allowed"), None);
    // Without the counter that the agent has made for them.
    let port = u16::try_from(lab.number("vm-c")).unwrap();
    let [a, b] = port.to_ne_bytes();
    let [c, d] = VLAN_NOT_ALLOWED.to_ne_bytes();
    let pin = lab.node.pin("maps/MORE_DROPS");
    sh(&format!(
        "bpftool map delete pinned {pin} key hex {a:02x} {b:02x} ff ff 0 0 {c:02x} {d:02x}"
    ));
    lab.fill();
    assert_eq!(lab.flood("vm-c", 1000..1010), [SLOTS, 0]);
    assert_eq!(lab.elsewhere("vlan-not-allowed"), Some([8, 8 * 60]));
}

#[test]
fn device_without_a_policy_passes_nothing_and_that_is_counted() {
    once();
    let lab = Lab::new(&["eth2", "vm-a", "vm-b", "vm-c", "vm-d"]);
    lab.node.apply(CONFIG);
    let key = bpftool_bytes(&lab.node.netns.ifindex("vm-d").to_ne_bytes());
    let pin = lab.node.pin("maps/PORT_INDEX");
    sh(&format!("bpftool map update pinned {pin} key hex {key} value hex 0 0 0 0 0 0 0 0"));
    // With a tag, it would be a frame of that VLAN on the bridge.
    let from_vm =
        [&[][..], &[(C, 100)]].map(|tags| lab.send("vm-d", tags, [station(1), BROADCAST]));
    for port in ["eth2", "vm-b"] {
        assert_eq!(lab.heard(port, &from_vm, ("vm-a", &[])), [0_usize; 0], "{port}");
    }
    assert_eq!(lab.elsewhere("no-policy"), Some([2, 120]));
    let to_vm = lab.send("eth2", &[(C, 100)], [station(2), BROADCAST]);
    lab.up_to("vm-a", &to_vm);
    lab.fence.pass();
    let wire = lab.wire("vm-d");
    let came: Vec<_> = std::iter::from_fn(|| wire.receive(Duration::ZERO)).collect();
    assert_eq!(came, [[0; 0]; 0]);
    // The broadcasts of `heard`, and this one.
    let key = ["other", "transmit", "other", "no-policy"].map(str::to_owned);
    assert_eq!(lab.drops().get(&key), Some(&[3, 180]));
}
