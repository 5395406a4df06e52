//! CAP_NET_ADMIN and CAP_BPF are enough: an agent in a container has no CAP_PERFMON, without which
//! the verifier judges the programs as it judges those of a stranger.

use std::time::Duration;

use crate::{
    Feature,
    frame::{C, Frame},
    lab::{Netns, kernel_has, kernel_is_at_least, kernel_release, succeeded},
    node::Node,
    wire::Wire,
};

/// Every optional part of the programs, alone and together.
const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: FILTERING, uplink: { nics: [eth2], bond: { mode: none } } }
networks:
  plain: { clusterNetwork: oob, vlan: 100 }
  all:
    clusterNetwork: oob
    vlan: 100
    priorityTags: always
    security:
      isolated: true
      dhcpGuard: true
      raGuard: true
      mcastQuerierGuard: true
      addresses: 10.0.0.0/8
      maxMacs: 4
      storm: { broadcast: 100, multicast: 100, unknown: 100 }
  nonzero: { clusterNetwork: oob, vlan: 101, priorityTags: if-nonzero }
  trunk: { clusterNetwork: oob, trunk: '100-200', native: 100, nativeTagged: true }
QINQ
ports:
  - { device: vm1, network: plain }
  - { device: vm2, network: all }
  - { device: vm3, network: all, security: { macs: ['02:00:00:00:00:03'] } }
  - { device: vm4, network: plain, security: { macs: ['02:00:00:00:00:04'] } }
  - { device: vm5, network: plain, security: { dhcpGuard: true } }
  - { device: vm6, network: plain, security: { raGuard: true } }
  - { device: vm7, network: plain, security: { maxMacs: 32 } }
  - { device: vm8, network: plain, security: { storm: { unknown: 1000 } } }
  - { device: vm9, network: nonzero }
  - { device: vm10, network: trunk, silent: true }
  - { device: vm12, network: all, silent: true }
  - { device: vm13, network: plain, security: { mcastQuerierGuard: true } }
  - { device: vm14, network: plain, security: { addresses: [10.0.0.5, 'fd00::/64'] } }
";
const QINQ: &str = "
  qinq: { clusterNetwork: oob, qinq: 300, customerVids: 1-10, security: { maxMacs: 4, raGuard: true } }
";
const QINQ_PORT: &str = "  - { device: vm11, network: qinq }\n";

fn works(filtering: &str) {
    // Earlier kernels take a number on the stack for a pointer (kernel commit ab125ed3ec1c).
    if !kernel_is_at_least(6, 8) {
        println!("skipped: {}: kernel {} needs CAP_PERFMON", crate::test(), kernel_release());
        return;
    }
    let (node, others) = (Node::new(), Netns::new("others"));
    for name in ["eth2".to_owned()].into_iter().chain((1..=14).map(|vm| format!("vm{vm}"))) {
        node.netns.veth(&name, &others, &name);
    }
    // The kernel must be able to push a tag over another.
    let qinq = kernel_has(Feature::StackedTags);
    let config = CONFIG.replace("FILTERING", filtering);
    let config = config.replace("QINQ", if qinq { QINQ } else { "" });
    node.configure(&(config + if qinq { QINQ_PORT } else { "" }));
    let with_two = |arguments: &str| {
        let prefix = "setpriv --bounding-set=-all,+net_admin,+bpf --inh-caps=-all";
        let output = node.netns.output(&format!("{prefix} {}", node.line(arguments)));
        succeeded(&output).unwrap_or_else(|text| panic!("{arguments}: {text}"))
    };
    let lacks = node.netns.sh("setpriv --bounding-set=-all,+net_admin,+bpf setpriv --dump");
    assert!(!lacks.contains("perfmon") && lacks.contains("bpf"), "{lacks}");
    with_two(&format!("apply -c {}", node.config()));
    node.netns.wait_for_bridge_ports();
    let ports = with_two("show ports");
    assert!(!ports.contains("MISSING"), "{ports}");
    let (vm, wire) = (Wire::open(&others, "vm1"), Wire::open(&others, "eth2"));
    vm.send(&Frame::numbered(1, &[]));
    let came = wire.receive(Duration::from_secs(5)).and_then(|bytes| Frame::from_bytes(&bytes));
    assert_eq!(came, Some(Frame::numbered(1, &[(C, 100)])));
    with_two("detach");
    assert!(!node.pins.exists());
}

#[test]
fn two_are_enough_on_an_unaware_bridge() {
    works("off");
}

#[test]
fn two_are_enough_on_an_aware_bridge() {
    if crate::needs(&[Feature::VlanFiltering]) {
        works("on");
    }
}
