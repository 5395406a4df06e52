//! What the node lives on is its own, by its addresses and routes and not by its name: netagent
//! takes it only if the operator says so. And what it takes it makes work.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    Feature,
    lab::{Netns, kernel_has, seen, wait_for, wait_until_eq},
    needs,
    node::Node,
    once,
};

/// A node with these links to a switch.
fn node(links: &[&str]) -> (Node, Netns) {
    let (node, switch) = (Node::new(), Netns::new("switch"));
    links.iter().for_each(|link| node.netns.veth(link, &switch, link));
    (node, switch)
}

/// A segment over a NIC, without anything of the node, and VMs.
fn file(nic: &str, bond: &str, vms: &[&str]) -> String {
    let ports: Vec<String> =
        vms.iter().map(|vm| format!("{{ device: {vm}, network: v100 }}")).collect();
    format!(
        "
clusterNetworks: {{ oob: {{ uplink: {{ nics: [{nic}], bond: {{ mode: {bond} }} }} }} }}
networks: {{ v100: {{ clusterNetwork: oob, vlan: 100 }} }}
ports: [{}]
",
        ports.join(", ")
    )
}

/// Applies a file; returns the links that have to be confirmed.
fn unconfirmed(node: &Node, yaml: &str) -> BTreeSet<String> {
    node.configure(yaml);
    let output = node.netagent(&format!("apply -c {}", node.config()));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let words: Vec<_> = text.split_whitespace().collect();
    let named = words.windows(2).filter(|pair| pair[0] == "--confirm");
    let named: BTreeSet<_> = named.map(|pair| pair[1].to_owned()).collect();
    assert_eq!(output.status.code(), Some(if named.is_empty() { 0 } else { 3 }), "{text}");
    named
}

/// What makes a link the node's own: its addresses and routes, and those of links above it.
const LIVED_ON: [&str; 6] = [
    "ip address add 192.0.2.5/24 dev NIC",
    "ip address add 192.0.2.5/32 dev NIC",
    "ip route add 198.51.100.0/24 dev NIC",
    "ip route add 198.51.100.0/24 nexthop dev NIC nexthop dev lo",
    "sysctl -qw net.ipv6.conf.NIC.disable_ipv6=0; ip address add 2001:db8::5/64 dev NIC nodad",
    "ip link add link NIC name above ABOVE; ip link set above up
     ip address add 192.0.2.5/24 dev above",
];

fn is_taken_only_if_confirmed(bond: &str) {
    let above = if kernel_has(Feature::VlanDevices) { "type vlan id 5" } else { "type macvlan" };
    for case in LIVED_ON {
        // As a NIC, and once as the port of a VM.
        let uses = [("own", &["vm"][..]), ("eth2", &["vm", "own"])];
        for (nic, vms) in uses.into_iter().take(if case == LIVED_ON[0] { 2 } else { 1 }) {
            let (node, _switch) = node(&["own", "eth2", "vm"]);
            node.netns.sh(&case.replace("NIC", "own").replace("ABOVE", above));
            let yaml = file(nic, bond, vms);
            assert_eq!(unconfirmed(&node, &yaml), BTreeSet::from(["own".to_owned()]), "{case}");
            assert_eq!(node.netns.link("own")["master"], Value::Null, "{case}");
            if case == LIVED_ON[0] {
                node.ok(&format!("apply -c {} --no-rollback --confirm own", node.config()));
                assert_ne!(node.netns.link("own")["master"], Value::Null);
            }
        }
    }
}

#[test]
fn nic_of_the_node_is_taken_only_if_confirmed() {
    once();
    is_taken_only_if_confirmed("none");
}

#[test]
fn nic_of_the_node_joins_a_bond_only_if_confirmed() {
    once();
    if needs(&[Feature::Bonding]) {
        is_taken_only_if_confirmed("active-backup");
    }
}

/// A link without an address of global scope is not the node's, whatever its name.
#[test]
fn nic_that_carries_nothing_is_taken() {
    once();
    let (node, _switch) = node(&["eth0", "vm"]);
    node.netns.sh("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0");
    node.netns.sh("ip address add 169.254.1.1/16 scope link dev eth0");
    node.netns.sh("ip link set eth0 down && ip link set eth0 up");
    assert_eq!(unconfirmed(&node, &file("eth0", "none", &["vm"])), BTreeSet::new());
    assert_eq!(node.netns.link("eth0")["master"], "oob-br");
}

/// A bridge that the node lives on makes its uplink the node's, and not the VMs on it.
#[test]
fn uplink_of_a_bridge_with_an_address_changes_only_if_confirmed() {
    once();
    let (node, _switch) = node(&["eth2", "vm-a", "vm-b"]);
    assert_eq!(unconfirmed(&node, &file("eth2", "none", &["vm-a"])), BTreeSet::new());
    node.netns.sh("ip address add 192.0.2.5/24 dev oob-br");
    let both = file("eth2", "none", &["vm-a", "vm-b"]);
    assert_eq!(unconfirmed(&node, &both), BTreeSet::new());
    let low = both.replace("nics: [eth2]", "nics: [eth2], mtu: 1400");
    let links = ["eth2", "oob-br"].map(str::to_owned);
    let named = unconfirmed(&node, &low);
    assert!(!named.is_empty() && named.is_subset(&BTreeSet::from(links)), "{named:?}");
    assert!(named.contains("eth2"), "{named:?}");
    assert_eq!(node.netns.link("eth2")["mtu"], 1500);
    // The VM's port changes with no question.
    let port = both.replace("device: vm-a,", "device: vm-a, mtu: 1400,");
    assert_eq!(unconfirmed(&node, &port), BTreeSet::new());
    assert_eq!(node.netns.link("vm-a")["mtu"], 1400);
}

/// A port that belongs to a bridge of somebody else stays there. One of a bridge of netagent comes.
#[test]
fn port_is_taken_from_no_bridge_but_netagents() {
    once();
    let (node, _switch) = node(&["eth2", "eth3", "vm-a", "vm-b", "stranger"]);
    let two = |vms: [&str; 2]| {
        let [one, other] = vms;
        format!(
            "
clusterNetworks:
  one: {{ uplink: {{ nics: [eth2], bond: {{ mode: none }} }} }}
  two: {{ uplink: {{ nics: [eth3], bond: {{ mode: none }} }} }}
networks: {{ one: {{ clusterNetwork: one, vlan: 100 }}, two: {{ clusterNetwork: two, vlan: 100 }} }}
ports: [{{ device: {one}, network: one }}, {{ device: {other}, network: two }}]
"
        )
    };
    let masters = || ["vm-a", "vm-b"].map(|vm| node.netns.link(vm)["master"].clone());
    assert_eq!(unconfirmed(&node, &two(["vm-a", "vm-b"])), BTreeSet::new());
    assert_eq!(masters(), ["one-br", "two-br"]);
    assert_eq!(unconfirmed(&node, &two(["vm-b", "vm-a"])), BTreeSet::new());
    assert_eq!(masters(), ["two-br", "one-br"]);
    node.assert_settled();

    // The bridge that it comes from is in no file any more, and goes only if that is confirmed.
    let one = two(["vm-a", "vm-b"])
        .replace("  two:", "  three:")
        .replace("clusterNetwork: two", "clusterNetwork: three");
    node.netns.sh("ip link set stranger master two-br");
    assert_eq!(unconfirmed(&node, &one), BTreeSet::from(["two-br".to_owned()]));
    assert_eq!(masters(), ["one-br", "three-br"]);
    node.ok(&format!("apply -c {} --confirm two-br", node.config()));
    // One that netagent did not make keeps its port, until the file has it.
    node.netns.sh("ip link add theirs type bridge && ip link set theirs up");
    node.netns.sh("ip link set vm-a master theirs");
    let output = node.netagent(&format!("apply -c {}", node.config()));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("vm-a: belongs to theirs, not one-br"), "{text}");
    assert_eq!(masters(), ["theirs", "three-br"]);
    let found = one.replace("clusterNetworks:", "clusterNetworks:\n  found: { bridge: theirs }");
    node.configure(&found);
    node.ok(&format!("apply -c {}", node.config()));
    assert_eq!(masters(), ["one-br", "three-br"]);
}

/// A port that is down is set up when it is plugged in, and stays as others set it afterwards. An
/// uplink is set up again.
#[test]
fn ports_that_are_down_are_set_up_when_they_are_plugged_in() {
    once();
    let (node, _switch) = node(&["eth2", "vm-a"]);
    node.netns.sh("ip tuntap add dev tap1 mode tap");
    let links = ["eth2", "vm-a", "tap1"];
    let up = || {
        links.map(|link| {
            let link = node.netns.link(link);
            link["flags"].as_array().unwrap().iter().any(|flag| flag == "UP")
        })
    };
    let down =
        || links.iter().for_each(|link| drop(node.netns.sh(&format!("ip link set {link} down"))));
    down();
    node.configure(&file("eth2", "none", &["vm-a", "tap1"]));
    node.ok(&format!("apply -c {}", node.config()));
    assert_eq!(up(), [true; 3]);
    let daemon = node.run();
    down();
    wait_until_eq("the uplink is up again", &[true, false, false], up);
    let status = || node.ok("status");
    for port in ["vm-a", "tap1"] {
        wait_until_contains(&format!("{port}: was set down after it was plugged in"), status);
    }
    // The next look, and another agent, leave them alone.
    daemon.kill();
    let printed = node.ok(&format!("apply -c {}", node.config()));
    assert_eq!(printed.lines().last(), Some("nothing to do"), "{printed}");
    let _daemon = node.run();
    assert_eq!(up(), [true, false, false]);
    // Somebody else sets one up, and another device is plugged in.
    node.netns.sh("ip link set vm-a up; ip link del tap1; ip tuntap add dev tap1 mode tap");
    wait_until_eq("all are up", &[true; 3], up);
    wait_for("no finding is left", || {
        let text = status();
        let gone = !text.contains("was set down");
        seen(text, gone)
    });
    // What leaves the file stays down, and one that comes back to its bridge is plugged in again.
    down();
    wait_until_eq("the uplink is up again", &[true, false, false], up);
    node.netns.sh("ip link set vm-a nomaster");
    wait_until_eq("vm-a is plugged in again", &[true, true, false], up);
    node.configure(&file("eth2", "none", &["vm-a"]));
    node.ok("reload");
    assert_eq!(node.netns.link("tap1")["master"], Value::Null);
    assert_eq!(up(), [true, true, false]);
}

fn wait_until_contains(text: &str, what: impl Fn() -> String) {
    wait_for(text, || {
        let now = what();
        let contains = now.contains(text);
        seen(now, contains)
    });
}

/// Two interfaces of the node in one subnet: it would not know where to send.
#[test]
fn subnets_of_two_hosts_are_apart() {
    once();
    let node = Node::new();
    let check = |one: &str, other: &str| {
        node.configure(&format!(
            "
clusterNetworks:
  one: {{ uplink: {{ nics: [eth2], bond: {{ mode: none }} }}, host: {{ address: {one} }} }}
  two: {{ uplink: {{ nics: [eth3], bond: {{ mode: none }} }}, host: {{ address: {other} }} }}
"
        ));
        let output = node.netagent(&format!("check -c {}", node.config()));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for (one, other, clash) in [
        ("10.0.0.5/24", "10.0.1.5/24", false),
        ("10.0.0.5/24", "10.0.0.6/24", true),
        ("10.0.0.5/24", "10.0.9.6/16", true),
        ("10.0.9.6/16", "10.0.0.5/24", true),
        ("2001:db8:0:1::5/64", "2001:db8:0:2::5/64", false),
        ("2001:db8:0:1::5/64", "2001:db8:0:1::6/64", true),
        ("2001:db8:0:1::5/64", "2001:db8:0:2::5/48", true),
        ("2001:db8:0:2::5/48", "2001:db8:0:1::5/64", true),
        ("2001:db8::5/127", "2001:db8::6/127", false),
        ("fe80::5/64", "fe80::6/64", false),
        ("fe80::5/64", "fe80::5/64", false),
        ("10.0.0.5/24", "2001:db8::5/64", false),
    ] {
        let errors = check(one, other);
        assert_eq!(errors.contains("overlaps with"), clash, "{one} and {other}: {errors}");
        assert_eq!(errors.is_empty(), !clash, "{one} and {other}: {errors}");
    }
}
