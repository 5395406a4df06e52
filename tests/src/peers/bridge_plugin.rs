//! The options of the CNI bridge plugin (containernetworking/plugins), and the equivalent netagent
//! file. The plugin's own tests check its configuration; these tests check frames. The containers
//! are vm-a, vm-b and vm-c. Comments name the deliberate differences.

use super::{Lab, Row, bridge_plugin_vlans as vlans, sends, station};
use crate::{Feature, frame::C, needs, node::Node, once};

/// Options of the plugin, the equivalent file, and rows that show the effect of the options.
pub struct Case {
    pub options: &'static str,
    pub networks: &'static str,
    pub ports: &'static str,
    pub rows: Vec<Row>,
    /// Rows that reach every port.
    pub last: Vec<Row>,
}

const UPLINK: &str = "
clusterNetworks:
  oob: { vlanFiltering: FILTERING, uplink: { nics: [wire], bond: { mode: none }, xdp: off } }
networks:
";

/// The address of vm-a in the file: 02:74:01:00:00:01.
const OWN: [u8; 6] = station(0, 1);
const FOREIGN: [u8; 6] = station(0, 2);

/// `macspoofchk: true`: vm-a may only use its own address.
fn spoofed() -> Case {
    let everyone = || {
        sends("vm-a", &[]).reaches("vm-b", &[]).reaches("vm-c", &[]).reaches("wire", &[(C, 100)])
    };
    Case {
        options: "vlan: 100, macspoofchk: true",
        networks: "  v100: { clusterNetwork: oob, vlan: 100 }",
        ports: r#"[{ device: vm-a, network: v100, security: { macs: ["02:74:01:00:00:01"] } },
  { device: vm-b, network: v100 }, { device: vm-c, network: v100 }]"#,
        rows: vec![
            everyone().source(OWN),
            sends("vm-a", &[]).source(FOREIGN).dropped_at("vm-a", "mac-spoofed"),
            sends("vm-a", &[]).dropped_at("vm-a", "mac-spoofed"),
            // The destination does not matter, and other ports have no check.
            sends("vm-a", &[]).source(FOREIGN).to(OWN).dropped_at("vm-a", "mac-spoofed"),
            sends("vm-b", &[]).source(FOREIGN).to(OWN).reaches("vm-a", &[]),
        ],
        last: vec![
            everyone().source(OWN),
            sends("wire", &[(C, 100)])
                .reaches("vm-a", &[])
                .reaches("vm-b", &[])
                .reaches("vm-c", &[]),
        ],
    }
}

/// `portIsolation: true` on vm-a and vm-b: they reach the uplink, but not each other. With the
/// plugin they reach vm-c, which is not isolated. With netagent one isolated end is enough for a
/// drop.
fn isolated() -> Case {
    Case {
        options: "vlan: 100, portIsolation: true",
        networks: "  v100: { clusterNetwork: oob, vlan: 100, security: { isolated: true } }",
        ports: "[{ device: vm-a, network: v100 }, { device: vm-b, network: v100 },
  { device: vm-c, network: v100, security: { isolated: false } }]",
        rows: vec![
            sends("vm-a", &[])
                .reaches("wire", &[(C, 100)])
                .dropped_at("vm-b", "isolated")
                .dropped_at("vm-c", "isolated"),
            sends("vm-b", &[])
                .reaches("wire", &[(C, 100)])
                .dropped_at("vm-a", "isolated")
                .dropped_at("vm-c", "isolated"),
            sends("vm-c", &[])
                .reaches("wire", &[(C, 100)])
                .dropped_at("vm-a", "isolated")
                .dropped_at("vm-b", "isolated"),
        ],
        last: vec![
            sends("wire", &[(C, 100)])
                .reaches("vm-a", &[])
                .reaches("vm-b", &[])
                .reaches("vm-c", &[]),
            sends("vm-b", &[])
                .reaches("wire", &[(C, 100)])
                .dropped_at("vm-a", "isolated")
                .dropped_at("vm-c", "isolated"),
        ],
    }
}

/// `hairpinMode: false`: no frame leaves the port where it entered, not even to a station behind
/// it.
fn no_hairpin() -> Case {
    let to_others = || {
        sends("vm-a", &[]).reaches("vm-b", &[]).reaches("vm-c", &[]).reaches("wire", &[(C, 100)])
    };
    Case {
        options: "vlan: 100, hairpinMode: false",
        networks: "  v100: { clusterNetwork: oob, vlan: 100 }",
        ports: "[{ device: vm-a, network: v100 }, { device: vm-b, network: v100 }, { device: vm-c, network: v100 }]",
        rows: vec![
            to_others().source(OWN),
            sends("vm-a", &[]).to(OWN),
            sends("vm-a", &[]).source(OWN).to(OWN),
            sends("vm-b", &[]).to(OWN).reaches("vm-a", &[]),
        ],
        last: vec![
            to_others(),
            sends("wire", &[(C, 100)])
                .reaches("vm-a", &[])
                .reaches("vm-b", &[])
                .reaches("vm-c", &[]),
        ],
    }
}

fn every_case(filtering: &str) {
    let mut lab = Lab::new(&["wire", "vm-a", "vm-b", "vm-c"]);
    for case in [
        vlans::no_vlan(),
        vlans::vlan(),
        vlans::default_vlan_preserved(),
        vlans::trunk(),
        vlans::trunk_with_native(),
        spoofed(),
        isolated(),
        no_hairpin(),
    ] {
        let uplink = UPLINK.replace("FILTERING", filtering);
        lab.apply(&format!("{uplink}{}\nports: {}\n", case.networks, case.ports));
        lab.prove(case.options, case.rows, case.last);
    }
}

#[test]
fn vlan_options_of_the_bridge_plugin_on_an_unaware_bridge() {
    once();
    every_case("off");
}

#[test]
fn vlan_options_of_the_bridge_plugin_on_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        every_case("on");
    }
}

#[test]
fn options_that_the_bridge_plugin_refuses_are_refused() {
    once();
    let node = Node::new();
    let complaint = |network: &str| {
        node.configure(&format!(
            "clusterNetworks: {{ oob: {{ uplink: {{ nics: [wire] }} }} }}\n\
             networks: {{ bad: {{ clusterNetwork: oob, {network} }} }}\n"
        ));
        node.refused(&format!("check -c {}", node.config()))
    };
    // Options of the plugin, and the equivalent options of netagent.
    for (options, network) in [
        ("vlan: -1", "vlan: -1"),
        ("vlan: 4095", "vlan: 4095"),
        // To the plugin 0 means no VLAN. A netagent file omits the key instead.
        ("vlan: 0", "vlan: 0"),
        ("vlanTrunk: [{ id: 0 }]", "trunk: 0"),
        ("vlanTrunk: [{ id: 4095 }]", "trunk: 4095"),
        ("vlanTrunk: [{ minID: 0, maxID: 210 }]", "trunk: 0-210"),
        ("vlanTrunk: [{ minID: 200, maxID: 4095 }]", "trunk: 200-4095"),
        ("vlanTrunk: [{ minID: 210, maxID: 200 }]", "trunk: 210-200"),
        ("vlanTrunk: [{ minID: 200 }]", "trunk: 200-"),
        ("vlanTrunk: [{ maxID: 210 }]", "trunk: -210"),
    ] {
        let complaint = complaint(network);
        assert!(complaint.contains("networks.bad"), "{options}: {complaint}");
    }
    // The plugin's `vlan` with `vlanTrunk` is netagent's `native`.
    let complaint = complaint("vlan: 100, trunk: 200");
    assert!(complaint.contains("networks.bad"), "{complaint}");
}
