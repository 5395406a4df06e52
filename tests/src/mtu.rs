//! The chain of MTUs: NIC, bond, bridge, host interface, VM port.

mod longest;

use crate::{
    Feature,
    lab::{Netns, wait_until_eq},
    needs,
    node::Node,
    once,
};

fn file(uplink: &str, host: &str, ports: &[&str]) -> String {
    let port = |device: &&str| format!("  - {{ device: {device}, network: v100 }}\n");
    let ports: String = ports.iter().map(port).collect();
    let ports = if ports.is_empty() { String::new() } else { format!("ports:\n{ports}") };
    format!(
        "
clusterNetworks:
  oob: {{ vlanFiltering: off, uplink: {{ {uplink} }}{host} }}
networks: {{ v100: {{ clusterNetwork: oob, vlan: 100 }} }}
{ports}"
    )
}

const NIC: &str = "nics: [eth2], bond: { mode: none }";

/// A node with NICs of this MTU, and VMs of 1500.
fn node(nics: &[&str], mtu: u32) -> (Node, Netns) {
    let (node, others) = (Node::new(), Netns::new("others"));
    for link in nics.iter().chain(&["vm-a", "vm-b"]) {
        node.netns.veth(link, &others, link);
    }
    for nic in nics {
        others.sh(&format!("ip link set {nic} mtu 9000"));
        node.netns.sh(&format!("ip link set {nic} mtu {mtu}"));
    }
    (node, others)
}

fn mtus<const N: usize>(node: &Node, devices: [&str; N]) -> [u64; N] {
    devices.map(|device| node.netns.link(device)["mtu"].as_u64().unwrap())
}

/// Applies a file that changes what the node lives on.
fn confirmed(node: &Node, yaml: &str) {
    node.configure(yaml);
    node.ok(&format!("apply --no-rollback -c {}{}", node.config(), node.confirm_all()));
}

#[test]
fn first_vm_does_not_lower_the_mtu_of_the_bridge() {
    once();
    let (node, _others) = node(&["eth2"], 9000);
    node.apply(&file(NIC, "", &[]));
    assert_eq!(mtus(&node, ["oob-br"]), [9000]);
    node.apply(&file(NIC, "", &["vm-a"]));
    assert_eq!(mtus(&node, ["oob-br", "eth2", "vm-a"]), [9000, 9000, 1500]);
    node.assert_settled();
}

#[test]
fn vm_with_a_low_mtu_does_not_lower_the_mtu_of_a_new_bridge() {
    once();
    let (node, _others) = node(&["eth2"], 1500);
    node.netns.sh("ip link set vm-a mtu 1400");
    node.apply(&file(NIC, "", &["vm-a"]));
    assert_eq!(mtus(&node, ["oob-br", "eth2", "vm-a"]), [1500, 1500, 1400]);
    node.assert_settled();
    let with_mtu =
        file(NIC, "", &["vm-a", "vm-b"]).replace("device: vm-b", "device: vm-b, mtu: 1300");
    node.apply(&with_mtu);
    assert_eq!(mtus(&node, ["oob-br", "vm-b"]), [1500, 1300]);
    node.assert_settled();
}

/// The bridge had the lowest MTU of its ports, and nobody has set it.
#[test]
fn vm_does_not_lower_the_mtu_of_a_bridge_that_was_there() {
    once();
    let (node, _others) = node(&["eth2"], 9000);
    node.netns.sh("ip link add name vmbr0 type bridge && ip link set vmbr0 up");
    node.netns.sh("ip link set eth2 master vmbr0");
    assert_eq!(mtus(&node, ["vmbr0"]), [9000]);
    let yaml = file(NIC, "", &["vm-a"]).replace("oob: {", "oob: { bridge: vmbr0,");
    node.apply(&yaml);
    assert_eq!(mtus(&node, ["vmbr0", "vm-a"]), [9000, 1500]);
    node.assert_settled();
}

#[test]
fn mtu_that_leaves_the_file_goes_back_to_that_with_which_the_device_was_found() {
    once();
    let (node, _others) = node(&["eth2"], 1500);
    let jumbo = file(&format!("{NIC}, mtu: 9000"), "", &["vm-a"])
        .replace("device: vm-a", "device: vm-a, mtu: 9000");
    let devices = ["eth2", "oob-br", "vm-a"];
    node.apply(&jumbo);
    assert_eq!(mtus(&node, devices), [9000; 3]);
    node.apply(&file(NIC, "", &["vm-a"]));
    assert_eq!(mtus(&node, devices), [1500; 3]);
    node.assert_settled();
    // What somebody else sets stays.
    node.apply(&jumbo);
    node.netns.sh("ip link set eth2 mtu 4000");
    node.apply(&file(NIC, "", &["vm-a"]));
    assert_eq!(mtus(&node, devices), [4000, 4000, 1500]);
    node.assert_settled();
}

#[test]
fn mtu_of_a_bond_that_leaves_the_file_goes_back_to_the_default() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let (node, _others) = node(&["eth2", "eth3"], 1500);
    let devices = ["eth2", "eth3", "oob-bo", "oob-br"];
    for (keys, mtu) in [(", mtu: 9000", 9000), ("", 1500), (", mtu: 1400", 1400), ("", 1500)] {
        node.apply(&file(&format!("nics: [eth2, eth3]{keys}"), "", &["vm-a"]));
        assert_eq!(mtus(&node, devices), [mtu; 4], "{keys}");
        node.assert_settled();
    }
}

#[test]
fn host_interface_follows_its_bridge() {
    if !needs(&[Feature::VlanDevices]) {
        return;
    }
    let (node, _others) = node(&["eth2"], 9000);
    let host = ", host: { vlan: 10, address: 10.0.0.5/24 }";
    let with = |keys: &str, host: &str| file(&format!("{NIC}{keys}"), host, &["vm-a"]);
    let devices = ["oob-br", "oob-br.10"];
    for (keys, mtu) in [(", mtu: 9000", 9000), (", mtu: 1500", 1500), (", mtu: 9000", 9000)] {
        confirmed(&node, &with(keys, host));
        assert_eq!(mtus(&node, devices), [mtu; 2], "{keys}");
        node.assert_settled();
    }
    confirmed(&node, &with(", mtu: 9000", &host.replace("10,", "10, mtu: 1500,")));
    assert_eq!(mtus(&node, devices), [9000, 1500]);
    node.assert_settled();
    confirmed(&node, &with("", host));
    let _daemon = node.run();
    assert_eq!(mtus(&node, devices), [9000; 2]);
    for device in devices {
        node.netns.sh(&format!("ip link set {device} mtu 1500"));
        wait_until_eq("both are repaired", &[9000; 2], || mtus(&node, devices));
    }
}

/// The kernel lowers the bridge once, as nobody has set its MTU yet.
#[test]
fn mtu_of_a_bridge_that_the_kernel_has_lowered_is_repaired() {
    once();
    let (node, _others) = node(&["eth2"], 1500);
    node.configure(&file(NIC, "", &["vm-a"]));
    let _daemon = node.run();
    for mtu in [1400, 1300] {
        node.netns.sh(&format!("ip link set vm-a mtu {mtu}"));
        wait_until_eq("the bridge has its MTU again", &[1500], || mtus(&node, ["oob-br"]));
    }
    node.netns.sh("ip link set eth2 mtu 9000");
    wait_until_eq("the bridge follows its uplink", &[9000], || mtus(&node, ["oob-br"]));
}
