//! No frame of a VLAN reaches a port of another VLAN: every kind of port as source, every kind of
//! tag stack, from the wire and from VMs, over VLAN-aware and VLAN-unaware bridges. The output of
//! every port must match the rules below exactly. They are a deliberate second implementation of
//! the agent's rules.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Feature,
    frame::{C, Frame, S, TEST},
    lab::{Netns, kernel_is_at_least},
    needs,
    node::Node,
    wire::Wire,
};

/// A port in the model of the test.
struct Port {
    name: &'static str,
    native: Option<u16>,
    vids: &'static [u16],
    takes_tags: bool,
}

const PORTS: [Port; 7] = [
    Port {
        name: "wire",
        native: Some(1),
        vids: &[1, 100, 200, 300, 301, 302, 400],
        takes_tags: true,
    },
    Port { name: "a100", native: Some(100), vids: &[100], takes_tags: false },
    Port { name: "b100", native: Some(100), vids: &[100], takes_tags: false },
    Port { name: "a200", native: Some(200), vids: &[200], takes_tags: false },
    Port { name: "plain", native: Some(1), vids: &[1], takes_tags: false },
    Port { name: "trunk", native: None, vids: &[300, 301, 302], takes_tags: true },
    Port { name: "hybrid", native: Some(200), vids: &[100, 200, 400], takes_tags: true },
];

const STACKS: &[&[(u16, u16)]] = &[
    &[],
    &[(C, 0)],
    &[(C, 0xa000)],
    &[(C, 1)],
    &[(C, 100)],
    &[(C, 0x7064)],
    &[(C, 200)],
    &[(C, 300)],
    &[(C, 302)],
    &[(C, 303)],
    &[(C, 400)],
    &[(C, 4094)],
    &[(C, 4095)],
    &[(S, 100)],
    &[(S, 0)],
    &[(C, 100), (C, 200)],
    &[(C, 200), (C, 100)],
    &[(C, 1), (C, 100)],
    &[(C, 1), (S, 100)],
    &[(C, 300), (C, 100)],
    &[(C, 400), (S, 200)],
    &[(C, 0), (C, 100)],
    &[(C, 0), (C, 0)],
    &[(C, 0), (S, 100)],
    &[(S, 100), (C, 200)],
    &[(S, 100), (S, 100)],
    &[(C, 100), (C, 200), (C, 300)],
];

const CONFIG: &str = "
clusterNetworks:
  oob:
    vlanFiltering: FILTERING
    uplink: { nics: [eth2], bond: { mode: none }, xdp: XDP }
networks:
  v100:   { clusterNetwork: oob, vlan: 100 }
  v200:   { clusterNetwork: oob, vlan: 200 }
  plain:  { clusterNetwork: oob }
  trunk:  { clusterNetwork: oob, trunk: 300-302 }
  hybrid: { clusterNetwork: oob, trunk: '100,400', native: 200 }
ports:
  - { device: a100, network: v100 }
  - { device: b100, network: v100 }
  - { device: a200, network: v200 }
  - { device: plain, network: plain }
  - { device: trunk, network: trunk }
  - { device: hybrid, network: hybrid }
";

/// The VLAN of a frame at ingress, its priority bits, and the inner tags.
type Class = (u16, u16, Vec<(u16, u16)>);

fn classify(port: &Port, tags: &[(u16, u16)]) -> Option<Class> {
    match tags {
        [(C, tci), ..] if tci & 0xfff == 4095 => None,
        [(C, tci)] if tci % 4096 == 0 => Some((port.native?, tci & 0xf000, vec![])),
        [(C, tci), ..] if tci % 4096 == 0 => None,
        [(C, tci), beneath @ ..] => {
            let vid = tci & 0xfff;
            let allowed = port.takes_tags && port.vids.contains(&vid);
            allowed.then(|| (vid, tci & 0xf000, beneath.to_vec()))
        }
        [] => Some((port.native?, 0, vec![])),
        // Payload, to a bridge of C-tags. Before 6.12 the kernel cannot push a tag over this tag.
        other => kernel_is_at_least(6, 12).then_some((port.native?, 0, other.to_vec())),
    }
}

/// The tags of a frame when it leaves a port in a VLAN; `None` if it does not leave.
fn leaves(port: &Port, (vid, priority, beneath): &Class) -> Option<Vec<(u16, u16)>> {
    if !port.vids.contains(vid) {
        return None;
    }
    if port.native == Some(*vid) {
        // Untagged. No inner tag may become visible.
        return beneath.is_empty().then(Vec::new);
    }
    let mut tags = vec![(C, priority | vid)];
    tags.extend(beneath);
    Some(tags)
}

/// A node with a port of each kind.
struct Switch {
    node: Node,
    _others: Netns,
    wires: Vec<Wire>,
}

fn switch(filtering: &str, xdp: &str) -> Switch {
    let node = Node::new();
    let others = Netns::new("others");
    let mut wires = Vec::new();
    for port in &PORTS {
        let end = if port.name == "wire" { "eth2" } else { port.name };
        node.netns.veth(end, &others, port.name);
        wires.push(Wire::open(&others, port.name));
    }
    node.apply(&CONFIG.replace("FILTERING", filtering).replace("XDP", xdp));
    node.assert_settled();
    Switch { node, _others: others, wires }
}

/// Sends all frames from all ports and compares the output of every port.
fn no_frame_leaves_its_vlan(filtering: &str, xdp: &str) {
    let switch = switch(filtering, xdp);
    let mut expected: Vec<BTreeMap<u32, Frame>> = PORTS.iter().map(|_| BTreeMap::new()).collect();
    let mut number = 0;
    for (source, port) in PORTS.iter().enumerate() {
        for stack in STACKS {
            number += 1;
            let frame = Frame::numbered(number, stack);
            if let Some(class) = classify(port, stack) {
                for (sink, to) in PORTS.iter().enumerate().filter(|(sink, _)| *sink != source) {
                    if let Some(tags) = leaves(to, &class) {
                        expected[sink].insert(number, frame.with_tags(&tags));
                    }
                }
            }
            switch.wires[source].send(&frame);
        }
    }
    assert!(expected.iter().all(|frames| !frames.is_empty()), "every port expects frames");
    for (wire, mut expected) in switch.wires.iter().zip(expected) {
        // After the last expected frame, wait a little for unexpected ones.
        let mut patience = Duration::from_secs(5);
        while let Some(bytes) = wire.receive(patience) {
            let Some(frame) = Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST)
            else {
                continue;
            };
            let sent = &STACKS[(frame.number() as usize - 1) % STACKS.len()];
            let source = PORTS[(frame.number() as usize - 1) / STACKS.len()].name;
            match expected.remove(&frame.number()) {
                None => panic!("{} got {frame:?}, sent by {source} as {sent:?}", wire.name),
                Some(wanted) => assert_eq!(frame, wanted, "{}: from {source}", wire.name),
            }
            if expected.is_empty() {
                patience = Duration::from_millis(200);
            }
        }
        assert!(expected.is_empty(), "{} did not get {:?}", wire.name, expected.values());
    }
    assert_vlan_1_is_only_where_asked_for(&switch, filtering);
}

/// Asserts that no VM port has VLAN 1 unless configured, neither in the policy nor in the bridge.
fn assert_vlan_1_is_only_where_asked_for(switch: &Switch, filtering: &str) {
    if filtering == "off" {
        return;
    }
    let vlans = switch.node.netns.json("bridge -j vlan show");
    for port in &PORTS {
        let name = if port.name == "wire" { "eth2" } else { port.name };
        let entry = vlans.as_array().unwrap().iter().find(|entry| entry["ifname"] == name).unwrap();
        let mut vids = Vec::new();
        for range in entry["vlans"].as_array().unwrap() {
            let first = range["vlan"].as_u64().unwrap();
            let last = range["vlanEnd"].as_u64().unwrap_or(first);
            vids.extend((first..=last).map(|vid| u16::try_from(vid).unwrap()));
        }
        assert_eq!(vids, port.vids, "{name}");
    }
}

#[test]
fn no_frame_leaves_its_vlan_on_an_unaware_bridge() {
    no_frame_leaves_its_vlan("off", "off");
}

#[test]
fn no_frame_leaves_its_vlan_on_an_unaware_bridge_with_xdp() {
    no_frame_leaves_its_vlan("off", "auto");
}

#[test]
fn no_frame_leaves_its_vlan_on_an_aware_bridge() {
    if needs(&[Feature::VlanFiltering]) {
        no_frame_leaves_its_vlan("on", "off");
    }
}

#[test]
fn no_frame_leaves_its_vlan_on_an_aware_bridge_with_xdp() {
    if needs(&[Feature::VlanFiltering]) {
        no_frame_leaves_its_vlan("on", "auto");
    }
}

/// XDP does not see a tag in the skb's metadata and reads the inner one. Here the uplink of a node
/// is connected to the uplink of another node, whose frames carry their tags in the metadata.
#[test]
fn hidden_tag_passes_no_filter() {
    let (near, far) = (Node::new(), Node::new());
    let vms = Netns::new("vms");
    near.netns.veth("eth2", &far.netns, "eth2");
    for node in [&near, &far] {
        node.netns.sh("ethtool -K eth2 txvlan on rxvlan on >/dev/null");
    }
    far.netns.veth("sender", &vms, "sender");
    near.netns.veth("a100", &vms, "a100");
    near.netns.veth("a200", &vms, "a200");
    let base = "
clusterNetworks:
  oob: { vlanFiltering: off, uplink: { nics: [eth2], bond: { mode: none } } }
";
    far.apply(&format!(
        "{base}
networks: {{ any: {{ clusterNetwork: oob, trunk: '100-300' }} }}
ports: [{{ device: sender, network: any }}]
"
    ));
    near.apply(&format!("{base}
networks: {{ v100: {{ clusterNetwork: oob, vlan: 100 }}, v200: {{ clusterNetwork: oob, vlan: 200 }} }}
ports: [{{ device: a100, network: v100 }}, {{ device: a200, network: v200 }}]
"));
    let [sender, a100, a200] = ["sender", "a100", "a200"].map(|name| Wire::open(&vms, name));
    // The outer tag travels in the metadata; XDP takes the inner tag for the outer one.
    sender.send(&Frame::numbered(1, &[(C, 300), (C, 100)]));
    sender.send(&Frame::numbered(2, &[(C, 300), (C, 200)]));
    sender.send(&Frame::numbered(3, &[(C, 200), (C, 100)]));
    sender.send(&Frame::numbered(4, &[(C, 300)]));
    sender.send(&Frame::numbered(5, &[(C, 100)]));
    sender.send(&Frame::numbered(6, &[(C, 200)]));
    for (wire, number) in [(a100, 5), (a200, 6)] {
        let mut got = Vec::new();
        let mut patience = Duration::from_secs(5);
        while let Some(bytes) = wire.receive(patience) {
            let frame = Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST);
            got.extend(frame.map(|frame| (frame.number(), frame.tags)));
            patience = Duration::from_millis(200);
        }
        assert_eq!(got, [(number, vec![])], "{}", wire.name);
    }
}
