//! QinQ: a customer's VLANs inside a service VLAN. Priority tags towards a VM.

mod admitted;
mod every_path;

use std::time::Duration;

use crate::{
    Feature,
    forward::crossing::{At, Tags},
    frame::{C, Frame, S, TEST},
    lab::{Netns, kernel_is_at_least},
    needs,
    node::Node,
    wire::Wire,
};

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: FILTERING, fastPath: PATH, uplink: { nics: [eth2], bond: { mode: none }, mtu: 1504, xdp: XDP } }
networks:
  v100:  { clusterNetwork: oob, vlan: 100 }
  some:  { clusterNetwork: oob, qinq: 3000, customerVids: 10-20 }
  every: { clusterNetwork: oob, qinq: 3001, tpid: 802.1Q }
  never: { clusterNetwork: oob, vlan: 200 }
  some-priority: { clusterNetwork: oob, vlan: 200, priorityTags: if-nonzero }
  all-priority:  { clusterNetwork: oob, vlan: 200, priorityTags: always }
ports:
  - { device: a100, network: v100 }
  - { device: some1, network: some }
  - { device: some2, network: some }
  - { device: every, network: every }
  - { device: never, network: never }
  - { device: ifset, network: some-priority }
  - { device: always, network: all-priority }
";

const PORTS: [&str; 8] = ["eth2", "a100", "some1", "some2", "every", "never", "ifset", "always"];

/// A port, the tags of a frame that enters there, and the ports and tags with which it leaves.
const CASES: &[(&str, Tags<'_>, &[At<'_>])] = &[
    // All frames of the customer get the service tag, with their own priority.
    ("some1", &[], &[("eth2", &[(S, 3000)]), ("some2", &[])]),
    ("some1", &[(C, 10)], &[("eth2", &[(S, 3000), (C, 10)]), ("some2", &[(C, 10)])]),
    ("some1", &[(C, 0xb014)], &[("eth2", &[(S, 0xbbb8), (C, 0xb014)]), ("some2", &[(C, 0xb014)])]),
    ("some1", &[(C, 0)], &[("eth2", &[(S, 3000), (C, 0)]), ("some2", &[(C, 0)])]),
    (
        "some1",
        &[(C, 10), (C, 99)],
        &[("eth2", &[(S, 3000), (C, 10), (C, 99)]), ("some2", &[(C, 10), (C, 99)])],
    ),
    ("some1", &[(S, 10)], &[("eth2", &[(S, 3000), (S, 10)]), ("some2", &[(S, 10)])]),
    ("some1", &[(C, 21)], &[]),
    ("some1", &[(C, 100)], &[]),
    ("some1", &[(C, 3000)], &[]),
    ("some1", &[(C, 4095)], &[]),
    ("every", &[], &[("eth2", &[(C, 3001)])]),
    ("every", &[(C, 100)], &[("eth2", &[(C, 3001), (C, 100)])]),
    ("every", &[(C, 4094)], &[("eth2", &[(C, 3001), (C, 4094)])]),
    // From the wire: the S-tag distinguishes a service VLAN from a VLAN.
    ("eth2", &[(S, 3000)], &[("some1", &[]), ("some2", &[])]),
    ("eth2", &[(S, 0x6bb8), (C, 12)], &[("some1", &[(C, 12)]), ("some2", &[(C, 12)])]),
    ("eth2", &[(S, 3000), (C, 21)], &[]),
    ("eth2", &[(S, 3000), (C, 100)], &[]),
    ("eth2", &[(S, 2999), (C, 12)], &[]),
    ("eth2", &[(S, 100)], &[]),
    ("eth2", &[(S, 0), (C, 100)], &[]),
    ("eth2", &[(C, 3000), (C, 12)], &[]),
    ("eth2", &[(C, 3000)], &[]),
    ("eth2", &[(C, 3001), (C, 100)], &[("every", &[(C, 100)])]),
    ("eth2", &[(S, 3001), (C, 100)], &[]),
    ("eth2", &[(C, 100)], &[("a100", &[])]),
    // Priority tags.
    (
        "eth2",
        &[(C, 0xa0c8)],
        &[("never", &[]), ("ifset", &[(C, 0xa000)]), ("always", &[(C, 0xa000)])],
    ),
    (
        "eth2",
        &[(C, 0x10c8)],
        &[("never", &[]), ("ifset", &[(C, 0x1000)]), ("always", &[(C, 0x1000)])],
    ),
    ("eth2", &[(C, 200)], &[("never", &[]), ("ifset", &[]), ("always", &[(C, 0)])]),
    ("never", &[], &[("eth2", &[(C, 200)]), ("ifset", &[]), ("always", &[(C, 0)])]),
    (
        "ifset",
        &[(C, 0x6000)],
        &[("eth2", &[(C, 0x60c8)]), ("never", &[]), ("always", &[(C, 0x6000)])],
    ),
    // A priority tag does not hide another tag.
    ("eth2", &[(C, 0xa0c8), (C, 100)], &[]),
];

/// The other ends of the ports take a frame that is one tag longer.
fn make_room_for_a_tag(others: &Netns, ports: &[&str]) {
    ports.iter().for_each(|port| drop(others.sh(&format!("ip link set {port} mtu 1504"))));
}

fn every_case(filtering: &str, xdp: &str) {
    let (node, others) = (Node::new(), Netns::new("others"));
    for name in PORTS {
        node.netns.veth(name, &others, name);
    }
    make_room_for_a_tag(&others, &PORTS);
    let wires = PORTS.map(|name| Wire::open(&others, name));
    let wire = |name: &str| &wires[PORTS.iter().position(|port| *port == name).unwrap()];
    node.apply(&CONFIG.replace("FILTERING", filtering).replace("PATH", "tc").replace("XDP", xdp));
    node.assert_settled();
    for (number, (from, tags, _)) in (1..).zip(CASES) {
        wire(from).send(&Frame::numbered(number, tags));
    }
    for (name, wire) in PORTS.iter().zip(&wires) {
        let mut expected = Vec::new();
        for (number, (_, _, leaves)) in (1u32..).zip(CASES) {
            let here = leaves.iter().filter(|(port, _)| port == name);
            expected.extend(here.map(|(_, tags)| (number, tags.to_vec())));
        }
        let mut got = Vec::new();
        let mut patience = Duration::from_secs(5);
        while let Some(bytes) = wire.receive(patience) {
            let Some(frame) = Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST)
            else {
                continue;
            };
            assert_eq!(frame, Frame::numbered(frame.number(), &frame.tags), "payload");
            got.push((frame.number(), frame.tags));
            if got.len() >= expected.len() {
                patience = Duration::from_millis(200);
            }
        }
        let odd = |these: &[(u32, Vec<(u16, u16)>)], those: &[(u32, Vec<(u16, u16)>)]| {
            let odd = these.iter().filter(|one| !those.contains(one));
            odd.map(|(number, tags)| format!("{:?} as {tags:x?}", CASES[*number as usize - 1]))
                .collect::<Vec<_>>()
        };
        assert_eq!(odd(&got, &expected), odd(&expected, &got), "{name}: unexpected, and missing");
        assert_eq!(got, expected, "{name}");
    }
    // The counters have the service VLAN.
    assert_eq!(node.packets("some1", "3000").0, 6);
    // No customer can have VID 4095, whatever its network allows.
    assert_eq!(node.drops()[&("some1".into(), "reserved-vid".into())], 1);
}

#[test]
fn service_vlan_carries_its_customer_on_an_unaware_bridge() {
    if modern() {
        every_case("off", "off");
        every_case("off", "auto");
    }
}

#[test]
fn service_vlan_carries_its_customer_on_an_aware_bridge() {
    if needs(&[Feature::VlanFiltering]) && modern() {
        every_case("on", "auto");
    }
}

/// A kernel before 6.12 cannot push a tag over another: the port is refused.
pub fn modern() -> bool {
    if kernel_is_at_least(6, 12) {
        return true;
    }
    let (node, others) = (Node::new(), Netns::new("others"));
    node.netns.veth("vm-a", &others, "vm-a");
    node.configure(
        "
clusterNetworks: { oob: {} }
networks: { some: { clusterNetwork: oob, qinq: 3000 } }
ports: [{ device: vm-a, network: some }]
",
    );
    let output = node.netagent(&format!("apply -c {}", node.config()));
    let refusal = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{refusal}");
    assert!(refusal.contains("vm-a") && refusal.contains("6.12"), "{refusal}");
    assert!(node.netns.link("vm-a")["master"].is_null(), "the port is plugged in");
    false
}
