//! A frame that is too long for its egress port is dropped and counted, by the same limit on every
//! path.

use std::collections::{BTreeMap, BTreeSet};

use super::{Lab, PORTS, Path, forwarded, station};
use crate::{Feature, lab::wait_until, needs, once, soak};

const ETHERNET: usize = 14;
/// The kernel allows a frame one VLAN tag above the MTU, whether it has a tag or not.
const TAG: usize = 4;
/// Frames of each length at a time.
const FRAMES: u64 = 3;
const VID: u16 = 100;
/// MTU of the ports where frames are not too long.
const LARGE: usize = 9000;
/// A longer frame is in several buffers.
const PAGE: usize = 3000;

/// Sends frames from the uplink and from a VM to an access port and to a trunk, at the limit and
/// one byte longer.
fn at_the_limit_and_above(filtering: &str, path: Path, mtu: usize) {
    let lab = Lab::new(filtering, path);
    // Only the egress ports have this MTU: their peers receive longer frames too.
    for port in PORTS {
        lab.others.sh(&format!("ip link set {port} mtu {LARGE}"));
        let limited = matches!(port, "vm-b" | "vm-t");
        let mtu = if limited { mtu } else { LARGE };
        lab.node.netns.sh(&format!("ip link set {port} mtu {mtu}"));
    }
    let _daemon = lab.node.run();
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
            // It also leaves frames in several buffers.
            let by_xdp = to == "vm-b" && mtu < PAGE;
            let taken = if by_xdp { path.counted(from) } else { "tc" };
            let before = forwarded(&lab.node, from, taken);
            // A frame of this length, without its tag.
            let frame_of =
                |length| lab.send_long(from, VID, [source, destination], length - ETHERNET);
            // The bridge receives one frame of a source in 17 seconds, and all frames while the
            // agent has no processor.
            wait_until("a frame takes the path", || {
                for _ in 0..FRAMES {
                    let frame = frame_of(limit);
                    let reached = lab.reached(VID, &frame);
                    assert_eq!(reached, BTreeSet::from([to]), "{from}: {limit} bytes");
                    let frame = frame_of(limit + 1);
                    assert_eq!(lab.reached(VID, &frame), BTreeSet::new(), "{from}: one byte more");
                    *sent.entry(to).or_default() += 1;
                }
                path == Path::Bridge || forwarded(&lab.node, from, taken) > before
            });
        }
        if path == Path::Bridge {
            assert_eq!(["tc", "xdp"].map(|taken| forwarded(&lab.node, from, taken)), [0, 0]);
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

/// Every MTU over both kinds of bridge where tests run in full length. Otherwise each of them once.
fn every_mtu(path: Path) {
    let labs: &[(&str, usize)] = match (needs(&[Feature::VlanFiltering]), soak()) {
        (false, _) => &[("off", 1000), ("off", 1500), ("off", 8000)],
        (true, false) => &[("off", 1000), ("on", 1500), ("off", 8000)],
        (true, true) => {
            &[("off", 1000), ("off", 1500), ("off", 8000), ("on", 1000), ("on", 1500), ("on", 8000)]
        }
    };
    for (filtering, mtu) in labs {
        at_the_limit_and_above(filtering, path, *mtu);
    }
}

#[test]
fn frame_longer_than_the_mtu_is_counted_if_the_bridge_drops_it() {
    once();
    every_mtu(Path::Bridge);
}

#[test]
fn frame_longer_than_the_mtu_is_dropped_and_counted_by_tc() {
    every_mtu(Path::Tc);
}

#[test]
fn frame_longer_than_the_mtu_is_dropped_and_counted_before_its_peer() {
    once();
    every_mtu(Path::Peer);
}

#[test]
fn frame_longer_than_the_mtu_is_dropped_and_counted_by_xdp() {
    once();
    every_mtu(Path::Xdp);
}
