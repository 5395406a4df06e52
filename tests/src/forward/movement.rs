//! Stations that move, and ports that close or are deleted: the latest frame of a station decides
//! at once.

use std::{collections::BTreeSet, time::Duration};

use super::{Lab, Path, mac_moves, station};
use crate::{
    Feature,
    frame::{BROADCAST, Frame},
    lab::{seen, sh, wait_for, wait_until_eq},
    needs, once,
};

/// A station moves through all ports of its VLAN, like a VM that is migrated in and out. From its
/// first frame at a new port, no frame for the station goes to the old port, and none is lost,
/// however late the agent hears of the move.
fn goes_around(filtering: &str, path: Path) {
    const ROUNDS: usize = 3;
    let lab = Lab::new(filtering, path);
    let daemon = lab.node.run();
    let signal = |name| sh(&format!("kill -{name} {}", daemon.child.id()));
    let [mover, of_vm, of_wire] = [station(1), station(2), station(3)];
    lab.learn("vm-t", 100, of_vm);
    lab.learn("eth2", 100, of_wire);
    lab.learn("vm-a", 100, mover);
    let is_at = |port, round| {
        for (from, source) in [("vm-t", of_vm), ("eth2", of_wire)] {
            if from != port {
                let frame = lab.send(from, 100, source, mover);
                assert_eq!(lab.reached(100, &frame), BTreeSet::from([port]), "round {round}");
            }
        }
    };
    for round in 0..ROUNDS {
        for port in ["eth2", "vm-b", "vm-a"] {
            // The stopped agent does not hear of the move, and the programs still have the old
            // entry.
            signal("STOP");
            // A frame that is flooded, or one that could take the fast path: a short one, or one
            // whose egress port is looked up in any case, as it may be too long for it.
            let (first, length) = [(BROADCAST, 46), (of_vm, 46), (of_vm, 200)][round];
            lab.send_long(port, 100, [mover, first], length);
            is_at(port, round);
            signal("CONT");
            let there = Some(port.to_owned());
            wait_until_eq("the agent knows of the move", &there, || lab.known(100, mover));
            is_at(port, round);
        }
    }
    // Each move is counted where the station has gone to. The frames that the lab sends after the
    // others come from `eth2` and `vm-a` in turn.
    assert_eq!(["vm-b", "vm-t"].map(|port| mac_moves(&lab.node, port)), [Some(3), Some(0)]);
    assert!(mac_moves(&lab.node, "eth2") > Some(3) && mac_moves(&lab.node, "vm-a") > Some(3));
}

#[test]
fn moved_station_is_followed_on_an_unaware_bridge() {
    goes_around("off", Path::Peer);
}

#[test]
fn moved_station_is_followed_on_an_unaware_bridge_with_queues() {
    once();
    goes_around("off", Path::Tc);
}

#[test]
fn moved_station_is_followed_on_an_unaware_bridge_by_xdp() {
    once();
    goes_around("off", Path::Xdp);
}

#[test]
fn moved_station_is_followed_on_an_aware_bridge() {
    if needs(&[Feature::VlanFiltering]) {
        goes_around("on", Path::Peer);
    }
}

#[test]
fn moved_station_is_followed_on_an_aware_bridge_with_queues() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        goes_around("on", Path::Tc);
    }
}

#[test]
fn moved_station_is_followed_on_an_aware_bridge_by_xdp() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        goes_around("on", Path::Xdp);
    }
}

/// One address in two VLANs is two stations to a bridge that learns per VLAN.
#[test]
fn one_address_in_two_vlans_is_two_stations() {
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    for path in Path::FAST {
        let lab = Lab::new("on", path);
        let _daemon = lab.node.run();
        let [twin, sender] = [station(1), station(2)];
        for (port, vid) in [("vm-a", 100), ("vm-c", 200)] {
            lab.learn(port, vid, twin);
            lab.learn("eth2", vid, sender);
        }
        for (port, vid) in [("vm-a", 100), ("vm-c", 200)] {
            for _ in 0..5 {
                let frame = lab.send("eth2", vid, sender, twin);
                assert_eq!(lab.reached(vid, &frame), BTreeSet::from([port]));
            }
        }
    }
}

/// An operator's changes to the bridge's FDB and ports also apply to the fast path.
fn changes_to_the_bridge_apply(path: Path) {
    let lab = Lab::new("off", path);
    let _daemon = lab.node.run();
    let [target, sender, vm] = [1, 2, 3].map(station);
    let from = path.sender();
    lab.learn("vm-a", 100, target);
    lab.learn(from, 100, sender);
    lab.learn("vm-b", 100, vm);
    let reached_from = |from, source| {
        let frame = lab.send(from, 100, source, target);
        lab.reached(100, &frame)
    };
    let reached = || reached_from(from, sender);
    let only = |port| BTreeSet::from([port]);
    let until = |what: &str, ports: &BTreeSet<&'static str>| {
        let mut elsewhere = 0;
        wait_until_eq(what, ports, || {
            let there = reached();
            elsewhere += u32::from(there != *ports);
            there
        });
        println!("forward: {what}: {elsewhere} frames before that");
    };
    let mut flooded = BTreeSet::from(["eth2", "vm-a", "vm-b", "vm-t"]);
    flooded.remove(from);
    let bridge = |line: &str| lab.node.netns.sh(&format!("bridge {line}"));
    let mac = "02:74:ff:00:00:01";
    assert_eq!(reached(), only("vm-a"));

    bridge(&format!("fdb replace {mac} dev vm-t master static"));
    until("a static entry leads to its port", &only("vm-t"));
    bridge(&format!("fdb del {mac} dev vm-t master"));
    until("frames to a deleted station are flooded", &flooded);

    lab.learn("vm-a", 100, target);
    // BR_STATE_BLOCKING, the state that STP sets.
    bridge("link set dev vm-a state 4");
    wait_for("a blocked port gets nothing", || {
        let frame = lab.send(from, 100, sender, target);
        // Frames stay in order: after a frame arrived at vm-t, earlier frames have arrived at vm-a.
        lab.until_now("vm-t", 100);
        let came = lab.wire("vm-a").receive(Duration::ZERO);
        let came = came.and_then(|bytes| Frame::from_bytes(&bytes));
        let blocked = came.as_ref().is_none_or(|got| got.number() != frame.number());
        seen(came, blocked)
    });
    bridge("link set dev vm-a state 3");
    until("a port that forwards again gets its frames", &only("vm-a"));

    bridge("link set dev vm-b isolated on");
    bridge("link set dev vm-a isolated on");
    wait_until_eq("an isolated port gets nothing from another", &BTreeSet::new(), || {
        reached_from("vm-b", vm)
    });
    bridge("link set dev vm-b isolated off");
    until("a port that is no longer isolated gets its frames", &only("vm-a"));
}

#[test]
fn changes_to_the_bridge_apply_to_every_fast_path() {
    once();
    Path::FAST.into_iter().for_each(changes_to_the_bridge_apply);
}

/// A port is deleted while frames for it are in flight, and another device gets its index: no frame
/// reaches the other device.
fn deleted_port_gets_nothing(path: Path) {
    let lab = Lab::new("off", path);
    let _daemon = lab.node.run();
    let [target, sender] = [station(1), station(2)];
    let from = path.sender();
    lab.learn("vm-a", 100, target);
    lab.learn(from, 100, sender);
    let index = lab.node.netns.link("vm-a")["ifindex"].clone();
    lab.node.netns.sh("ip link del vm-a");
    let other = lab.others.name.clone();
    let node = &lab.node.netns.name;
    sh(&format!("ip -n {node} link add new index {index} type veth peer name new netns {other}"));
    lab.node.netns.sh("ip link set new up");
    lab.others.sh("ip link set new up");
    let new = crate::wire::Wire::open(&lab.others, "new");
    let mut frames = 0;
    wait_for("frames are flooded", || {
        frames += 1;
        let frame = lab.send(from, 100, sender, target);
        let got = lab.until_now("vm-t", 100);
        let flooded = got.iter().any(|got| got.number() == frame.number());
        seen(got, flooded)
    });
    println!("forward: {frames} frames until frames for the deleted port are flooded");
    assert_eq!(new.receive(Duration::ZERO), None);
}

#[test]
fn deleted_port_gets_no_frames() {
    once();
    Path::FAST.into_iter().for_each(deleted_port_gets_nothing);
}

/// When the agent is killed, frames continue to flow, and after a few seconds all take the bridge.
fn goes_on_without_the_agent(path: Path) {
    let lab = Lab::new("off", path);
    let daemon = lab.node.run();
    let [target, sender] = [station(1), station(2)];
    let from = path.sender();
    lab.learn("vm-a", 100, target);
    lab.learn(from, 100, sender);
    let fast = || super::forwarded(&lab.node, from, path.counted(from));
    let bypasses = || {
        let before = fast();
        lab.send(from, 100, sender, target);
        let after = fast();
        seen((before, after), after > before)
    };
    wait_for("frames bypass the bridge", bypasses);
    daemon.kill();
    let counted = || {
        let path = lab.node.pin("maps/FORWARDED");
        lab.node.netns.json(&format!("bpftool -j map dump pinned {path}"))
    };
    let mut frames = 0;
    wait_for("all frames take the bridge", || {
        let before = counted();
        for _ in 0..10 {
            frames += 1;
            let frame = lab.send(from, 100, sender, target);
            assert_eq!(lab.reached(100, &frame), BTreeSet::from(["vm-a"]), "frame {frames}");
        }
        let after = counted();
        let equal = after == before;
        seen((before, after), equal)
    });
    // A new agent enables the fast path again.
    let _daemon = lab.node.run();
    wait_for("frames bypass the bridge again", bypasses);
}

#[test]
fn forwarding_continues_without_the_agent() {
    once();
    Path::FAST.into_iter().for_each(goes_on_without_the_agent);
}
