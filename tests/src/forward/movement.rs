//! Stations that move, and ports that close or are deleted: the latest frame of a station decides
//! at once.

use std::{collections::BTreeSet, time::Duration};

use super::{Lab, station};
use crate::{
    Feature,
    frame::{BROADCAST, Frame},
    lab::{seen, sh, wait_for, wait_until_eq},
    needs,
};

/// A station moves through all ports of its VLAN, like a VM that is migrated in and out. From its
/// first frame at a new port, no frame for the station goes to the old port, and none is lost,
/// however late the agent hears of the move.
fn goes_around(filtering: &str) {
    const ROUNDS: usize = 8;
    let lab = Lab::new(filtering, "tc");
    let daemon = lab.node.run();
    let signal = |name| sh(&format!("kill -{name} {}", daemon.child.id()));
    let [mover, sender] = [station(1), station(2)];
    lab.learn("vm-t", 100, sender);
    lab.learn("vm-a", 100, mover);
    for round in 0..ROUNDS {
        for port in ["eth2", "vm-b", "vm-a"] {
            // The stopped agent does not hear of the move, and the programs still have the old
            // entry.
            signal("STOP");
            lab.send(port, 100, mover, BROADCAST);
            let frame = lab.send("vm-t", 100, sender, mover);
            assert_eq!(lab.reached(100, &frame), BTreeSet::from([port]), "round {round}");
            signal("CONT");
            let there = Some(port.to_owned());
            wait_until_eq("the agent knows of the move", &there, || lab.known(100, mover));
            let frame = lab.send("vm-t", 100, sender, mover);
            assert_eq!(lab.reached(100, &frame), BTreeSet::from([port]), "round {round}");
        }
    }
}

#[test]
fn moved_station_is_followed_on_an_unaware_bridge() {
    goes_around("off");
}

#[test]
fn moved_station_is_followed_on_an_aware_bridge() {
    if needs(&[Feature::VlanFiltering]) {
        goes_around("on");
    }
}

/// One address in two VLANs is two stations to a bridge that learns per VLAN.
#[test]
fn one_address_in_two_vlans_is_two_stations() {
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    let lab = Lab::new("on", "tc");
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

/// An operator's changes to the bridge's FDB and ports also apply to the fast path.
#[test]
fn changes_to_the_bridge_apply_to_the_fast_path() {
    let lab = Lab::new("off", "tc");
    let _daemon = lab.node.run();
    let [target, sender] = [station(1), station(2)];
    lab.learn("vm-a", 100, target);
    lab.learn("vm-b", 100, sender);
    let reached = || {
        let frame = lab.send("vm-b", 100, sender, target);
        lab.reached(100, &frame)
    };
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
    let bridge = |line: &str| lab.node.netns.sh(&format!("bridge {line}"));
    let mac = "02:74:ff:00:00:01";
    assert_eq!(reached(), only("vm-a"));

    bridge(&format!("fdb replace {mac} dev vm-t master static"));
    until("a static entry leads to its port", &only("vm-t"));
    bridge(&format!("fdb del {mac} dev vm-t master"));
    until("frames to a deleted station are flooded", &BTreeSet::from(["eth2", "vm-a", "vm-t"]));

    lab.learn("vm-a", 100, target);
    // BR_STATE_BLOCKING, the state that STP sets.
    bridge("link set dev vm-a state 4");
    wait_for("a blocked port gets nothing", || {
        let frame = lab.send("vm-b", 100, sender, target);
        // Frames stay in order: after a frame arrived at vm-t, earlier frames have arrived at vm-a.
        lab.until_now("vm-t", 100);
        let came = lab.wire("vm-a").receive(Duration::ZERO);
        let came = came.and_then(|bytes| Frame::from_bytes(&bytes));
        let blocked = came.as_ref().is_none_or(|got| got.number() != frame.number());
        seen(came, blocked)
    });
    bridge("link set dev vm-a state 3");
    until("a port that forwards again gets its frames", &only("vm-a"));

    let nobody = BTreeSet::new();
    bridge("link set dev vm-b isolated on");
    bridge("link set dev vm-a isolated on");
    until("an isolated port gets nothing from another", &nobody);
    bridge("link set dev vm-b isolated off");
    until("a port that is no longer isolated gets its frames", &only("vm-a"));
}

/// A port is deleted while frames for it are in flight, and another device gets its index: no frame
/// reaches the other device.
#[test]
fn deleted_port_gets_no_frames() {
    let lab = Lab::new("off", "tc");
    let _daemon = lab.node.run();
    let [target, sender] = [station(1), station(2)];
    lab.learn("vm-a", 100, target);
    lab.learn("vm-b", 100, sender);
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
        let frame = lab.send("vm-b", 100, sender, target);
        let got = lab.until_now("vm-t", 100);
        let flooded = got.iter().any(|got| got.number() == frame.number());
        seen(got, flooded)
    });
    println!("forward: {frames} frames until frames for the deleted port are flooded");
    assert_eq!(new.receive(Duration::ZERO), None);
}

/// When the agent is killed, frames continue to flow, and after a few seconds all take the bridge.
#[test]
fn forwarding_continues_without_the_agent() {
    let lab = Lab::new("off", "tc");
    let daemon = lab.node.run();
    let [target, sender] = [station(1), station(2)];
    lab.learn("vm-a", 100, target);
    lab.learn("vm-b", 100, sender);
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
            let frame = lab.send("vm-b", 100, sender, target);
            assert_eq!(lab.reached(100, &frame), BTreeSet::from(["vm-a"]), "frame {frames}");
        }
        let after = counted();
        let equal = after == before;
        seen((before, after), equal)
    });
    // A new agent enables the fast path again.
    let daemon = lab.node.run();
    let before = super::forwarded(&daemon, "vm-b", "tc");
    wait_for("frames bypass the bridge", || {
        lab.send("vm-b", 100, sender, target);
        let after = super::forwarded(&daemon, "vm-b", "tc");
        seen((before, after), after > before)
    });
}
