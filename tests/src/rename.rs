//! A port whose device is renamed keeps its filter, and is never a port without a filter.

use std::time::Duration;

use crate::{frame::Frame, lab::Netns, node::Node, wire::Wire};

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: off, uplink: { nics: [eth2], bond: { mode: none }, xdp: off } }
networks:
  v100: { clusterNetwork: oob, vlan: 100 }
  v200: { clusterNetwork: oob, vlan: 200 }
ports:
  - { device: tap7, network: v100 }
  - { device: tap8, network: v200 }
";

/// A node with the file applied, and the other ends of its links.
fn lab() -> (Node, Netns) {
    let (node, vms) = (Node::new(), Netns::new("vms"));
    for name in ["eth2", "tap7", "tap8"] {
        node.netns.veth(name, &vms, name);
    }
    node.apply(CONFIG);
    (node, vms)
}

#[test]
fn renamed_port_leaves_the_bridge_before_its_name_is_used_again() {
    let (node, vms) = lab();
    let [old, other] = ["tap7", "tap8"].map(|name| Wire::open(&vms, name));
    let leaks = |number| {
        old.send(&Frame::numbered(number, &[(0x8100, 200)]));
        other.receive(Duration::from_millis(300)).is_some()
    };

    node.netns.sh("ip link set tap7 down && ip link set tap7 name was7 && ip link set was7 up");
    assert!(!leaks(1), "the renamed port is filtered");
    let apply = node.netagent(&format!("apply -c {}", node.config()));
    assert_eq!(apply.status.code(), Some(3), "the port is not as desired");
    assert!(!leaks(2), "the renamed port is filtered after an apply that misses its device");

    node.netns.veth("tap7", &vms, "new7");
    node.ok(&format!("apply -c {}", node.config()));
    node.assert_settled();
    assert!(!leaks(3), "the renamed device has no programs and must not be a port");
    let was = node.netns.json("ip -j link show was7");
    assert!(was[0]["master"].is_null(), "{was}");
    let new = Wire::open(&vms, "new7");
    new.send(&Frame::numbered(4, &[]));
    let wire = Wire::open(&vms, "eth2");
    new.send(&Frame::numbered(5, &[]));
    let arrived = wire.receive(Duration::from_secs(5)).and_then(|bytes| Frame::from_bytes(&bytes));
    assert_eq!(arrived.map(|frame| frame.tags), Some(vec![(0x8100, 100)]));
}

#[test]
fn ports_that_exchange_their_names_exchange_their_networks() {
    let (node, vms) = lab();
    for (from, to) in [("tap7", "other"), ("tap8", "tap7"), ("other", "tap8")] {
        node.netns.sh(&format!(
            "ip link set {from} down && ip link set {from} name {to} && ip link set {to} up"
        ));
    }
    node.ok(&format!("apply -c {}", node.config()));
    node.assert_settled();
    let wire = Wire::open(&vms, "eth2");
    // The VMs' ends have kept their names.
    for (vm, vid) in [("tap7", 200), ("tap8", 100)] {
        Wire::open(&vms, vm).send(&Frame::numbered(vid.into(), &[]));
        let bytes = wire.receive(Duration::from_secs(5)).expect("a frame");
        let frame = Frame::from_bytes(&bytes).unwrap();
        assert_eq!((frame.number(), frame.tags), (vid.into(), vec![(0x8100, vid)]), "{vm}");
    }
}
