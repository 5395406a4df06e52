//! A frame that is too long for its egress port is dropped and counted, by the same limit on every
//! path.

use std::collections::{BTreeMap, BTreeSet};

use super::{Address, Lab, PORTS, forwarded, station, tags};
use crate::{
    Feature,
    frame::Frame,
    lab::{kernel_is_at_least, wait_until},
    needs, soak,
};

const ETHERNET: usize = 14;
/// The kernel allows a frame one VLAN tag above the MTU, whether it has a tag or not.
const TAG: usize = 4;
/// Frames of each length at a time.
const FRAMES: u64 = 3;
const VID: u16 = 100;

/// Sends a frame of this length, without its tag.
fn send(lab: &Lab, from: &str, [source, destination]: [Address; 2], length: usize) -> Frame {
    let number = lab.sent.replace(lab.sent.get() + 1);
    let mut frame = Frame { destination, source, ..Frame::numbered(number, &tags(from, VID)) };
    frame.payload.resize(length - ETHERNET, 0);
    lab.wire(from).send(&frame);
    frame
}

/// Sends frames from the uplink and from a VM to an access port and to a trunk, at the limit and
/// one byte longer.
fn at_the_limit_and_above(filtering: &str, path: &str, mtu: usize, queue: bool) {
    let lab = Lab::new(filtering, path);
    // Only the egress ports have this MTU: their peers receive longer frames too.
    for port in PORTS {
        lab.others.sh(&format!("ip link set {port} mtu 2000; ethtool -K {port} gro on"));
        let limited = matches!(port, "vm-b" | "vm-t");
        let mtu = if limited { mtu } else { 2000 };
        lab.node.netns.sh(&format!("ip link set {port} mtu {mtu}"));
        if queue {
            lab.node.netns.sh(&format!("tc qdisc add dev {port} root pfifo"));
        }
    }
    let daemon = lab.node.run();
    let [uplink, vm, access, trunk] = [1, 2, 3, 4].map(station);
    let (senders, receivers) =
        ([("eth2", uplink), ("vm-a", vm)], [("vm-b", access), ("vm-t", trunk)]);
    for (port, mac) in senders.iter().chain(&receivers) {
        lab.learn(port, VID, *mac);
    }
    let limit = mtu + ETHERNET + TAG;
    let mut sent = BTreeMap::from(receivers.map(|(to, _)| (to, 0)));
    for (from, source) in senders {
        for (to, destination) in receivers {
            // XDP needs room for the tag: at the limit it leaves the frames for the trunk to TC.
            let by_xdp =
                path == "xdp" && (from, to) == ("eth2", "vm-b") && kernel_is_at_least(6, 3);
            let taken = if by_xdp { "xdp" } else { "tc" };
            let before = forwarded(&daemon, from, taken);
            // The bridge receives one frame of a source in 17 seconds, and all frames while the
            // agent has no processor.
            wait_until("a frame takes the path", || {
                for _ in 0..FRAMES {
                    let frame = send(&lab, from, [source, destination], limit);
                    let reached = lab.reached(VID, &frame);
                    assert_eq!(reached, BTreeSet::from([to]), "{from}: {limit} bytes");
                    let frame = send(&lab, from, [source, destination], limit + 1);
                    assert_eq!(lab.reached(VID, &frame), BTreeSet::new(), "{from}: one byte more");
                    *sent.entry(to).or_default() += 1;
                }
                path == "off" || forwarded(&daemon, from, taken) > before
            });
        }
        if path == "off" {
            assert_eq!(["tc", "xdp"].map(|path| forwarded(&daemon, from, path)), [0, 0]);
        }
    }
    let drops: serde_json::Value = serde_json::from_str(&lab.node.ok("show drops -j")).unwrap();
    let too_long = drops.as_array().unwrap().iter().filter(|row| row["reason"] == "too-long");
    let counted: BTreeSet<_> = too_long
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            let bytes = row["bytes"].as_u64().unwrap();
            (text("device"), text("direction"), text("vlan"), row["packets"].as_u64(), bytes)
        })
        .collect();
    let of = |(to, frames): (&str, u64)| {
        let bytes = frames * u64::try_from(limit + 1).unwrap();
        (to.to_owned(), "transmit".to_owned(), VID.to_string(), Some(frames), bytes)
    };
    let expected: BTreeSet<_> = sent.into_iter().map(of).collect();
    assert_eq!(counted, expected, "mtu {mtu}");
}

/// Both MTUs over both kinds of bridge where tests run in full length. Otherwise each of them once.
fn every_mtu(path: &str, queue: bool) {
    let labs: &[(&str, usize)] = match (needs(&[Feature::VlanFiltering]), soak()) {
        (false, _) => &[("off", 1000), ("off", 1500)],
        (true, false) => &[("off", 1000), ("on", 1500)],
        (true, true) => &[("off", 1000), ("off", 1500), ("on", 1000), ("on", 1500)],
    };
    for (filtering, mtu) in labs {
        at_the_limit_and_above(filtering, path, *mtu, queue);
    }
}

#[test]
fn frame_longer_than_the_mtu_is_counted_if_the_bridge_drops_it() {
    every_mtu("off", false);
}

#[test]
fn frame_longer_than_the_mtu_is_dropped_and_counted_by_tc() {
    every_mtu("tc", true);
}

#[test]
fn frame_longer_than_the_mtu_is_dropped_and_counted_before_its_peer() {
    every_mtu("tc", false);
}

#[test]
fn frame_longer_than_the_mtu_is_dropped_and_counted_by_xdp() {
    every_mtu("xdp", false);
}
