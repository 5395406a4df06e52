//! What netagent took over is given back as it was found, without a lost frame.

use std::fs;

use super::{
    access,
    lab::{Lab, Vm},
    tagged, untagged,
};
use crate::{Feature, lab::kernel_has, needs, once};

/// A file without the adopted bridge.
const OTHER: &str = "clusterNetworks: { other: { vlanFiltering: auto } }\n";

/// What netagent changes at the bridge, its ports and the NIC.
fn state(lab: &Lab) -> String {
    let netns = &lab.node.netns;
    let bridge = netns.link("vmbr0");
    let info = &bridge["linkinfo"]["info_data"];
    let offload = netns.sh("ethtool -k nic | grep -E 'rx-vlan-(offload|stag-hw-parse)'");
    let mtus = ["vmbr0", "nic", "tap1"].map(|name| netns.link(name)["mtu"].clone());
    format!(
        "{:?} filtering {} default_pvid {} mtu {mtus:?} {offload}{}",
        netns.members("vmbr0"),
        info["vlan_filtering"],
        info["vlan_default_pvid"],
        if kernel_has(Feature::VlanFiltering) {
            netns.sh("bridge -c vlan show")
        } else {
            String::new()
        }
    )
}

/// The devices that the agent remembers.
fn remembered(lab: &Lab) -> Vec<String> {
    let text = fs::read(lab.node.state().join("originals.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&text).unwrap();
    file["devices"].as_object().unwrap().keys().cloned().collect()
}

/// Takes the bridge over and gives it back: with the whole segment, or port by port.
fn given_back(options: &str, filtering: &str, vms: Vec<Vm>) {
    let lab = Lab::new(options, vms);
    let found = state(&lab);
    lab.apply(filtering);
    let file = fs::read_to_string(lab.node.config()).unwrap();
    lab.node.apply(&file.replace("bond: {", "mtu: 1400, bond: {"));
    assert_ne!(state(&lab), found);
    assert!(remembered(&lab).contains(&"vmbr0".to_owned()));
    // Without its last port, the network stays.
    let last = file.lines().last().unwrap();
    let device = last.split([' ', ',']).find(|word| word.starts_with("tap")).unwrap();
    lab.assert_nothing_is_lost("a port is given back", || {
        lab.node.apply(&file.replace(last, ""));
        lab.node.assert_settled();
    });
    // Where the bridge did not filter, the port's VLANs are given back with the filter.
    assert_eq!(remembered(&lab).contains(&device.to_owned()), filtering == "on");
    lab.assert_nothing_is_lost("the segment is given back", || {
        lab.node.configure(OTHER);
        lab.node.ok(&format!("apply -c {} --confirm vmbr0", lab.node.config()));
        lab.node.assert_settled();
    });
    assert_eq!(state(&lab), found);
    assert_eq!(remembered(&lab), Vec::<String>::new());
    assert_eq!(lab.node.ok("show ports -j").trim(), "[]");
}

fn vms() -> Vec<Vm> {
    [untagged(3, Some("plain")), tagged(100, 2, 100, Some("lab"))].concat()
}

#[test]
fn unaware_bridge_is_given_back() {
    once();
    given_back("vlan_filtering 0", "auto", vms());
}

#[test]
fn bridge_whose_filter_was_switched_on_is_given_back() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        given_back("vlan_filtering 0", "on", vms());
    }
}

#[test]
fn aware_bridge_is_given_back() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        let vms = [access(4), tagged(100, 2, 100, Some("lab"))].concat();
        given_back("vlan_filtering 1", "auto", vms);
    }
}

/// `netagent release`, and taken back: by the daemon, over its restart, and without a daemon.
#[test]
fn released_segment_is_given_back_and_left_alone() {
    once();
    let lab = Lab::new("vlan_filtering 0", vms());
    let found = state(&lab);
    lab.configure("auto");
    let daemon = lab.node.start();
    lab.node.wait_until_settled("the bridge is taken over");
    let taken = state(&lab);
    let ports = lab.node.ok("show ports -j");
    assert_ne!(ports.trim(), "[]");
    assert!(lab.node.refused("release nothing").contains("no port nothing"));
    let release = |arguments: &str| {
        let output = lab.node.netagent(&format!("release {arguments}"));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    lab.assert_nothing_is_lost("release", || {
        let waits = release("vm");
        assert!(waits.contains("netagent confirm vmbr0"), "{waits}");
        lab.node.ok("confirm vmbr0");
        assert_eq!(state(&lab), found);
        assert_eq!(lab.node.ok("show ports -j").trim(), "[]");
    });
    // A reload and a restart leave it alone.
    lab.node.ok("reload");
    daemon.kill();
    let daemon = lab.node.start();
    lab.node.wait_until_settled("the daemon is there again");
    assert_eq!(state(&lab), found);
    let refused = lab.node.refused("port add lo --network plain");
    assert!(refused.contains("is released"), "{refused}");
    lab.assert_nothing_is_lost("undo", || {
        assert_eq!(release("vm --undo"), "");
        assert_eq!((state(&lab), lab.node.ok("show ports -j")), (taken.clone(), ports.clone()));
    });
    assert!(lab.node.refused("release vm --undo").contains("vm is not released"));
    // A single port.
    let device = lab.vms[0].0.device();
    lab.assert_nothing_is_lost("release of a port", || {
        assert_eq!(release(&device), "");
        assert!(!lab.node.ok("show ports -j").contains(&format!("\"{device}\"")));
    });
    let status = lab.node.ok("status");
    assert!(status.contains(&format!("{device} is released")), "{status}");
    daemon.kill();
    lab.node.ok(&format!("release {device} --undo"));
    lab.assert_nothing_is_lost("undo without a daemon", || {
        lab.node.ok(&format!("apply -c {}", lab.node.config()));
        assert_eq!(state(&lab), taken);
    });
}
