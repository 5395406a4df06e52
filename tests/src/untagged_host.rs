//! The node's own address on the native VLAN: untagged on the bridge itself, with a VM in this
//! VLAN.

use crate::{Feature, lab::Netns, needs, node::Node};

const CONFIG: &str = "
clusterNetworks:
  mgmt:
    vlanFiltering: FILTERING
    uplink: { nics: [eth0], bond: { mode: none } }
    host: { address: 10.9.0.1/24 }
networks:
  plain: { clusterNetwork: mgmt }
  v100:  { clusterNetwork: mgmt, vlan: 100 }
ports:
  - { device: plain, network: plain }
  - { device: v100, network: v100 }
";

fn the_node_is_reached_from_its_own_vlan_only(filtering: &str) {
    let node = Node::new();
    let [wire, plain, tenant] = ["wire", "plain", "v100"].map(Netns::new);
    for (end, other, address) in
        [("eth0", &wire, "10.9.0.2"), ("plain", &plain, "10.9.0.3"), ("v100", &tenant, "10.9.0.4")]
    {
        node.netns.veth(end, other, "eth0");
        other.sh(&format!("ip address add {address}/24 dev eth0"));
    }
    node.apply(&CONFIG.replace("FILTERING", filtering));
    node.assert_settled();
    let reaches = |from: &Netns, to: &str| {
        from.output(&format!("ping -q -c 3 -i 0.2 -W 1 {to}")).status.success()
    };
    for (from, to) in [
        (&wire, "10.9.0.1"),
        (&node.netns, "10.9.0.2"),
        (&plain, "10.9.0.1"),
        (&node.netns, "10.9.0.3"),
        (&plain, "10.9.0.2"),
    ] {
        assert!(reaches(from, to), "{} does not reach {to}", from.name);
    }
    for to in ["10.9.0.1", "10.9.0.2", "10.9.0.3"] {
        assert!(!reaches(&tenant, to), "VLAN 100 reaches {to}");
    }
    assert!(!reaches(&node.netns, "10.9.0.4"));
}

#[test]
fn node_is_reached_from_its_own_vlan_only_on_an_unaware_bridge() {
    the_node_is_reached_from_its_own_vlan_only("off");
}

#[test]
fn node_is_reached_from_its_own_vlan_only_on_an_aware_bridge() {
    if needs(&[Feature::VlanFiltering]) {
        the_node_is_reached_from_its_own_vlan_only("on");
    }
}
