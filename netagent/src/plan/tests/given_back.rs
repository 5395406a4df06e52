//! What netagent did not create, and nothing desires any more, is given back as it was found.

use super::{
    adopted::{FILE, node},
    *,
};
use crate::state::Original;

/// `vmbr0` after the plan for a file, with what was there before.
fn managed(filtering: bool, file: &str) -> (Observed, ObservedDatapath) {
    let mut observed = node(filtering);
    let found = observed.links.iter();
    observed.originals =
        found.map(|(name, link)| (name.clone(), Original::of(link, true))).collect();
    let datapath = carried_out(&desired(file), &observed);
    (observed, datapath)
}

#[test]
fn port_stays_on_the_bridge_that_it_was_found_on() {
    let (mut observed, mut datapath) = managed(true, FILE);
    let nic = observed.links.get_mut(&name("eth2")).unwrap();
    (nic.vlans, nic.mtu) = (BTreeMap::from([(vid(100), VlanFlags::default())]), 1400);
    datapath.rx_vlan.insert(name("eth2"), false);
    insta::assert_snapshot!(steps(&desired("{}"), &observed, &datapath), @"
    bridge vlan del dev eth2 vid 100
    bridge vlan add dev eth2 vid 1 pvid untagged
    policy eth2: remove, with its programs
    policy tap7: remove, with its programs
    ip link set eth2 mtu 1500
    ethtool -K eth2 rxvlan on
    # guarded: eth2
    # guarded: vmbr0
    ");
}

/// While a port has its programs, its policy fits the bridge.
#[test]
fn filter_is_given_back_before_the_ports() {
    let on = FILE.replace("bridge: vmbr0", "bridge: vmbr0\n    vlanFiltering: on");
    let (mut observed, _) = managed(false, &on);
    let bridge = observed.links.get_mut(&name("vmbr0")).unwrap();
    bridge.addresses.clear();
    bridge.kind = Kind::Bridge(BridgeState { vlan_filtering: Some(true), default_pvid: Some(1) });
    let datapath = carried_out(&desired(&on), &observed);
    let plan = planned(&desired("{}"), &observed, &datapath);
    let untagged_inside: Vec<_> = changes(&plan)
        .into_iter()
        .filter_map(|change| match change {
            Change::Datapath(DatapathChange::SetPolicy(_, policy)) => policy.bridge_pvid,
            _ => None,
        })
        .collect();
    assert_eq!(untagged_inside, [Vid::MIN, Vid::MIN]);
    insta::assert_snapshot!(steps(&desired("{}"), &observed, &datapath), @"
    policy eth2: uplink in vm, vids 1,100, pvid 1, admit all
    policy tap7: access in plain, vids 1, pvid 1, admit untagged-and-priority
    ip link set vmbr0 type bridge vlan_filtering 0
    policy eth2: remove, with its programs
    policy tap7: remove, with its programs
    # guarded: vmbr0
    ");
}

/// A port that leaves the file alone keeps its bridge; one that came from elsewhere goes back.
#[test]
fn port_goes_back_to_the_bridge_that_it_came_from() {
    let (mut observed, datapath) = managed(true, FILE);
    let virbr0 = BridgeState { vlan_filtering: Some(true), default_pvid: Some(1) };
    observed.links.insert(name("virbr0"), link(50, Kind::Bridge(virbr0)));
    observed.originals.get_mut(&name("tap7")).unwrap().controller = Some(name("virbr0"));
    let file = desired(&FILE.replace("  - { device: tap7, network: plain }", "  []"));
    let plan = planned(&file, &observed, &datapath);
    let unit = plan.units.iter().find(|unit| unit.id.device == name("tap7")).unwrap();
    let text: Vec<_> = unit.steps.iter().map(|step| step.change.to_string()).collect();
    insta::assert_snapshot!(text.join("\n"), @"
    ip link set tap7 nomaster up
    policy tap7: remove, with its programs
    ip link set tap7 master virbr0
    ");
}

/// Another device has the name of one that was found.
#[test]
fn another_device_of_the_name_is_left_alone() {
    let (mut observed, _) = managed(true, FILE);
    observed.links.get_mut(&name("eth2")).unwrap().index = 99;
    observed.links.get_mut(&name("eth2")).unwrap().mtu = 1400;
    assert_eq!(steps(&desired("{}"), &observed, &ObservedDatapath::default()), "");
}

/// A port leaves the file, and its bridge stays with a filter that it did not have when it was
/// found.
#[test]
fn port_keeps_its_vlans_until_the_filter_is_given_back() {
    let on = FILE.replace("bridge: vmbr0", "bridge: vmbr0\n    vlanFiltering: on");
    let without = desired(&on.replace("  - { device: tap7, network: plain }", "  []"));
    let (mut observed, _) = managed(false, &on);
    let bridge = observed.links.get_mut(&name("vmbr0")).unwrap();
    bridge.kind = Kind::Bridge(BridgeState { vlan_filtering: Some(true), default_pvid: Some(1) });
    let tap = observed.links.get_mut(&name("tap7")).unwrap();
    tap.vlans = BTreeMap::from([(vid(100), VlanFlags::default())]);
    let mut datapath = carried_out(&desired(&on), &observed);
    let text = steps(&without, &observed, &datapath);
    let of_tap: Vec<_> = text.lines().filter(|line| line.contains("tap7")).collect();
    assert_eq!(of_tap, ["policy tap7: remove, with its programs"]);
    datapath.ports.remove(&name("tap7"));
    let original = &observed.originals[&name("tap7")];
    assert!(waits_for_its_bridge(&without, &observed, original));
    assert!(!waits_for_its_bridge(&desired("{}"), &observed, original));
    let text = steps(&desired("{}"), &observed, &datapath);
    assert!(text.contains("bridge vlan add dev tap7 vid 1 pvid untagged"), "{text}");
}

/// Where it is lost how devices were found, they stay as they are: only the programs go.
#[test]
fn what_cannot_be_given_back_stays_on_the_bridge_of_others() {
    let (mut observed, datapath) = managed(true, FILE);
    observed.originals.clear();
    let steps = |observed: &Observed| steps(&desired("{}"), observed, &datapath);
    assert!(steps(&observed).contains("ip link set tap7 nomaster"));
    observed.originals_lost = true;
    insta::assert_snapshot!(steps(&observed), @"
    policy eth2: remove, with its programs
    policy tap7: remove, with its programs
    # guarded: eth2
    # guarded: vmbr0
    ");
    observed.links.get_mut(&name("vmbr0")).unwrap().alias = Some("netagent".to_owned());
    assert!(steps(&observed).contains("ip link set tap7 nomaster"));
}
