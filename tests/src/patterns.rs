//! Patterns of devices: a tap or veth becomes a port when it comes up, and is none when it goes or
//! gets another name.

use serde_json::Value;

use crate::{
    frame::Frame,
    lab::{Netns, seen, wait_for, wait_until_eq},
    node::Node,
    once,
    wire::Wire,
};

const CONFIG: &str = "
clusterNetworks:
  lab: { uplink: { nics: [eth2], bond: { mode: none }, xdp: off } }
networks:
  n100: { clusterNetwork: lab, vlan: 100 }
  n200: { clusterNetwork: lab, vlan: 200 }
metrics: { listen: \"127.0.0.1:9469\" }
ports:
  - { device: \"vnet*\", network: n100 }
";

/// A node with an uplink, and the other ends of its links.
fn lab() -> (Node, Netns) {
    let (node, vms) = (Node::new(), Netns::new("vms"));
    node.netns.veth("eth2", &vms, "wire");
    node.configure(CONFIG);
    (node, vms)
}

/// Device, network and source of each port, and its state, as `netagent port list` has them.
fn ports(node: &Node) -> Vec<String> {
    let ports: Value = serde_json::from_str(&node.ok("port list -j")).unwrap();
    let row = |port: &Value| {
        let text = |key: &str| port[key].as_str().unwrap();
        let place = text("origin").rsplit('/').next().unwrap();
        format!("{} {} {place} {}", text("device"), text("network"), text("state"))
    };
    ports.as_array().unwrap().iter().map(row).collect()
}

fn wait_for_ports(node: &Node, wanted: &[&str]) {
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    wait_until_eq("the ports", &wanted, || ports(node));
}

/// Waits until frames of a VM arrive at the wire in this VLAN.
fn wait_for_vlan(vms: &Netns, vm: &str, vid: u16) {
    let (from, wire) = (Wire::open(vms, vm), Wire::open(vms, "wire"));
    wait_for(&format!("{vm} is in VLAN {vid}"), || {
        from.send(&Frame::numbered(1, &[]));
        let bytes = wire.receive(std::time::Duration::from_millis(200));
        let tags = bytes.and_then(|bytes| Frame::from_bytes(&bytes)).map(|frame| frame.tags);
        let arrived = tags == Some(vec![(0x8100, vid)]);
        seen(tags, arrived)
    });
}

fn master(node: &Node, device: &str) -> Value {
    node.netns.link(device)["master"].clone()
}

/// The findings with a code.
fn findings(node: &Node, code: &str) -> Vec<String> {
    let output = node.netagent("status -j");
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = status["findings"].as_array().unwrap().iter().filter(|it| it["code"] == code);
    found.map(|finding| finding["text"].as_str().unwrap().to_owned()).collect()
}

const PATTERN: &str = "n100 node.yaml:9:5 (vnet*) Ready";

#[test]
fn a_device_that_comes_up_becomes_a_port_and_is_none_when_it_is_gone() {
    let (node, vms) = lab();
    let daemon = node.run();
    assert_eq!(ports(&node), [""; 0], "a pattern waits silently");
    node.netns.sh("ip link add vnet0 type veth peer name vm0");
    node.netns.sh(&format!("ip link set vm0 up netns {}", vms.name));
    let down = "vnet0: left alone by";
    wait_for("it is down", || {
        let found = findings(&node, "left-alone");
        let says = found.len() == 1 && found[0].starts_with(down) && found[0].ends_with("is down");
        seen(found, says)
    });
    assert_eq!(master(&node, "vnet0"), Value::Null);
    vms.sh("ip link set vm0 up");
    node.netns.sh("ip link set vnet0 up");
    wait_for_ports(&node, &[&format!("vnet0 {PATTERN}")]);
    assert_eq!(findings(&node, "left-alone"), [""; 0]);
    wait_for_vlan(&vms, "vm0", 100);
    // What was plugged in once stays, and is repaired.
    node.netns.sh("ip link set vnet0 nomaster && ip address add 10.9.9.9/24 dev vnet0");
    wait_until_eq("it is repaired", &Value::from("lab-br"), || master(&node, "vnet0"));
    node.netns.sh("ip address del 10.9.9.9/24 dev vnet0");
    // Another device of this name is not the same.
    let index = node.netns.link("vnet0")["ifindex"].clone();
    node.netns.sh("ip link del vnet0");
    wait_for_ports(&node, &[]);
    node.netns.veth("vnet0", &vms, "vm0");
    wait_for_ports(&node, &[&format!("vnet0 {PATTERN}")]);
    assert_ne!(node.netns.link("vnet0")["ifindex"], index);
    wait_for_vlan(&vms, "vm0", 100);
    // Nor is it if it has the interface index as well.
    let index = node.netns.link("vnet0")["ifindex"].clone();
    node.netns.sh(&format!(
        "ip link del vnet0 && ip link add vnet0 index {index} type veth peer name vm0 netns {}
         ip link set vnet0 up",
        vms.name
    ));
    vms.sh("ethtool -K vm0 txvlan off >/dev/null && ip link set vm0 up");
    wait_until_eq("it is on the bridge", &Value::from("lab-br"), || master(&node, "vnet0"));
    wait_for_vlan(&vms, "vm0", 100);
    wait_for_ports(&node, &[&format!("vnet0 {PATTERN}")]);
    // A restart of the agent, with the device, and without.
    daemon.kill();
    let daemon = node.run();
    wait_for_ports(&node, &[&format!("vnet0 {PATTERN}")]);
    daemon.kill();
    node.netns.sh("ip link del vnet0");
    // The file of the node has the pattern: an apply without a daemon does the same.
    node.netns.veth("vnet1", &vms, "vm1");
    node.ok(&format!("apply -c {}", node.config()));
    node.assert_settled();
    assert_eq!(master(&node, "vnet1"), "lab-br");
    wait_for_vlan(&vms, "vm1", 100);
    node.netns.sh("ip link del vnet1");
    node.ok(&format!("apply -c {}", node.config()));
    node.assert_settled();
    assert_eq!(node.ok("show ports").lines().filter(|line| line.contains("vnet")).count(), 0);
}

#[test]
fn a_device_follows_its_name_into_a_pattern_and_out_of_it() {
    once();
    let (node, vms) = lab();
    node.netns.veth("other", &vms, "vm0");
    let daemon = node.run();
    let rename = |from: &str, to: &str| {
        node.netns.sh(&format!("ip link set {from} down && ip link set {from} name {to}"));
        node.netns.sh(&format!("ip link set {to} up"));
    };
    // The devices that have programs.
    let programs = || -> Vec<String> {
        let links = std::fs::read_dir(node.pin("links")).unwrap();
        let names = links.map(|link| link.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    rename("other", "vnet7");
    wait_for_ports(&node, &[&format!("vnet7 {PATTERN}")]);
    wait_for_vlan(&vms, "vm0", 100);
    assert_eq!(programs(), ["eth2", "vnet7"]);
    rename("vnet7", "vnet8");
    wait_for_ports(&node, &[&format!("vnet8 {PATTERN}")]);
    wait_for_vlan(&vms, "vm0", 100);
    rename("vnet8", "other");
    wait_for_ports(&node, &[]);
    wait_until_eq("it has left the bridge", &Value::Null, || master(&node, "other"));
    wait_until_eq("its programs are gone", &vec!["eth2".to_owned()], programs);
    node.wait_until_settled("nothing is left to do");
    drop(daemon);
}

/// A device that a line of its own names is renamed: it is a port of the pattern then, with the
/// programs and the VLAN of that.
#[test]
fn a_named_device_that_is_renamed_into_a_pattern_belongs_to_it() {
    once();
    let (node, vms) = lab();
    node.configure(&format!("{CONFIG}  - {{ device: vnet7, network: n200 }}\n"));
    let _daemon = node.run();
    node.netns.veth("vnet7", &vms, "vm7");
    wait_for_vlan(&vms, "vm7", 200);
    node.netns.sh("ip link set vnet7 name vnet8");
    wait_for("vnet8 is ready", || {
        let ports = ports(&node);
        let is_ready =
            ports.iter().any(|port| port.starts_with("vnet8 n100") && port.ends_with("Ready"));
        seen(ports.clone(), is_ready && !ports.iter().any(|port| port.ends_with("Degraded")))
    });
    wait_for_vlan(&vms, "vm7", 100);
    node.wait_until_ready();
    node.netns.sh("ip link set vnet8 name vnet7");
    wait_for_vlan(&vms, "vm7", 200);
}

#[test]
fn what_another_source_names_is_not_the_patterns() {
    once();
    let (node, vms) = lab();
    for number in 0..3 {
        node.netns.veth(&format!("vnet{number}"), &vms, &format!("vm{number}"));
    }
    node.configure(&format!("{CONFIG}  - {{ device: vnet0, network: n200 }}\n"));
    let _daemon = node.run();
    let literal = "vnet0 n200 node.yaml:10:5 Ready";
    let [one, two] = [1, 2].map(|number| format!("vnet{number} {PATTERN}"));
    wait_for_ports(&node, &[literal, &one, &two]);
    node.ok("port add vnet1 --network n200");
    wait_for_ports(&node, &[literal, "vnet1 n200 control socket Ready", &two]);
    wait_for_vlan(&vms, "vm1", 200);
    node.ok("port del vnet1");
    wait_for_ports(&node, &[literal, &one, &two]);
    wait_for_vlan(&vms, "vm1", 100);
    let said = node.ok("port add vnet2 --network n100");
    assert!(said.contains("plugged into n100"), "{said}");
    let refused = node.refused("port add 'vnet*' --network n200");
    assert!(refused.contains("patterns belong in the file"), "{refused}");
    // The operator takes one.
    node.ok("release vnet1");
    assert_eq!(master(&node, "vnet1"), Value::Null);
    assert_eq!(findings(&node, "released"), ["vnet1 is released: netagent leaves it alone"]);
    node.ok("release --undo vnet1");
    wait_for_ports(&node, &[literal, &one, "vnet2 n100 control socket Ready"]);
    // Without the literal, the pattern has it.
    node.configure(CONFIG);
    node.ok("reload");
    let zero = format!("vnet0 {PATTERN}");
    wait_for_ports(&node, &[&zero, &one, "vnet2 n100 control socket Ready"]);
    wait_for_vlan(&vms, "vm0", 100);
}

#[test]
fn a_device_of_two_networks_is_in_none() {
    once();
    let (node, vms) = lab();
    node.netns.veth("vnet1", &vms, "vm1");
    node.netns.veth("vnet2", &vms, "vm2");
    let daemon = node.run();
    let [one, two] = [1, 2].map(|number| format!("vnet{number} {PATTERN}"));
    wait_for_ports(&node, &[&one, &two]);
    let both = format!("{CONFIG}  - {{ device: \"*net1\", network: n200 }}\n");
    node.configure(&both);
    let reload = node.netagent("reload");
    let said = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert_eq!(reload.status.code(), Some(3), "{said}");
    for part in ["vnet1", "node.yaml:9:5, network n100", "node.yaml:10:5, network n200"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let refused = "vnet1 n100 or n200 node.yaml:9:5 (vnet*) Refused";
    assert_eq!(ports(&node), [two.as_str(), refused]);
    assert_eq!(master(&node, "vnet1"), Value::Null, "it was a port before");
    assert!(daemon.get("readyz").starts_with("ready"));
    let unwell = "netagent_unwell{subject=\"port\",name=\"vnet1\",state=\"refused\"} 1";
    assert!(daemon.get("metrics").contains(unwell));
    let check = node.ok(&format!("check -c {}", node.config()));
    assert!(check.ends_with("1 bridges, 0 bonds, 1 ports, 2 patterns of ports\n"), "{check}");
    // A literal decides.
    node.configure(&format!("{both}  - {{ device: vnet1, network: n200 }}\n"));
    node.ok("reload");
    wait_for_ports(&node, &["vnet1 n200 node.yaml:11:5 Ready", &two]);
    wait_for_vlan(&vms, "vm1", 200);
}

/// What an operator would be woken for, if a pattern took it.
#[test]
fn a_pattern_takes_neither_the_node_nor_what_belongs_to_others() {
    once();
    let (node, vms) = lab();
    node.netns.veth("vnet0", &vms, "vm0");
    node.netns.veth("vnet1", &vms, "vm1");
    node.netns.veth("vnet5", &vms, "vm5");
    node.netns.sh("ip address add 10.1.0.1/24 dev vnet0
         ip link add virbr0 type bridge && ip link set virbr0 up
         ip link add vnet2 type bridge && ip link set vnet2 up
         ip tuntap add vnet3 mode tun && ip link set vnet3 up
         ip route add 10.2.0.7/32 dev vnet5");
    // libvirt puts a tap on its bridge before it is up: at no moment is it the pattern's.
    let _daemon = node.run();
    node.netns.sh("ip tuntap add vnet4 mode tap");
    wait_for("it is seen", || {
        let found = findings(&node, "left-alone");
        let is_seen = found.iter().any(|text| text.contains("vnet4"));
        seen(found, is_seen)
    });
    node.netns.sh("ip link set vnet4 master virbr0 && ip link set vnet4 up");
    wait_for_ports(&node, &[&format!("vnet1 {PATTERN}")]);
    let wanted = [
        ("vnet0", "has addresses or routes of the node"),
        ("vnet2", "is a bridge, not a tap or veth of a VM"),
        ("vnet3", "is a tunnel without Ethernet, not a tap or veth of a VM"),
        ("vnet4", "belongs to virbr0"),
        ("vnet5", "has addresses or routes of the node"),
    ];
    let place = format!("{}:9:5 (vnet*)", node.config());
    let wanted =
        wanted.map(|(device, why)| format!("{device}: left alone by {place}: it {why}")).to_vec();
    wait_until_eq("the reasons", &wanted, || findings(&node, "left-alone"));
    let all = ["vnet0", "vnet2", "vnet3", "vnet4", "vnet5"].map(|device| master(&node, device));
    let virbr0 = Value::from("virbr0");
    assert_eq!(all, [Value::Null, Value::Null, Value::Null, virbr0, Value::Null]);
    node.netns.sh("ip -4 address show dev vnet0 | grep -q 10.1.0.1");
    assert_eq!(node.netagent("status").status.code(), Some(0), "none of them is a fault");
    // A pattern of the uplink changes nothing.
    node.configure(&CONFIG.replace("vnet*", "eth?"));
    let refused = node.refused("reload");
    assert!(
        refused.contains("\"eth?\" also matches eth2, a NIC of cluster network lab"),
        "{refused}"
    );
    assert_eq!(ports(&node), [format!("vnet1 {PATTERN}")]);
}
