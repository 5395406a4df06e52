//! The node's own addresses and routes move when a link that it lives on joins a segment, and the
//! node stays reachable meanwhile.

mod at_any_call;
pub mod lab;
mod on_trial;

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, symlink},
};

use self::lab::{Lab, NIC};
use crate::{
    Feature,
    lab::{seen, wait_for},
    needs, once,
};

/// More than any change of these labs costs: their NICs need no time to negotiate.
const MOST: u32 = 50;

#[test]
fn a_nic_without_bond_gives_its_addresses_and_routes_to_the_bridge() {
    once();
    let lab = Lab::new(&["eth0"], NIC);
    let yaml = "clusterNetworks: { mgmt: { uplink: { nics: [eth0], bond: { mode: none } }, \
                host: { address: 10.0.0.5/24, gateway: 10.0.0.1 } } }";
    let missed = lab.take_over(yaml, "--confirm eth0", "10.0.0.5");
    assert!(missed < MOST, "{missed}");
    lab.assert_moved("mgmt-br");
    // The other addresses are not in the file. They are as they were.
    lab.wait_until_reached("10.0.0.6");
    lab.wait_until_reached("fd00::5");
    lab.give_back("--confirm eth0 --confirm mgmt-br");
}

/// What others add to the node's interface stays; what the agent added is repaired, and goes with
/// the file.
#[test]
fn addresses_of_others_stay_and_those_of_the_file_are_repaired() {
    once();
    let lab = Lab::new(&["eth0"], "");
    let (node, netns) = (&lab.node, &lab.node.netns);
    let file = |host: &str| {
        format!(
            "clusterNetworks: {{ mgmt: {{ uplink: {{ nics: [eth0], bond: {{ mode: none }} }}, \
             host: {{ {host} }} }} }}\n"
        )
    };
    let routes = "gateway: 10.0.0.1, routes: [{ to: 203.0.113.0/24, via: 10.0.0.1 }]";
    node.configure(&file(&format!("address: [10.0.0.5/24, 10.0.0.6/24], {routes}")));
    let _daemon = node.run();
    lab.wait_until_reached("10.0.0.6");
    netns.sh("ip address add 10.0.0.100/32 dev mgmt-br");
    netns.sh("ip address add 10.0.0.77/24 dev mgmt-br valid_lft 300 preferred_lft 300");
    for damage in [
        "ip address del 10.0.0.6/24 dev mgmt-br",
        "ip route del default",
        "ip route del 203.0.113.0/24",
    ] {
        netns.sh(damage);
        wait_for(&format!("repaired: {damage}"), || {
            let shown = netns.sh("ip -o -4 address show dev mgmt-br; ip route");
            let words = ["10.0.0.6/24", "default via 10.0.0.1", "203.0.113.0/24 via 10.0.0.1"];
            let there = words.iter().all(|words| shown.contains(words));
            seen(shown, there)
        });
    }
    lab.wait_until_reached("10.0.0.6");
    // The file loses an address and a route.
    node.configure(&file("address: 10.0.0.5/24, gateway: 10.0.0.1"));
    assert_eq!(node.netagent("reload").status.code(), Some(3), "it waits for confirmation");
    node.allow_and_keep("mgmt-br");
    let shown = netns.sh("ip -o -4 address show dev mgmt-br; ip route");
    for there in ["10.0.0.5/24", "10.0.0.100/32", "10.0.0.77/24", "default via 10.0.0.1"] {
        assert!(shown.contains(there), "{there}: {shown}");
    }
    assert!(!shown.contains("10.0.0.6") && !shown.contains("203.0.113.0"), "{shown}");
    // Only what the file has.
    node.configure(&file("address: 10.0.0.5/24, gateway: 10.0.0.1, keepForeign: false"));
    assert_eq!(node.netagent("reload").status.code(), Some(3));
    node.allow_and_keep("mgmt-br");
    let shown = netns.sh("ip -o -4 address show dev mgmt-br");
    assert!(!shown.contains("10.0.0.100") && !shown.contains("10.0.0.77"), "{shown}");
    lab.wait_until_reached("10.0.0.5");
}

/// A template that rendered nothing.
#[test]
fn an_empty_file_takes_nothing_down() {
    once();
    let lab = Lab::new(&["eth0"], "");
    let yaml = "clusterNetworks: { oob: { uplink: { nics: [eth0], bond: { mode: none } } } }";
    lab.node.apply(yaml);
    for empty in ["{}", "networks: {}", "clusterNetworks: {}", "ports: []"] {
        lab.node.configure(empty);
        let apply = format!("apply -c {}", lab.node.config());
        let output = lab.node.netagent(&apply);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{empty}: {errors}");
        assert!(errors.contains("netagent apply --confirm oob-br"), "{errors}");
        assert_eq!(lab.node.netns.link("eth0")["master"], "oob-br", "{empty}");
    }
    let misspelt = lab.node.refused(&format!("apply -c {} --confirm oob-bt", lab.node.config()));
    assert!(misspelt.contains("--confirm oob-bt: no such link"), "{misspelt}");
    lab.node.ok(&format!("apply -c {} --confirm oob-br", lab.node.config()));
    assert!(lab.node.netns.link("oob-br").is_null());
}

/// Two NICs: the second one carries the bond while the first one, which the node lives on, joins.
#[test]
fn a_nic_that_joins_a_bond_gives_its_addresses_and_routes_to_the_bridge() {
    once();
    if !needs(&NEEDS) {
        return;
    }
    let lab = Lab::new(&["eth0", "eth1"], NIC);
    let mac = lab.node.netns.link("eth0")["address"].clone();
    let yaml = "clusterNetworks: { mgmt: { uplink: { nics: [eth0, eth1] }, \
                host: { address: 10.0.0.5/24 } } }";
    let missed = lab.take_over(yaml, "--confirm eth0", "10.0.0.5");
    assert!(missed < MOST, "{missed}");
    lab.assert_moved("mgmt-br");
    assert_eq!(lab.node.netns.link("mgmt-br")["address"], mac);
    lab.wait_until_reached("10.0.0.6");
    lab.wait_until_reached("fd00::5");
    lab.give_back("--confirm mgmt-bo --confirm mgmt-br");
}

/// A NIC whose segment is not complete stays where it is, and the node with it.
#[test]
fn a_nic_does_not_join_a_segment_that_could_not_be_built() {
    once();
    if !needs(&[Feature::Bonding, Feature::Tcx]) {
        return;
    }
    let lab = Lab::new(&["eth0", "eth1"], NIC);
    let yaml = "clusterNetworks: { mgmt: { uplink: { nics: [eth0, eth1] }, \
                host: { address: 10.0.0.5/24 } } }";
    lab.node.configure(yaml);
    let apply = format!("apply -c {} --no-rollback --confirm eth0", lab.node.config());
    // The programs of the bond cannot be pinned.
    let pins = lab.node.pin("links");
    fs::DirBuilder::new().mode(0o700).recursive(true).create(&pins).unwrap();
    symlink("nowhere", format!("{pins}/mgmt-bo")).unwrap();
    let output = lab.node.netagent(&apply);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(lab.node.netns.link("eth0")["master"].is_null());
    lab.wait_until_reached("10.0.0.5");
    fs::remove_file(format!("{pins}/mgmt-bo")).unwrap();
    // The bond exists now, with the other NIC.
    lab.node.ok(&format!("{apply} --confirm mgmt-bo --confirm mgmt-br"));
    lab.wait_until_reached("10.0.0.5");
    lab.assert_moved("mgmt-br");
}

/// The VLAN interface on the NIC goes: it would take the frames of its VLAN before the bridge.
#[test]
fn a_vlan_interface_on_a_nic_gives_its_addresses_and_routes_to_that_of_the_bridge() {
    once();
    if !needs(&NEEDS) {
        return;
    }
    for (nics, bond) in [("eth0, eth1", ""), ("eth0", ", bond: { mode: none }")] {
        let lab = Lab::tagged(&["eth0", "eth1"]);
        let yaml = format!(
            "clusterNetworks: {{ mgmt: {{ uplink: {{ nics: [{nics}]{bond} }}, \
             host: {{ vlan: 10, address: 10.0.0.5/24 }} }} }}"
        );
        let missed = lab.take_over(&yaml, "--confirm eth0 --confirm eth0.10", "10.0.0.5");
        assert!(missed < MOST, "{missed}");
        assert!(!lab.node.netns.sh("ip link").contains("eth0.10"));
        lab.assert_moved("mgmt-br.10");
        // And from one VLAN to another, and to the untagged one, and back.
        for (vlan, to, address) in [
            ("vlan: 20, ", "mgmt-br.20", "sw.20"),
            ("", "mgmt-br", "sw"),
            ("vlan: 10, ", "mgmt-br.10", "sw.10"),
        ] {
            lab.move_host(&yaml.replace("vlan: 10, ", vlan), to, address);
        }
    }
}

const NEEDS: [Feature; 3] = [Feature::Bonding, Feature::VlanDevices, Feature::VlanFiltering];

impl Lab {
    /// A node that lives on VLAN 10 of its first NIC.
    fn tagged(nics: &[&str]) -> Self {
        let lab = Self::new(
            nics,
            &format!(
                "ip link add link eth0 name eth0.10 type vlan id 10; ip link set eth0.10 up; {}",
                NIC.replace("dev eth0", "dev eth0.10")
            ),
        );
        lab.outside.sh("ip link add link sw name sw.10 type vlan id 10; ip link set sw.10 up; \
             ip address flush dev sw scope global; ip address add 10.0.0.1/24 dev sw.10; \
             ip address add fd00::1/64 dev sw.10 nodad");
        lab
    }

    /// Moves the host interface to another VLAN, as the gateway does at the same time.
    fn move_host(&self, yaml: &str, to: &str, gateway: &str) {
        let node = &self.node.netns;
        self.node.configure(yaml);
        self.node.ok(&format!(
            "apply -c {} --no-rollback --confirm mgmt-br {}",
            self.node.config(),
            if node.sh("ip link").contains("mgmt-br.20") {
                "--confirm mgmt-br.20"
            } else if node.sh("ip link").contains("mgmt-br.10") {
                "--confirm mgmt-br.10"
            } else {
                ""
            }
        ));
        if gateway == "sw.20" {
            self.outside.sh("ip link add link sw name sw.20 type vlan id 20; ip link set sw.20 up");
        }
        for old in ["sw", "sw.10", "sw.20"] {
            self.outside.output(&format!("ip address del 10.0.0.1/24 dev {old}"));
        }
        self.outside.sh(&format!("ip address add 10.0.0.1/24 dev {gateway}"));
        self.wait_until_reached("10.0.0.5");
        self.node.assert_settled();
        let shown = node.sh("ip -br -4 address");
        assert_eq!(shown.matches("10.0.0.5/24").count(), 1, "{shown}");
        let default = node.sh("ip route show default");
        assert_eq!(default.lines().count(), 1, "{default}");
        assert!(default.contains(&format!("dev {to} ")), "{default}");
    }
}

/// Policy rules that name the NIC, and multipath routes over it, are others' to change: the plan
/// names them.
#[test]
fn plan_names_what_does_not_move() {
    once();
    let lab = Lab::new(&["eth0", "eth1"], NIC);
    lab.node.netns.sh("ip rule add iif eth0 table 100
         ip address add 10.8.0.5/24 dev eth1
         ip route add 192.0.2.0/24 nexthop via 10.0.0.1 dev eth0 nexthop via 10.8.0.1 dev eth1");
    lab.node.configure(
        "clusterNetworks: { mgmt: { uplink: { nics: [eth0], bond: { mode: none } }, \
         host: { address: 10.0.0.5/24, gateway: 10.0.0.1 } } }\n",
    );
    let plan = lab.node.netagent(&format!("plan -c {}", lab.node.config()));
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    for words in [
        "policy rules with iif or oif eth0 do not match the segment",
        "multipath routes over eth0 do not move",
    ] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
}
