//! Stations that move, and ports that close or go: what is heard last counts, from the first frame
//! on.

use std::{collections::BTreeSet, time::Duration};

use super::{Lab, station};
use crate::{
    Feature,
    frame::{BROADCAST, Frame},
    lab::{seen, sh, wait_for, wait_until_eq},
    needs,
};

/// A station goes around all ports of its VLAN, as a VM that is migrated in and out does: from the
/// first frame that it sends elsewhere, no frame for it goes to where it was, and none is lost,
/// however long the agent takes to hear of it.
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
            // While it hears nothing, the programs still believe it.
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
fn a_station_that_moves_is_followed_on_an_unaware_bridge() {
    goes_around("off");
}

#[test]
fn a_station_that_moves_is_followed_on_an_aware_bridge() {
    if needs(&[Feature::VlanFiltering]) {
        goes_around("on");
    }
}

/// One address in two VLANs is two stations to a bridge that learns for each VLAN.
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

/// What an operator says of the bridge's table and ports holds for the way past it as well.
#[test]
fn the_bridges_own_word_counts() {
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
    until("a station that is deleted is flooded for", &BTreeSet::from(["eth2", "vm-a", "vm-t"]));

    lab.learn("vm-a", 100, target);
    // BR_STATE_BLOCKING, as STP sets it.
    bridge("link set dev vm-a state 4");
    wait_for("a blocked port gets nothing", || {
        let frame = lab.send("vm-b", 100, sender, target);
        // Frames stay in order: what comes out of one port is behind what came out of another.
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
    until("what is no longer isolated gets its frames", &only("vm-a"));
}

/// A port goes while frames for it are on their way, and another device gets its index: no frame
/// reaches that.
#[test]
fn a_port_that_is_gone_gets_nothing() {
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
    println!("forward: {frames} frames until the others get what was for the port that is gone");
    assert_eq!(new.receive(Duration::ZERO), None);
}

/// An agent that is killed takes nobody's network with it: frames go on, and after a few seconds by
/// the bridge.
#[test]
fn frames_go_on_without_the_agent() {
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
    // One that starts takes the way past the bridge again.
    let daemon = lab.node.run();
    let before = super::forwarded(&daemon, "vm-b", "tc");
    wait_for("frames bypass the bridge", || {
        lab.send("vm-b", 100, sender, target);
        let after = super::forwarded(&daemon, "vm-b", "tc");
        seen((before, after), after > before)
    });
}
