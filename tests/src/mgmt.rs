//! The links that carry the node itself: changed only with confirmation, and repaired.

use std::collections::BTreeSet;

use crate::{
    Feature,
    lab::{Netns, succeeded, wait_for},
    needs,
    node::Node,
    once,
};

const NEEDS: [Feature; 3] = [Feature::Bonding, Feature::VlanDevices, Feature::VlanFiltering];

const FILE: &str = "
clusterNetworks:
  mgmt:
    uplink: { nics: [eth0, eth1], bond: { mode: active-backup } }
    host: { vlan: 10, address: 10.0.0.5/24 }
";

/// A node with its address on VLAN 10, over eth0 and eth1. eth9 has a second default route.
fn node() -> (Node, Netns) {
    let (node, switch) = (Node::new(), Netns::new("switch"));
    switch.sh("ip link add sw type bridge && ip link set sw up");
    for nic in ["eth0", "eth1", "eth8", "eth9"] {
        node.netns.veth(nic, &switch, nic);
    }
    switch.sh("ip link set eth0 master sw && ip link set eth1 master sw");
    switch.sh("ip link add link sw name sw.10 type vlan id 10 && ip link set sw.10 up");
    switch.sh("ip address add 10.0.0.1/24 dev sw.10");
    node.netns.sh("ip address add 192.0.2.9/24 dev eth9 && ip route add default via 192.0.2.1");
    node.apply(FILE);
    node.assert_settled();
    node.netns.sh("ip route add default via 10.0.0.1 metric 50");
    node.netns.wait_for_carriers();
    (node, switch)
}

/// Everything that a plan could change.
fn state(node: &Node) -> String {
    node.netns.sh("ip -j link; ip -j address; ip -j route; bridge -j vlan show")
}

#[test]
fn links_that_carry_the_node_change_only_if_the_operator_names_them() {
    once();
    if !needs(&NEEDS) {
        return;
    }
    let (node, _switch) = node();
    let cases: [(String, &[&str]); 8] = [
        ("clusterNetworks: {}\n".to_owned(), &["mgmt-bo", "mgmt-br", "mgmt-br.10"]),
        (FILE.replace("active-backup }", "802.3ad }"), &["mgmt-bo"]),
        (FILE.replace("active-backup }", "active-backup, numGratArp: 2 }"), &["mgmt-bo"]),
        (FILE.replace("uplink: {", "uplink: { mtu: 1400,"), &["mgmt-bo", "mgmt-br", "mgmt-br.10"]),
        (FILE.replace("[eth0, eth1]", "[eth0]"), &["mgmt-bo"]),
        (FILE.replace("10.0.0.5/24", "10.0.0.6/24"), &["mgmt-br.10"]),
        (FILE.replace("vlan: 10", "vlan: 20"), &["mgmt-br", "mgmt-br.10"]),
        (format!("{FILE}  oob: {{ uplink: {{ nics: [eth9] }} }}\n"), &["eth9"]),
    ];
    for (yaml, links) in &cases {
        let before = state(&node);
        node.configure(yaml);
        let output = node.netagent(&format!("apply -c {}", node.config()));
        assert_eq!(output.status.code(), Some(3), "{yaml}");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let words: Vec<_> = complaint.split_whitespace().collect();
        let named = words.windows(2).filter(|pair| pair[0] == "--confirm").map(|pair| pair[1]);
        let named: BTreeSet<_> = named.collect();
        assert_eq!(named, links.iter().copied().collect(), "{complaint}\n{yaml}");
        assert_eq!(state(&node), before, "{yaml}");
    }
    // A change that does not touch them needs no confirmation.
    node.apply(&format!(
        "{FILE}  oob: {{ uplink: {{ nics: [eth8] }} }}
networks: {{ beside: {{ clusterNetwork: mgmt, vlan: 20 }} }}
"
    ));
    node.assert_settled();
    // With confirmation, every change is carried out.
    for (yaml, links) in cases.iter().rev() {
        node.configure(yaml);
        // The plan also reverts the previous case.
        let mut all = vec!["mgmt-bo", "mgmt-br", "mgmt-br.10", "mgmt-br.20", "eth9"];
        all.extend_from_slice(links);
        all.retain(|link| !node.netns.link(link).is_null());
        let confirm: String = all.iter().flat_map(|link| [" --confirm ", *link]).collect();
        node.ok(&format!("apply -c {} --no-rollback{confirm}", node.config()));
        node.assert_settled();
    }
    assert_eq!(node.netns.link("mgmt-bo"), serde_json::Value::Null);
}

#[test]
fn damage_to_the_nodes_own_network_is_repaired() {
    if !needs(&NEEDS) {
        return;
    }
    let (node, switch) = node();
    let _daemon = node.run();
    // The switch may have a neighbour entry with a former address.
    let ping = "ip neighbour flush all; ping -c 1 -W 1 10.0.0.5";
    let reached = || succeeded(&switch.output(ping));
    wait_for("the node is reached", reached);
    for damage in [
        "ip address del 10.0.0.5/24 dev mgmt-br.10",
        "bridge vlan del dev mgmt-bo vid 10",
        "bridge vlan del dev mgmt-br vid 10 self",
        "ip link set mgmt-br.10 down",
        "ip link set mgmt-bo nomaster",
        "ip link set mgmt-bo down",
        "ip link set eth0 nomaster",
        "ip link set mgmt-br type bridge vlan_default_pvid 1",
        "ip link del mgmt-br.10",
        "ip link del mgmt-bo",
        "ip link del mgmt-br",
        "ip link set mgmt-bo address 02:00:00:00:00:77",
    ] {
        node.netns.sh(damage);
        let plan = format!("plan -c {}", node.config());
        wait_for(&format!("repaired: {damage}"), || {
            reached().and_then(|_| succeeded(&node.netagent(&plan)))
        });
    }
}
