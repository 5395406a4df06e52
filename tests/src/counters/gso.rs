//! A frame that a device will cut into segments counts as these segments in packets, and with one
//! header in bytes; and as these segments against a limit.

use super::{
    lab::{Lab, more, station},
    segments::Sender,
};
use crate::{
    Feature,
    frame::BROADCAST,
    lab::{seen, wait_for, wait_until_eq},
    needs, once,
};

/// Frames at a time.
const FRAMES: u64 = 3;

fn config(filtering: &str, path: &str, security: &str) -> String {
    let fast = if path == "bridge" { "off" } else { "tc" };
    format!(
        "
clusterNetworks:
  oob: {{ vlanFiltering: {filtering}, fastPath: {fast}, uplink: {{ nics: [eth2], bond: {{ mode: none }}, xdp: off }} }}
networks: {{ v100: {{ clusterNetwork: oob, vlan: 100 }} }}
ports:
  - {{ device: vm-a, network: v100, security: {{ {security} }} }}
  - {{ device: vm-b, network: v100 }}
"
    )
}

fn segments_are_counted(filtering: &str, path: &str) {
    const SEGMENTS: usize = 7;
    let lab = Lab::new(&["eth2", "vm-a", "vm-b"]);
    if path == "tc" {
        lab.node.netns.sh("tc qdisc add dev vm-b root pfifo");
    }
    let yaml = config(filtering, path, "");
    let daemon = if path == "bridge" {
        lab.node.apply(&yaml);
        None
    } else {
        lab.node.configure(&yaml);
        Some(lab.node.run())
    };
    let [vm, other] = [station(1), station(2)];
    let sender = Sender::new(&lab.others, "vm-a", vm);
    for (port, station) in [("vm-a", vm), ("vm-b", other)] {
        if daemon.is_some() {
            lab.learn(port, &[], station);
        } else {
            lab.send(port, &[], [station, self::station(0xdd)]);
            lab.fence.pass();
        }
    }
    let counted = || [lab.traffic("vm-a", "100").received, lab.traffic("vm-b", "100").transmitted];
    let exchange = || {
        let before = counted();
        let bytes: u64 = (0..FRAMES).map(|_| sender.send(other, SEGMENTS)).sum();
        let packets = FRAMES * u64::try_from(SEGMENTS).unwrap();
        // What the bridge forwards may wait in a queue.
        wait_until_eq("all are counted", &[[packets, bytes]; 2], || {
            let after = counted();
            [0, 1].map(|port| more(before[port], after[port]))
        });
    };
    if daemon.is_none() {
        return exchange();
    }
    let packets = FRAMES * u64::try_from(SEGMENTS).unwrap();
    wait_for("all frames take the path", || {
        let before = lab.forwarded("vm-a", "tc");
        exchange();
        let count = lab.forwarded("vm-a", "tc") - before;
        seen(count, count == packets)
    });
}

#[test]
fn segments_are_counted_through_an_unaware_bridge() {
    once();
    segments_are_counted("off", "bridge");
}

#[test]
fn segments_are_counted_through_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        segments_are_counted("on", "bridge");
    }
}

#[test]
fn segments_are_counted_by_tc() {
    once();
    segments_are_counted("off", "tc");
}

#[test]
fn segments_are_counted_into_the_peer() {
    once();
    segments_are_counted("off", "peer");
}

/// The first frame makes the next due in more than half a minute, each segment in a second.
#[test]
fn segments_count_against_a_limit() {
    const SEGMENTS: usize = 40;
    const FLOOD: u64 = 5;
    once();
    for (destination, reason) in
        [(BROADCAST, "broadcast-storm"), ([1, 0, 0x5e, 0, 0, 1], "multicast-storm")]
    {
        let lab = Lab::new(&["eth2", "vm-a", "vm-b"]);
        let kind = reason.trim_end_matches("-storm");
        lab.node.apply(&config("off", "bridge", &format!("storm: {{ {kind}: 1 }}")));
        let sender = Sender::new(&lab.others, "vm-a", station(1));
        let bytes: u64 = (0..FLOOD).map(|_| sender.send(destination, SEGMENTS)).sum();
        let key = ["vm-a", "receive", "100", reason].map(str::to_owned);
        let (segments, of_each) = (u64::try_from(SEGMENTS).unwrap(), bytes / FLOOD);
        let others = [segments * (FLOOD - 1), bytes - of_each];
        wait_until_eq("only the first passes", &Some(others), || lab.drops().get(&key).copied());
        let passed = lab.traffic("vm-a", "100").received;
        assert_eq!(passed, [segments, of_each]);
    }
}
