//! Changes of the file while frames flow. Unaffected ports lose no frame, and a port that changes
//! its VLAN is never in two VLANs.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    Feature,
    frame::{C, Frame, TEST},
    lab::Netns,
    needs,
    node::Node,
    wire::Wire,
};

struct Lab {
    node: Node,
    others: Netns,
    filtering: &'static str,
}

impl Lab {
    fn new(filtering: &'static str) -> Self {
        let lab = Self { node: Node::new(), others: Netns::new("others"), filtering };
        for link in ["eth2", "a100", "b100", "mover", "late"] {
            lab.node.netns.veth(link, &lab.others, link);
        }
        lab
    }

    /// Applies a file with these networks and ports in addition to those of VLAN 100; returns the
    /// steps.
    fn apply(&self, networks: &str, ports: &str) -> String {
        let steps = self.node.apply(&format!(
            "
clusterNetworks:
  oob: {{ vlanFiltering: {}, uplink: {{ nics: [eth2], bond: {{ mode: none }} }} }}
networks:
  v100: {{ clusterNetwork: oob, vlan: 100 }}
  v200: {{ clusterNetwork: oob, vlan: 200 }}
{networks}
ports:
  - {{ device: a100, network: v100 }}
  - {{ device: b100, network: v100 }}
{ports}
",
            self.filtering
        ));
        self.node.assert_settled();
        steps
    }

    fn wire(&self, link: &str) -> Wire {
        Wire::open(&self.others, link)
    }
}

/// Stops the threads when dropped, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends a few hundred numbered frames per second, tagged with these VIDs in turn (0: untagged);
/// returns the number of frames.
fn stream(wire: &Wire, from: u8, vids: &[u16], stop: &AtomicBool) -> u32 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let vid = vids[number as usize % vids.len()];
        let tag = (C, vid);
        let tags = if vid == 0 { &[][..] } else { std::slice::from_ref(&tag) };
        let mut frame = Frame::numbered(number, tags);
        // All frames have one source, so that the bridge learns only one station.
        frame.source = [2, 0, 0, 0, 0, from];
        wire.send(&frame);
        number += 1;
        // Limits the rate.
        thread::sleep(Duration::from_millis(3));
    }
    number
}

/// Collects frames until the senders have stopped: station, number, VID of the tag (0: untagged).
fn collect(wire: &Wire, stop: &AtomicBool) -> Vec<(u8, u32, u16)> {
    let mut got = Vec::new();
    loop {
        let ending = stop.load(Ordering::Relaxed);
        match wire.receive(Duration::from_millis(500)) {
            Some(bytes) => {
                let frame = Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST);
                got.extend(frame.map(|frame| {
                    let vid = frame.tags.first().map_or(0, |(_, tci)| tci & 0xfff);
                    (frame.source[5], frame.number(), vid)
                }));
            }
            None if ending => return got,
            None => {}
        }
    }
}

/// Asserts that no frame of this station is missing, and that all carry this tag.
fn assert_complete(what: &str, got: &[(u8, u32, u16)], from: u8, sent: u32, vid: u16) {
    let of_station: Vec<_> = got.iter().filter(|(station, ..)| *station == from).collect();
    let wrong = of_station.iter().find(|(.., tag)| *tag != vid);
    assert_eq!(wrong, None, "{what}: the tag is not {vid}");
    let missing: Vec<u32> = {
        let numbers: std::collections::BTreeSet<u32> =
            of_station.iter().map(|(_, number, _)| *number).collect();
        (0..sent).filter(|number| !numbers.contains(number)).collect()
    };
    assert!(
        missing.is_empty(),
        "{what}: {} of {sent} frames are missing: {missing:?}",
        missing.len()
    );
    assert_eq!(of_station.len(), sent as usize, "{what}: duplicate frames");
}

fn no_frame_is_lost(filtering: &'static str) {
    let lab = Lab::new(filtering);
    lab.apply("", "  - { device: mover, network: v200 }");
    let [wire, a100, b100] = ["eth2", "a100", "b100"].map(|link| lab.wire(link));
    let stop = &AtomicBool::new(false);
    let counted = || lab.node.packets("a100", "100");
    let (sent, got) = thread::scope(|scope| {
        let ending = Stop(stop);
        let sent = [(&a100, 1, &[0]), (&wire, 2, &[100])];
        let sent =
            sent.map(|(wire, from, vids)| scope.spawn(move || stream(wire, from, vids, stop)));
        let got = [&wire, &a100, &b100].map(|wire| scope.spawn(|| collect(wire, stop)));
        let mut before = counted();
        for (networks, ports, concerned) in [
            (
                "  v300: { clusterNetwork: oob, vlan: 300 }",
                "  - { device: mover, network: v200 }",
                &["eth2"][..],
            ),
            (
                "  v300: { clusterNetwork: oob, vlan: 300 }",
                "  - { device: mover, network: v200 }\n  - { device: late, network: v300 }",
                &["late"],
            ),
            (
                "  v300: { clusterNetwork: oob, vlan: 300 }",
                "  - { device: mover, network: v300 }\n  - { device: late, network: v300 }",
                &["mover"],
            ),
            (
                "  v300: { clusterNetwork: oob, vlan: 300 }\n  many: { clusterNetwork: oob, trunk: 1000-1099 }",
                "  - { device: mover, network: many }",
                &["eth2", "mover", "late"],
            ),
            ("", "", &["eth2", "mover"]),
        ] {
            let steps = lab.apply(networks, ports);
            let about = |step: &str| {
                concerned
                    .iter()
                    .any(|device| step.replace(':', "").split(' ').any(|word| word == *device))
            };
            assert!(
                steps.lines().all(|step| about(step) || step == "done, and verified"),
                "{concerned:?}:\n{steps}"
            );
            let after = counted();
            assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
            before = after;
        }
        drop(ending);
        (sent.map(|thread| thread.join().unwrap()), got.map(|thread| thread.join().unwrap()))
    });
    let [wire, near, far] = got;
    assert_complete("from a VM to the wire", &wire, 1, sent[0], 100);
    assert_complete("from a VM to a VM", &far, 1, sent[0], 0);
    assert_complete("from the wire to a VM", &near, 2, sent[1], 0);
    assert_complete("from the wire to the other VM", &far, 2, sent[1], 0);
    assert_eq!(counted(), (sent[0].into(), sent[1].into()), "all frames are counted");
}

#[test]
fn change_of_other_ports_loses_no_frame_on_an_unaware_bridge() {
    no_frame_is_lost("off");
}

#[test]
fn change_of_other_ports_loses_no_frame_on_an_aware_bridge() {
    if needs(&[Feature::VlanFiltering]) {
        no_frame_is_lost("on");
    }
}

fn never_in_two_vlans(filtering: &'static str) {
    let lab = Lab::new(filtering);
    lab.apply("", "  - { device: mover, network: v100 }");
    let [wire, mover] = ["eth2", "mover"].map(|link| lab.wire(link));
    let stop = &AtomicBool::new(false);
    let got = thread::scope(|scope| {
        let ending = Stop(stop);
        scope.spawn(|| stream(&mover, 1, &[0], stop));
        scope.spawn(|| stream(&wire, 2, &[100, 200], stop));
        let got = [&wire, &mover].map(|wire| scope.spawn(|| collect(wire, stop)));
        for vid in [200, 100, 200] {
            let steps = lab.apply("", &format!("  - {{ device: mover, network: v{vid} }}"));
            assert!(
                steps.lines().all(|step| step.contains("mover") || step == "done, and verified"),
                "{steps}"
            );
        }
        drop(ending);
        got.map(|thread| thread.join().unwrap())
    });
    // Even frame numbers from the wire are in VLAN 100, odd ones in VLAN 200.
    let heard = got[1].iter().map(|(_, number, _)| if number % 2 == 0 { 100 } else { 200 });
    let said = got[0].iter().map(|(.., vid)| *vid);
    for (what, vids) in [("heard", heard.collect::<Vec<u16>>()), ("said", said.collect())] {
        let mut turns = vids;
        turns.dedup();
        assert_eq!(turns, [100, 200, 100, 200], "the VLANs in which the mover was {what}");
    }
}

#[test]
fn port_that_changes_its_vlan_is_never_in_two_on_an_unaware_bridge() {
    never_in_two_vlans("off");
}

#[test]
fn port_that_changes_its_vlan_is_never_in_two_on_an_aware_bridge() {
    if needs(&[Feature::VlanFiltering]) {
        never_in_two_vlans("on");
    }
}
