//! The longest frames that a guest can send: in segments, and in one.

use std::time::Duration;

use crate::{
    counters::lab::{Address, Lab, station},
    forward::Path,
    frame::{BROADCAST, C, Frame},
    lab::{seen, wait_for, wait_until_eq},
    once,
    tap::{Gso, Tap},
};

const GUEST: Address = station(1);
/// The stations behind the uplink and another VM.
const STATIONS: [(&str, Address); 2] = [("eth2", station(2)), ("vm-b", station(3))];
/// Ethernet, IPv4, TCP with a timestamp.
const HEADERS: u16 = 14 + 20 + 32;
/// Ethernet header and a tag, which the kernel allows above the MTU.
const ABOVE_MTU: u16 = 14 + 4;
const LOW: u16 = 1500;
const PAYLOAD: u16 = 50_000;

/// A node with a guest at a tap. One port has an MTU of 1500, the others 9000; nothing that leaves
/// is cut by the node, so that a frame shows its segments to the programs only.
fn lab(path: Path, limited: &str) -> (Lab, Tap) {
    let lab = Lab::new(&["eth2", "vm-b"]);
    let tap = Tap::open(&lab.node.netns, "vm-a");
    path.prepare(&lab.node.netns, &lab.others, &["vm-b"]);
    lab.node.configure(&path.fill_in(
        "
clusterNetworks:
  oob: { vlanFiltering: off, fastPath: PATH, uplink: { nics: [eth2], bond: { mode: none }, xdp: XDP } }
networks: { v100: { clusterNetwork: oob, vlan: 100 } }
ports: [{ device: vm-a, network: v100 }, { device: vm-b, network: v100 }]
",
    ));
    for (device, _) in STATIONS {
        lab.others.sh(&format!("ip link set {device} mtu 65535"));
        let mtu = if device == limited { LOW } else { 9000 };
        lab.node.netns.sh(&format!("ip link set {device} mtu {mtu}"));
    }
    lab.node.netns.sh("ip link set vm-a mtu 9000");
    (lab, tap)
}

/// What a port has transmitted and dropped as too long, in frames.
fn counted(lab: &Lab, port: &str) -> [u64; 2] {
    let key = [port, "transmit", "100", "too-long"].map(str::to_owned);
    let dropped = lab.drops().get(&key).map_or(0, |[packets, _]| *packets);
    [lab.traffic(port, "100").transmitted[0], dropped]
}

/// Whether a frame of the guest leaves a port.
fn leaves(lab: &Lab, port: &str, expected: bool) -> bool {
    let patience = Duration::from_millis(if expected { 5000 } else { 300 });
    let wire = lab.wire(port);
    while let Some(bytes) = wire.receive(patience) {
        let is_there = Frame::from_bytes(&bytes).is_some_and(|frame| frame.source == GUEST);
        if is_there {
            return true;
        }
    }
    false
}

fn segments_above_the_limit_are_dropped(path: Path) {
    for (limited, to) in STATIONS {
        let (lab, tap) = lab(path, limited);
        let _daemon = lab.node.run();
        for (device, station) in STATIONS {
            let tags: &[_] = if device == "eth2" { &[(C, 100)] } else { &[] };
            lab.learn(device, tags, station);
        }
        let hello = [&BROADCAST[..], &GUEST, &[0x88, 0xb5], &[0; 46]].concat();
        tap.send_whole(&hello);
        wait_until_eq("the guest is known", &true, || lab.known(GUEST).is_some());
        let longest = LOW + ABOVE_MTU - HEADERS;
        for destination in [to, BROADCAST] {
            for (size, fits) in [(1000, true), (longest, true), (longest + 1, false), (8000, false)]
            {
                let (frame, checksum) = Gso::Tcp4.frame([destination, GUEST], PAYLOAD);
                let segments = u64::from(PAYLOAD.div_ceil(size));
                while leaves(&lab, limited, false) {}
                let before = counted(&lab, limited);
                tap.send(Gso::Tcp4, size, checksum, &frame);
                let expected = if fits { [segments, 0] } else { [0, segments] };
                wait_for("all segments are counted", || {
                    let after = counted(&lab, limited);
                    let more = [after[0] - before[0], after[1] - before[1]];
                    seen((path, limited, size, more), more == expected)
                });
                assert_eq!(leaves(&lab, limited, fits), fits, "{path:?} {limited} {size}");
            }
        }
        // In one: by every path the limit is that of the bridge.
        let whole = [&to[..], &GUEST, &[0x88, 0xb5], &vec![0; 60_000]].concat();
        let before = counted(&lab, limited);
        tap.send_whole(&whole);
        wait_until_eq("the frame is counted", &[before[0], before[1] + 1], || {
            counted(&lab, limited)
        });
        assert!(!leaves(&lab, limited, false), "{path:?} {limited}");
    }
}

#[test]
fn segments_longer_than_the_mtu_are_dropped_and_counted_on_the_bridge() {
    segments_above_the_limit_are_dropped(Path::Bridge);
}

#[test]
fn segments_longer_than_the_mtu_are_dropped_and_counted_by_tc() {
    once();
    segments_above_the_limit_are_dropped(Path::Tc);
}

#[test]
fn segments_longer_than_the_mtu_are_dropped_and_counted_before_a_peer() {
    once();
    segments_above_the_limit_are_dropped(Path::Peer);
}
