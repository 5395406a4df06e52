//! Bonds: created with all options, changed in place, repaired, deleted.

mod arp_check;
mod failover;
mod mac;

use std::time::Instant;

use serde_json::{Map, Value};

use crate::{
    Feature,
    lab::{Netns, seen, succeeded, wait_for},
    needs,
    node::Node,
};

/// A node with the NICs eth2 to eth5. Their other ends are in the namespace of a switch.
pub fn node() -> (Node, Netns) {
    let (node, switch) = (Node::new(), Netns::new("switch"));
    for nic in ["eth2", "eth3", "eth4", "eth5"] {
        node.netns.veth(nic, &switch, nic);
    }
    (node, switch)
}

/// The configuration of one bond.
fn file(nics: &str, bond: &str) -> String {
    format!("clusterNetworks: {{ oob: {{ uplink: {{ nics: [{nics}], bond: {{ {bond} }} }} }} }}\n")
}

/// Applies a file and asserts that the next plan is empty.
pub fn settle(node: &Node, yaml: &str) -> String {
    let printed = node.apply(yaml);
    node.assert_settled();
    printed
}

/// Applies a file without cluster networks, which needs the confirmation of the bridge.
fn take_down(node: &Node) {
    node.configure("clusterNetworks: {}\n");
    node.ok(&format!("apply -c {} --no-rollback --confirm oob-br", node.config()));
}

/// Asserts options of the bond as `ip -d link` reports them; null: not reported.
fn assert_options(node: &Node, expected: &Map<String, Value>, why: &str) {
    let link = node.netns.link("oob-bo");
    for (name, value) in expected {
        assert_eq!(link["linkinfo"]["info_data"][name], *value, "{name}, with {why}");
    }
}

/// All modes with options: the bond in the file, and the expected report of `ip`.
const MODES: [(&str, &str); 10] = [
    ("mode: balance-rr, miimon: 50ms", r#"{"mode": "balance-rr", "miimon": 50}"#),
    (
        "mode: active-backup, primary: eth3, failOverMac: active, numGratArp: 3, updelay: 200ms, downdelay: 400ms",
        r#"{"mode": "active-backup", "miimon": 100, "primary": "eth3", "fail_over_mac": "active",
            "num_peer_notif": 3, "updelay": 200, "downdelay": 400}"#,
    ),
    (
        "mode: active-backup, arpInterval: 500ms, arpTargets: [10.0.0.1, 10.0.0.2]",
        r#"{"mode": "active-backup", "miimon": 0, "arp_interval": 500, "arp_ip_target": ["10.0.0.1", "10.0.0.2"]}"#,
    ),
    (
        "mode: active-backup, arpInterval: 500ms, nsTargets: ['fd00::1'], arpValidate: backup",
        r#"{"mode": "active-backup", "miimon": 0, "arp_interval": 500, "ns_ip6_target": ["fd00::1"],
            "arp_validate": "backup"}"#,
    ),
    (
        "mode: balance-xor, xmitHashPolicy: layer2+3",
        r#"{"mode": "balance-xor", "xmit_hash_policy": "layer2+3"}"#,
    ),
    (
        "mode: balance-xor, xmitHashPolicy: vlan+srcmac",
        r#"{"mode": "balance-xor", "xmit_hash_policy": "vlan+srcmac"}"#,
    ),
    ("mode: broadcast", r#"{"mode": "broadcast", "miimon": 100}"#),
    (
        "mode: 802.3ad, xmitHashPolicy: encap3+4, lacpRate: fast, minLinks: 2, adSelect: count",
        r#"{"mode": "802.3ad", "xmit_hash_policy": "encap3+4", "ad_lacp_rate": "fast", "min_links": 2,
            "ad_select": "count"}"#,
    ),
    ("mode: balance-tlb, primary: eth2", r#"{"mode": "balance-tlb", "primary": "eth2"}"#),
    ("mode: balance-alb", r#"{"mode": "balance-alb", "primary": null}"#),
];

#[test]
fn every_mode_is_created_with_its_options() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let (node, _switch) = node();
    for (bond, expected) in MODES {
        node.apply(&file("eth2, eth3", bond));
        assert_options(&node, &serde_json::from_str(expected).unwrap(), bond);
        assert_eq!(node.netns.members("oob-bo"), ["eth2", "eth3"], "{bond}");
        take_down(&node);
        assert_eq!(node.netns.link("oob-bo"), Value::Null);
    }
}

/// The kernel's defaults.
const DEFAULTS: &str = r#"{"miimon": 100, "updelay": 0, "downdelay": 0, "arp_interval": 0, "arp_ip_target": null,
    "ns_ip6_target": null, "arp_validate": null,
    "num_peer_notif": 1, "min_links": 0, "fail_over_mac": "none", "xmit_hash_policy": "layer2", "primary": null}"#;

#[test]
fn bond_keeps_its_index_through_every_change() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let (node, _switch) = node();
    settle(&node, &file("eth2, eth3", "mode: 802.3ad"));
    let index = node.netns.link("oob-bo")["ifindex"].clone();
    let changes = [
        ("mode: 802.3ad, lacpRate: fast", r#"{"ad_lacp_rate": "fast"}"#),
        (
            "mode: 802.3ad, lacpRate: fast, xmitHashPolicy: layer3+4",
            r#"{"ad_lacp_rate": "fast", "xmit_hash_policy": "layer3+4"}"#,
        ),
        (
            "mode: 802.3ad, xmitHashPolicy: vlan+srcmac",
            r#"{"ad_lacp_rate": "slow", "xmit_hash_policy": "vlan+srcmac"}"#,
        ),
        (
            "mode: 802.3ad, adSelect: bandwidth, minLinks: 2",
            r#"{"ad_select": "bandwidth", "min_links": 2}"#,
        ),
        ("mode: 802.3ad, miimon: 200ms", r#"{"ad_select": "stable", "miimon": 200}"#),
        (
            "mode: 802.3ad, miimon: 50ms, updelay: 200ms, downdelay: 100ms",
            r#"{"miimon": 50, "updelay": 200, "downdelay": 100}"#,
        ),
        ("mode: 802.3ad, updelay: 200ms", r#"{"updelay": 200}"#),
    ];
    let last = [(
        "mode: 802.3ad",
        r#"{"mode": "802.3ad", "ad_lacp_rate": "slow", "ad_select": "stable"}"#,
    )];
    for (bond, expected) in changes.into_iter().chain(MODES).chain(last) {
        settle(&node, &file("eth2, eth3", bond));
        let mut all: Map<String, Value> = serde_json::from_str(DEFAULTS).unwrap();
        all.extend(serde_json::from_str::<Map<String, Value>>(expected).unwrap());
        assert_options(&node, &all, bond);
        assert_eq!(node.netns.link("oob-bo")["ifindex"], index, "{bond}");
        assert_eq!(node.netns.members("oob-bo"), ["eth2", "eth3"], "{bond}");
        assert_eq!(node.netns.members("oob-br"), ["oob-bo"], "{bond}");
    }
}

#[test]
fn live_change_keeps_the_bond_and_its_members_up() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let (node, _switch) = node();
    settle(&node, &file("eth2, eth3", "mode: active-backup"));
    for bond in [
        "mode: active-backup, primary: eth3",
        "mode: active-backup, primary: eth2, numGratArp: 0",
        "mode: active-backup, miimon: 200ms, updelay: 400ms",
        "mode: active-backup, arpInterval: 1s, arpTargets: [10.0.0.1]",
        "mode: active-backup, arpInterval: 1s, arpTargets: [10.0.0.2, 10.0.0.3]",
        "mode: active-backup, downdelay: 300ms",
        "mode: active-backup",
    ] {
        let steps = settle(&node, &file("eth2, eth3", bond));
        let live = |step: &str| {
            // Remarks tell of members that are not up yet.
            step.starts_with("ip link set oob-bo type bond ")
                || step == "done, and verified"
                || step.starts_with("# ")
        };
        assert!(steps.lines().all(live), "{bond}:\n{steps}");
    }
    node.configure(&file("eth2, eth3", "mode: 802.3ad"));
    let plan = node.netagent(&format!("plan -c {}", node.config()));
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(
        plan.contains("# bond oob-bo: mode active-backup → 802.3ad: needs the bond down"),
        "{plan}"
    );
}

#[test]
fn nics_join_and_leave_bonds_and_stay_up() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let (node, _switch) = node();
    node.netns.sh("ip link set eth3 mtu 1400");
    let fact = |nic: &str| {
        let link = node.netns.link(nic);
        ["address", "mtu", "master"].map(|key| link[key].clone())
    };
    let before = fact("eth3");
    settle(&node, &file("eth2", "mode: active-backup"));
    let index = node.netns.link("oob-bo")["ifindex"].clone();
    settle(&node, &file("eth2, eth3", "mode: active-backup"));
    assert_eq!(fact("eth3")[1], 1500, "a member has its bond's MTU");
    let steps = settle(&node, &file("eth2", "mode: active-backup"));
    assert_eq!(steps.lines().next(), Some("ip link set eth3 nomaster up"), "{steps}");
    assert_eq!(fact("eth3"), before);
    assert!(node.netns.link("eth3")["flags"].as_array().unwrap().contains(&"UP".into()));

    // Two NICs change bonds in one plan.
    let two = |one: &str, other: &str| {
        format!(
            "clusterNetworks: {{ oob: {{ uplink: {{ nics: [{one}] }} }}, lan: {{ uplink: {{ nics: [{other}] }} }} }}\n"
        )
    };
    settle(&node, &two("eth2, eth3", "eth4, eth5"));
    settle(&node, &two("eth2, eth5", "eth4, eth3"));
    assert_eq!(node.netns.members("oob-bo"), ["eth2", "eth5"]);
    assert_eq!(node.netns.members("lan-bo"), ["eth3", "eth4"]);
    assert_eq!(node.netns.link("oob-bo")["ifindex"], index);
    // A manual change is repaired.
    node.netns.sh("ip link set eth5 nomaster && ip link set eth5 down master lan-bo && ip link set eth2 nomaster");
    settle(&node, &two("eth2, eth5", "eth4, eth3"));
    assert_eq!(node.netns.members("oob-bo"), ["eth2", "eth5"]);
    assert_eq!(node.netns.members("lan-bo"), ["eth3", "eth4"]);
}

/// The bond sets its members up when they join. Who sets one down later takes it away.
#[test]
fn member_that_is_set_down_is_set_up_again() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let (node, _switch) = node();
    settle(&node, &file("eth2, eth3", "mode: active-backup"));
    let is_up =
        |nic: &str| node.netns.link(nic)["flags"].as_array().unwrap().contains(&"UP".into());
    node.netns.sh("ip link set eth2 down");
    assert_eq!(
        node.ok(&format!("apply -c {}", node.config())).lines().next(),
        Some("ip link set eth2 up")
    );
    assert!(is_up("eth2"));
    let _daemon = node.start();
    wait_for("the agent answers", || succeeded(&node.netagent("status")));
    for nics in [&["eth2"][..], &["eth2", "eth3"]] {
        nics.iter().for_each(|nic| drop(node.netns.sh(&format!("ip link set {nic} down"))));
        let began = Instant::now();
        wait_for("its members are up", || {
            let up: Vec<bool> = nics.iter().map(|nic| is_up(nic)).collect();
            let all = up.iter().all(|up| *up);
            seen(up, all)
        });
        println!("bond: {nics:?} up again after {:?}", began.elapsed());
    }
}

#[test]
fn mtu_queue_length_and_mac_address_are_set_and_changed() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let (node, _switch) = node();
    let file = |rest: &str| {
        format!(
            "clusterNetworks: {{ oob: {{ uplink: {{ nics: [eth2, eth3], bond: {{ mode: balance-xor }} {rest} }} }} }}\n"
        )
    };
    settle(&node, &file(""));
    let own = node.netns.link("oob-bo")["address"].clone();
    assert_eq!(node.netns.link("oob-br")["address"], own, "a bridge keeps its uplink's address");
    for (mtu, length, mac) in [(9000, 500, "02:00:00:00:00:0b"), (1600, 2000, "02:00:00:00:00:0c")]
    {
        settle(&node, &file(&format!(", mtu: {mtu}, txQueueLen: {length}, mac: '{mac}'")));
        let link = node.netns.link("oob-bo");
        assert_eq!((&link["mtu"], &link["txqlen"]), (&mtu.into(), &length.into()));
        for device in ["oob-bo", "oob-br", "eth2", "eth3"] {
            let link = node.netns.link(device);
            assert_eq!((&link["mtu"], &link["address"]), (&mtu.into(), &mac.into()), "{device}");
        }
    }
}

#[test]
fn removed_cluster_network_takes_only_its_own_links() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let (node, _switch) = node();
    node.netns.sh(
        "ip link add foreign-br type bridge && ip link add foreign-bo type bond mode balance-rr",
    );
    node.netns
        .sh("ip link set eth5 down master foreign-bo && ip link set foreign-bo master foreign-br");
    settle(&node, &file("eth2, eth3", "mode: 802.3ad"));
    take_down(&node);
    node.assert_settled();
    for gone in ["oob-bo", "oob-br"] {
        assert_eq!(node.netns.link(gone), Value::Null, "{gone}");
    }
    for left in ["eth2", "eth3", "eth4"] {
        let link = node.netns.link(left);
        assert!(link["flags"].as_array().unwrap().contains(&"UP".into()), "{link}");
    }
    assert_eq!(node.netns.members("foreign-br"), ["foreign-bo"]);
    assert_eq!(node.netns.members("foreign-bo"), ["eth5"]);
    // A NIC of a foreign bond stays there.
    node.configure(&file("eth5", "mode: active-backup"));
    let output = node.netagent(&format!("apply -c {}", node.config()));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{complaint}");
    assert!(complaint.contains("eth5 belongs to foreign-bo"), "{complaint}");
    assert_eq!(node.netns.members("foreign-bo"), ["eth5"]);
}
