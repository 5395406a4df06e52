//! The agent is killed and restarted, finds replaced devices, and rejects bad files.

use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    frame::{C, Frame, TEST},
    lab::{Netns, seen, wait_for, wait_until_eq},
    node::Node,
    once,
    wire::Wire,
};

/// A file with an uplink and ports of (device, VLAN).
fn file(ports: &[(&str, u16)]) -> String {
    let port = |(port, vid): &(&str, u16)| format!("  - {{ device: {port}, network: v{vid} }}\n");
    format!(
        "
clusterNetworks: {{ oob: {{ uplink: {{ nics: [eth2], bond: {{ mode: none }} }} }} }}
networks: {{ v100: {{ clusterNetwork: oob, vlan: 100 }}, v200: {{ clusterNetwork: oob, vlan: 200 }} }}
ports:
{}",
        ports.iter().map(port).collect::<Vec<_>>().concat()
    )
}

const BOTH: [(&str, u16); 2] = [("a100", 100), ("a200", 200)];

/// A node and the other ends of its links.
pub struct Lab {
    pub node: Node,
    vms: Netns,
    switch: Netns,
}

impl Lab {
    pub fn new() -> Self {
        let (node, vms, switch) = (Node::new(), Netns::new("vms"), Netns::new("switch"));
        node.netns.veth("eth2", &switch, "eth2");
        let lab = Self { node, vms, switch };
        lab.plug("a100", 1100);
        lab.plug("a200", 1200);
        lab.node.configure(&file(&BOTH));
        lab
    }

    /// Adds the link of a VM. Its end in the node has this index.
    fn plug(&self, port: &str, index: u32) {
        self.node.netns.sh(&format!(
            "ip link add {port} index {index} type veth peer name {port} netns {}",
            self.vms.name
        ));
        for netns in [&self.node.netns, &self.vms] {
            netns.sh(&format!("ethtool -K {port} txvlan off >/dev/null && ip link set {port} up"));
        }
    }

    /// Asserts that each VM receives only its VLAN from the wire, and that the wire receives only
    /// untagged frames from a VM, in the VM's VLAN.
    pub fn assert_filters(&self) {
        let wire = Wire::open(&self.switch, "eth2");
        let vms = BOTH.map(|(port, vid)| (Wire::open(&self.vms, port), vid));
        // The number of each frame is its VID.
        for vid in [100, 200, 300] {
            wire.send(&Frame::numbered(vid.into(), &[(C, vid)]));
        }
        for (vm, vid) in &vms {
            assert_eq!(received(vm), [(u32::from(*vid), vec![])], "{}", vm.name);
            vm.send(&Frame::numbered(1, &[(C, 300 - vid)]));
            vm.send(&Frame::numbered(u32::from(*vid), &[]));
        }
        let expected = BOTH.map(|(_, vid)| (u32::from(vid), vec![(C, vid)]));
        assert_eq!(received(&wire), expected, "{}", wire.name);
    }

    /// All attached programs with the links that hold them.
    fn held(&self) -> String {
        let node = &self.node;
        let links = format!(
            "for pin in {}*/*; do echo $pin; bpftool -j link show pinned $pin; done",
            node.pin("links/")
        );
        let filters = "for dev in eth2 a100 a200; do for side in ingress egress; do tc filter show dev $dev $side; done; done";
        node.netns.sh(&format!("{links}; {filters}"))
    }
}

/// Numbers and tags of the test frames that arrive until a short silence.
fn received(wire: &Wire) -> Vec<(u32, Vec<(u16, u16)>)> {
    let (mut got, mut patience) = (Vec::new(), Duration::from_secs(2));
    while let Some(bytes) = wire.receive(patience) {
        if let Some(frame) = Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST) {
            got.push((frame.number(), frame.tags));
            patience = Duration::from_millis(200);
        }
    }
    got
}

#[test]
fn filtering_continues_without_the_agent_and_a_restart_adopts_the_programs() {
    let lab = Lab::new();
    let daemon = lab.node.run();
    lab.assert_filters();
    let before = lab.held();
    daemon.kill();
    lab.assert_filters();
    let daemon = lab.node.run();
    lab.assert_filters();
    assert_eq!(lab.held(), before);
    daemon.kill();
    lab.node.assert_settled();
    // Three rounds of frames were sent. A program that is attached twice would have counted twice.
    for (port, vid) in BOTH {
        assert_eq!(lab.node.packets(port, &vid.to_string()), (3, 3), "{port}");
    }
}

#[test]
fn apply_killed_at_any_point_is_completed_by_the_next() {
    let lab = Lab::new();
    let apply = format!("apply -c {}", lab.node.config());
    let started = Instant::now();
    lab.node.ok(&apply);
    let whole = started.elapsed();
    for point in 0..10 {
        // Even rounds start from nothing, odd rounds change all ports.
        if point % 2 == 0 {
            lab.node.ok("detach");
        } else {
            lab.node.apply(&file(&[("a100", 200), ("a200", 100)]));
        }
        lab.node.configure(&file(&BOTH));
        let mut killed = lab.node.command(&apply).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(whole * point / 10);
        killed.kill().unwrap();
        killed.wait().unwrap();
        lab.node.ok(&apply);
        lab.node.assert_settled();
        lab.assert_filters();
    }
}

#[test]
fn device_with_a_reused_index_inherits_nothing() {
    let lab = Lab::new();
    let apply = format!("apply -c {}", lab.node.config());
    lab.node.ok(&apply);
    // The two devices exchange their indexes, and a new device gets a former index of one of them.
    lab.node.netns.sh("ip link del a100; ip link del a200");
    lab.plug("a100", 1200);
    lab.plug("a200", 1100);
    lab.node.ok(&apply);
    lab.node.assert_settled();
    lab.assert_filters();
    lab.node.netns.sh("ip link del a100");
    lab.plug("a100", 1300);
    lab.plug("stranger", 1200);
    lab.node.ok(&apply);
    lab.node.assert_settled();
    lab.assert_filters();
    let shown = lab.node.ok("show ports -j");
    assert!(!shown.contains("stranger"), "{shown}");
    let stranger = lab.node.netns.link("stranger");
    assert!(stranger["master"].is_null(), "{stranger}");
    let policies = lab.node.netns.sh(&format!(
        "bpftool map dump pinned {} | grep -c '\"ifindex\": 1200' || true",
        lab.node.pin("maps/PORT_INDEX")
    ));
    assert_eq!(policies.trim(), "0", "the new device has a policy");
}

#[test]
fn devices_that_are_replaced_at_run_time_are_never_unfiltered() {
    let lab = Lab::new();
    let daemon = lab.node.run();
    for index in [1201, 1202, 1200] {
        lab.node.netns.sh("ip link del a200");
        // A device that disappears during a look seems to have lost its programs.
        daemon.wait_until_ready();
        lab.plug("a200", index);
        let (vm, wire) = (Wire::open(&lab.vms, "a200"), Wire::open(&lab.switch, "eth2"));
        wait_until_eq("the new device is in the bridge", &json!("oob-br"), || {
            vm.send(&Frame::numbered(1, &[(C, 100)]));
            vm.send(&Frame::numbered(2, &[]));
            lab.node.netns.link("a200")["master"].clone()
        });
        wait_for("the agent is ready", || {
            vm.send(&Frame::numbered(1, &[(C, 100)]));
            let answer = daemon.get("readyz");
            let ready = answer.starts_with("ready");
            seen(answer, ready)
        });
        let got = received(&wire);
        assert!(
            got.iter().all(|(number, tags)| (*number, &tags[..]) == (2, &[(C, 200)])),
            "{got:?}"
        );
        lab.node.wait_until_settled("the plan is empty");
        lab.assert_filters();
    }
}

#[test]
fn bad_file_changes_nothing_and_the_next_good_file_is_applied() {
    once();
    let lab = Lab::new();
    lab.node.configure(&file(&BOTH[..1]));
    let daemon = lab.node.run();
    lab.node.netns.wait_for_carriers();
    let before = lab.node.netns.sh("ip -j link");
    lab.node.configure(&file(&[("a100", 100), ("a100", 200)]));
    daemon.hangup();
    assert!(daemon.get("readyz").starts_with("ready"));
    assert_eq!(lab.node.netns.sh("ip -j link"), before);
    lab.node.configure(&file(&BOTH));
    daemon.hangup();
    wait_until_eq("the new port is in the bridge", &json!("oob-br"), || {
        lab.node.netns.link("a200")["master"].clone()
    });
    daemon.wait_until_ready();
    lab.assert_filters();
}
