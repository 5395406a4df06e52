//! Ports of an adopted bridge that no source names keep the connectivity that they had.

use super::{
    access,
    lab::{Lab, Vm},
    tagged, untagged,
};
use crate::{Feature, needs, once};

/// Two VMs of each kind that the file does not name.
fn strangers() -> Vec<Vm> {
    [untagged(2, None), tagged(100, 2, 77, None)].concat()
}

/// The output of `netagent apply`, with its exit status.
fn attempt(lab: &Lab, arguments: &str) -> (Option<i32>, String) {
    let output = lab.node.netagent(&format!("apply -c {}{arguments}", lab.node.config()));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn unnamed_ports_of_an_unaware_bridge_keep_all_vlans() {
    once();
    let named = Vm { number: 50, inside: 0, wire: 0, network: Some("plain") };
    let lab = Lab::new("vlan_filtering 0", [strangers(), vec![named]].concat());
    lab.assert_nothing_is_lost("apply", || lab.apply("auto"));
    assert_eq!(lab.filtering(), 0);
    let plan = lab.node.ok(&format!("plan -c {}", lab.node.config()));
    assert!(plan.contains("tap100 is a port of vmbr0 that no source names"), "{plan}");
    assert!(plan.contains("it keeps all VLANs, as vmbr0 does not filter"), "{plan}");
    let _daemon = lab.node.run();
    lab.assert_nothing_is_lost("the daemon starts", || lab.node.assert_settled());
}

#[test]
fn unnamed_ports_of_an_aware_bridge_keep_their_vlans() {
    once();
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    let of_others = access(4).into_iter().map(|vm| Vm { network: None, ..vm });
    let named = Vm { number: 50, inside: 0, wire: 102, network: Some("v102") };
    let lab = Lab::new(
        "vlan_filtering 1",
        [
            strangers(),
            vec![named],
            of_others.map(|vm| Vm { number: vm.number + 20, ..vm }).collect(),
        ]
        .concat(),
    );
    lab.assert_nothing_is_lost("apply", || lab.apply("auto"));
    let plan = lab.node.ok(&format!("plan -c {}", lab.node.config()));
    assert!(plan.contains("it keeps VLAN 77 (untagged frames: none)"), "{plan}");
    assert!(plan.contains("it keeps VLAN 1 (untagged frames: 1)"), "{plan}");
}

/// The VLAN filter would leave VLAN 1 of all that the unnamed ports have.
#[test]
fn filter_waits_for_confirmation_where_unnamed_ports_lose_vlans() {
    once();
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    let named = Vm { number: 50, inside: 0, wire: 0, network: Some("plain") };
    let lab = Lab::new("vlan_filtering 0", [strangers(), vec![named]].concat());
    lab.configure("on");
    lab.assert_nothing_is_lost("apply", || {
        let (status, errors) = attempt(&lab, "");
        assert_eq!(status, Some(3), "{errors}");
        assert!(errors.contains("--confirm vmbr0"), "{errors}");
        assert!(errors.contains("vmbr0, whose ports that no source names lose VLANs"), "{errors}");
    });
    assert_eq!(lab.filtering(), 0);
    let plan = lab.node.netagent(&format!("plan -c {}", lab.node.config()));
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(
        plan.contains("with the VLAN filter it has only VLAN 1 (untagged frames: 1)"),
        "{plan}"
    );
    assert_eq!(attempt(&lab, " --confirm vmbr0").0, Some(0));
    assert_eq!(lab.filtering(), 1);
    lab.node.assert_settled();
}

/// Without a native VLAN on the wire, untagged frames of the unnamed ports are lost.
#[test]
fn uplink_waits_for_confirmation_where_unnamed_ports_lose_untagged_frames() {
    once();
    let lab = Lab::new("vlan_filtering 0", strangers());
    lab.configure("auto");
    let file = std::fs::read_to_string(lab.node.config()).unwrap();
    let without = file.replace("bond: { mode: none }", "bond: { mode: none }, native: none");
    lab.node.configure(&without.replace("  plain: { clusterNetwork: vm }\n", ""));
    lab.assert_nothing_is_lost("apply", || {
        let (status, errors) = attempt(&lab, "");
        assert_eq!(status, Some(3), "{errors}");
        assert!(errors.contains("--confirm vmbr0"), "{errors}");
    });
    assert_eq!(attempt(&lab, " --confirm vmbr0").0, Some(0));
}
