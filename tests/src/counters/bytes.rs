//! Bytes are those of the frame without its tag, at both ports of its way, whichever way it takes.

use super::lab::{Lab, Tags, more, station, text};
use crate::{
    Feature,
    frame::C,
    lab::{kernel_is_at_least, seen, wait_for},
    needs, once,
};

const PORTS: [&str; 5] = ["eth2", "vm-a", "vm-b", "vm-n", "vm-t"];
const LENGTHS: [usize; 3] = [60, 333, 1514];

fn config(filtering: &str, path: &str) -> String {
    let (fast, xdp) = match path {
        "bridge" => ("off", "off"),
        "xdp" => ("xdp", "auto"),
        _ => ("tc", "off"),
    };
    format!(
        "
clusterNetworks:
  oob: {{ vlanFiltering: {filtering}, fastPath: {fast}, uplink: {{ nics: [eth2], bond: {{ mode: none }}, xdp: {xdp} }} }}
networks:
  v100:  {{ clusterNetwork: oob, vlan: 100 }}
  plain: {{ clusterNetwork: oob }}
  trunk: {{ clusterNetwork: oob, trunk: '100,200' }}
ports:
  - {{ device: vm-a, network: v100 }}
  - {{ device: vm-b, network: v100 }}
  - {{ device: vm-n, network: plain }}
  - {{ device: vm-t, network: trunk }}
"
    )
}

/// The tags of a frame in a VLAN at a port.
fn tags(port: &str, vid: u16) -> &'static [(u16, u16)] {
    match (port, vid) {
        ("eth2" | "vm-t", 100) => &[(C, 100)],
        _ => &[],
    }
}

/// From one port to another with a tag more, a tag less, the tag as it was, and none.
const WAYS: [(u16, &str, &str); 8] = [
    (100, "eth2", "vm-a"),
    (100, "eth2", "vm-t"),
    (100, "vm-a", "eth2"),
    (100, "vm-a", "vm-b"),
    (100, "vm-a", "vm-t"),
    (100, "vm-t", "vm-b"),
    (1, "eth2", "vm-n"),
    (1, "vm-n", "eth2"),
];

/// A station for each VLAN of each port.
fn station_of(port: &str, vid: u16) -> [u8; 6] {
    let place = PORTS.iter().position(|name| *name == port).unwrap();
    station(u8::try_from(place).unwrap() * 2 + u8::from(vid == 1))
}

fn bytes_are_those_of_the_frame(filtering: &str, path: &str) {
    let lab = Lab::new(&PORTS);
    for port in &PORTS[1..] {
        // A veth supports XDP_REDIRECT if its peer uses NAPI; with a queue, it keeps its own egress
        // path.
        match path {
            "xdp" => drop(lab.others.sh(&format!("ethtool -K {port} gro on"))),
            "tc" => drop(lab.node.netns.sh(&format!("tc qdisc add dev {port} root pfifo"))),
            _ => {}
        }
    }
    let daemon = if path == "bridge" {
        lab.node.apply(&config(filtering, path));
        None
    } else {
        lab.node.configure(&config(filtering, path));
        Some(lab.node.run())
    };
    for (vid, one, other) in WAYS {
        for port in [one, other] {
            let station = station_of(port, vid);
            if daemon.is_some() {
                lab.learn(port, tags(port, vid), station);
            } else {
                lab.send(port, tags(port, vid), [station, self::station(0xdd)]);
                lab.fence.pass();
            }
        }
    }
    for (vid, from, to) in WAYS {
        let way = (from, to);
        if daemon.is_none() {
            send_and_compare(&lab, vid, way);
            continue;
        }
        // Only frames from the uplink meet XDP. A kernel before 6.3 does not report which devices
        // support XDP_REDIRECT.
        let by_xdp = path == "xdp" && from == "eth2" && kernel_is_at_least(6, 3);
        let taken = if by_xdp { "xdp" } else { "tc" };
        // The bridge receives one frame of a source in 17 seconds, and all frames while the agent
        // has no processor.
        wait_for("all frames take the path", || {
            let before = lab.forwarded(from, taken);
            send_and_compare(&lab, vid, way);
            let count = usize::try_from(lab.forwarded(from, taken) - before).unwrap();
            seen(count, count == LENGTHS.len())
        });
    }
}

/// Sends frames of each length, and compares what both ports have counted.
fn send_and_compare(lab: &Lab, vid: u16, (from, to): (&str, &str)) {
    let vlan = vid.to_string();
    let counted = || {
        let [one, other] = [from, to].map(|port| lab.traffic(port, &vlan));
        [one.received, other.transmitted]
    };
    let before = counted();
    let stations = [from, to].map(|port| station_of(port, vid));
    for length in LENGTHS {
        let frame = lab.send_long(from, tags(from, vid), stations, length);
        let came = lab.up_to(to, &frame).pop();
        let expected: Tags<'_> = tags(to, vid);
        assert_eq!(came, Some(frame.with_tags(expected)), "{from} to {to}, {}", text(stations[1]));
    }
    let after = counted();
    let sum = u64::try_from(LENGTHS.iter().sum::<usize>()).unwrap();
    for (before, after) in before.into_iter().zip(after) {
        let count = u64::try_from(LENGTHS.len()).unwrap();
        assert_eq!(more(before, after), [count, sum], "{from} to {to}");
    }
}

#[test]
fn bytes_are_those_of_the_frame_through_an_unaware_bridge() {
    once();
    bytes_are_those_of_the_frame("off", "bridge");
}

#[test]
fn bytes_are_those_of_the_frame_through_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        bytes_are_those_of_the_frame("on", "bridge");
    }
}

#[test]
fn bytes_are_those_of_the_frame_by_tc() {
    once();
    bytes_are_those_of_the_frame("off", "tc");
}

#[test]
fn bytes_are_those_of_the_frame_into_the_peer() {
    once();
    bytes_are_those_of_the_frame("off", "peer");
}

#[test]
fn bytes_are_those_of_the_frame_by_xdp() {
    bytes_are_those_of_the_frame("off", "xdp");
}

#[test]
fn bytes_are_those_of_the_frame_by_xdp_past_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        bytes_are_those_of_the_frame("on", "xdp");
    }
}
