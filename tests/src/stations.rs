//! The programs' copy of the FDB follows the bridge for good: of each source the bridge receives a
//! frame now and then, so that a single frame proves nothing.

use std::time::{Duration, Instant};

use crate::{
    counters::lab::{Lab, station, text},
    forward::mac_moves,
    frame::{C, Frame},
    once,
};

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: off, uplink: { nics: [eth2], bond: { mode: none }, xdp: off } }
networks: { v100: { clusterNetwork: oob, vlan: 100 } }
ports:
  - { device: vm-a, network: v100 }
  - { device: vm-b, network: v100 }
  - { device: vm-c, network: v100 }
";
const TARGET: [u8; 6] = station(1);
const SENDER: [u8; 6] = station(2);
/// More than the bridge receives of a source in two of its turns.
const FRAMES: usize = 5;

fn lab() -> Lab {
    let lab = Lab::new(&["eth2", "vm-a", "vm-b", "vm-c"]);
    lab.node.configure(CONFIG);
    lab
}

impl Lab {
    /// Sends frames to the target; returns how many arrive at a port.
    fn arrive(&self, port: &str) -> usize {
        let wire = self.wire(port);
        while wire.receive(Duration::ZERO).is_some() {}
        let frames = [(); FRAMES].map(|()| self.send("vm-b", &[], [SENDER, TARGET]));
        self.fence.pass();
        let bytes = std::iter::from_fn(|| wire.receive(Duration::ZERO));
        let came = bytes.filter_map(|bytes| Frame::from_bytes(&bytes));
        came.filter(|came| frames.iter().any(|frame| frame.number() == came.number())).count()
    }

    /// Waits until all frames arrive at a port or none. Not as long as until the agent compares the
    /// FDBs again, which it does in any case.
    fn wait_until_arrive(&self, what: &str, port: &str, count: usize) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let there = self.arrive(port);
            if there == count {
                return;
            }
            assert!(Instant::now() < end, "still not: {what}: {there} frames at {port}");
        }
    }
}

/// How many stations have moved to each VM.
fn moves(lab: &Lab) -> [Option<u64>; 3] {
    ["vm-a", "vm-b", "vm-c"].map(|port| mac_moves(&lab.node, port))
}

#[test]
fn move_is_counted_where_the_station_goes() {
    once();
    let lab = lab();
    let _daemon = lab.node.run();
    lab.learn("vm-a", &[], TARGET);
    assert_eq!(moves(&lab), [0, 0, 0].map(Some));
    lab.learn("vm-c", &[], TARGET);
    assert_eq!(moves(&lab), [0, 0, 1].map(Some));
    lab.learn("eth2", &[(C, 100)], TARGET);
    lab.learn("vm-c", &[], TARGET);
    assert_eq!(moves(&lab), [0, 0, 2].map(Some));
}

#[test]
fn frames_to_a_forgotten_station_are_flooded_and_a_closed_port_gets_none() {
    once();
    let lab = lab();
    let _daemon = lab.node.run();
    lab.learn("vm-b", &[], SENDER);
    let learn = || {
        lab.learn("vm-a", &[], TARGET);
        lab.wait_until_arrive("no other VM gets frames", "vm-c", 0);
        assert_eq!(lab.arrive("vm-a"), FRAMES);
    };
    learn();
    let bridge = |line: &str| drop(lab.node.netns.sh(&format!("bridge {line}")));
    bridge(&format!("fdb del {} dev vm-a master", text(TARGET)));
    lab.wait_until_arrive("frames are flooded", "vm-c", FRAMES);
    learn();
    // BR_STATE_DISABLED and BR_STATE_FORWARDING. Without STP a bridge keeps no other state.
    bridge("link set dev vm-a state 0");
    lab.wait_until_arrive("a disabled port gets nothing", "vm-a", 0);
    bridge("link set dev vm-a state 3");
    learn();
    for port in ["vm-a", "vm-b"] {
        bridge(&format!("link set dev {port} isolated on"));
    }
    lab.wait_until_arrive("an isolated port gets nothing from another", "vm-a", 0);
    for port in ["vm-a", "vm-b"] {
        bridge(&format!("link set dev {port} isolated off"));
    }
    learn();
}
