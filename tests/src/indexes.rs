//! Interface indexes above 65,535, and indexes whose programs look at one element of a map.

use std::collections::BTreeMap;

use crate::{
    Feature,
    counters::lab::{Lab, Tags, station},
    frame::{BROADCAST, C},
    lab::{kernel_is_at_least, seen, wait_for},
    needs, once,
};

/// Number of elements of the index of ports.
const ELEMENTS: u32 = 1 << 16;
/// Number of elements of the list of NICs from which XDP may forward.
const NICS: u32 = 1024;

/// The VMs with their VLANs.
type Vms = BTreeMap<&'static str, u16>;

fn config(filtering: &str, vms: &Vms) -> String {
    let port =
        |(device, vid): (&&str, &u16)| format!("  - {{ device: {device}, network: v{vid} }}\n");
    let ports: String = vms.iter().map(port).collect();
    format!(
        "
clusterNetworks:
  oob: {{ vlanFiltering: {filtering}, uplink: {{ nics: [eth2], bond: {{ mode: none }}, xdp: off }} }}
networks:
  v100: {{ clusterNetwork: oob, vlan: 100 }}
  v200: {{ clusterNetwork: oob, vlan: 200 }}
  v300: {{ clusterNetwork: oob, vlan: 300 }}
ports:
{ports}"
    )
}

const VLANS: [Tags<'_>; 3] = [&[(C, 100)], &[(C, 200)], &[(C, 300)]];

/// Asserts that each VM hears its VLAN from the wire, and the wire hears each in its VLAN.
fn assert_apart(lab: &Lab, vms: &Vms) {
    lab.node.assert_settled();
    for (vm, vid) in vms {
        let frames = VLANS.map(|tags| lab.send("eth2", tags, [station(1), BROADCAST]));
        let own = VLANS.iter().position(|tags| tags[0].1 == *vid).unwrap();
        assert_eq!(lab.heard(vm, &frames, ("eth2", VLANS[own])), [own], "{vm}");
        let tagged = VLANS.map(|tags| lab.send(vm, tags, [station(2), BROADCAST]));
        let untagged = lab.send(vm, &[], [station(2), BROADCAST]);
        let came = lab.up_to("eth2", &untagged);
        let expected = untagged.with_tags(VLANS[own]);
        assert_eq!(came.last(), Some(&expected), "{vm}");
        let passed = |frame| came.iter().any(|there| there.number() == frame);
        assert!(!tagged.iter().any(|frame| passed(frame.number())), "{vm}");
    }
}

fn ports_that_share_an_element_are_apart(filtering: &str) {
    let lab = Lab::new(&[]);
    // The uplink comes first, and has the element of a VM.
    lab.plug("eth2", Some(1001 + 3 * ELEMENTS));
    for (vm, index) in
        [("vm-a", 1000), ("vm-b", 1000 + ELEMENTS), ("vm-c", 1000 + 2 * ELEMENTS), ("vm-d", 1001)]
    {
        lab.plug(vm, Some(index));
    }
    let mut vms = Vms::from([("vm-a", 100), ("vm-b", 200), ("vm-c", 300), ("vm-d", 200)]);
    lab.node.apply(&config(filtering, &vms));
    assert_apart(&lab, &vms);
    // The policies of all change.
    vms = Vms::from([("vm-a", 300), ("vm-b", 100), ("vm-c", 200), ("vm-d", 300)]);
    lab.node.apply(&config(filtering, &vms));
    assert_apart(&lab, &vms);
    // The element becomes free, the next change of a port takes it and a new device finds it taken.
    lab.unplug("vm-a");
    vms.remove("vm-a");
    vms.insert("vm-b", 200);
    lab.node.apply(&config(filtering, &vms));
    assert_apart(&lab, &vms);
    lab.plug("vm-a", Some(1000));
    vms.extend([("vm-a", 100), ("vm-c", 300)]);
    lab.node.apply(&config(filtering, &vms));
    assert_apart(&lab, &vms);
    // Two devices exchange their indexes: one of the element, one beside it.
    lab.unplug("vm-b");
    lab.unplug("vm-c");
    lab.plug("vm-b", Some(1000 + 2 * ELEMENTS));
    lab.plug("vm-c", Some(1000 + ELEMENTS));
    lab.node.apply(&config(filtering, &vms));
    assert_apart(&lab, &vms);
}

#[test]
fn ports_that_share_an_element_are_apart_on_an_unaware_bridge() {
    once();
    ports_that_share_an_element_are_apart("off");
}

#[test]
fn ports_that_share_an_element_are_apart_on_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        ports_that_share_an_element_are_apart("on");
    }
}

/// Of two NICs that share an element, one forwards by XDP and the other by TC.
#[test]
fn nics_that_share_an_element_forward() {
    let lab = Lab::new(&[]);
    let segments = [("one", "eth2", "vm-a"), ("two", "eth3", "vm-b")];
    for (number, (_, nic, vm)) in (1..).zip(segments) {
        lab.plug(nic, Some(2000 + number * NICS));
        lab.plug(vm, Some(3000 + number * ELEMENTS));
        lab.others.sh(&format!("ethtool -K {vm} gro on"));
    }
    let segment = |(name, nic, _): (&str, &str, &str)| {
        format!(
            "  {name}: {{ vlanFiltering: off, fastPath: xdp, uplink: {{ nics: [{nic}], bond: {{ mode: none }} }} }}\n"
        )
    };
    let network = |(name, ..): (&str, &str, &str)| {
        format!("  n-{name}: {{ clusterNetwork: {name}, vlan: 100 }}\n")
    };
    let port =
        |(name, _, vm): (&str, &str, &str)| format!("  - {{ device: {vm}, network: n-{name} }}\n");
    lab.node.configure(&format!(
        "clusterNetworks:\n{}networks:\n{}ports:\n{}",
        segments.map(segment).concat(),
        segments.map(network).concat(),
        segments.map(port).concat()
    ));
    let _daemon = lab.node.run();
    let [wire, vm] = [1, 2].map(|number| [station(number), station(10 + number)]);
    for (number, (_, nic, device)) in segments.into_iter().enumerate() {
        lab.learn(nic, &[(C, 100)], wire[number]);
        lab.learn(device, &[], vm[number]);
    }
    // A kernel before 6.3 does not report which devices support XDP_REDIRECT.
    let first = if kernel_is_at_least(6, 3) { "xdp" } else { "tc" };
    for (number, path) in [first, "tc"].into_iter().enumerate() {
        let (_, nic, device) = segments[number];
        wait_for("all frames take the path", || {
            let before = lab.forwarded(nic, path);
            for _ in 0..5 {
                let frame = lab.send(nic, &[(C, 100)], [wire[number], vm[number]]);
                let came = lab.up_to(device, &frame).pop();
                assert_eq!(came, Some(frame.with_tags(&[])));
            }
            let count = lab.forwarded(nic, path) - before;
            seen(count, count == 5)
        });
        if path == "tc" {
            assert_eq!(lab.forwarded(nic, "xdp"), 0, "{nic} has no element");
        }
    }
}

/// A NIC that becomes a segment of its own: the policy that it gets is not taken from it together
/// with its place in the bond, whether it has an element of its own or shares one.
#[test]
fn nic_that_leaves_a_bond_keeps_its_policy() {
    once();
    if !needs(&[Feature::Bonding]) {
        return;
    }
    for index in [2000, 1000 + ELEMENTS] {
        let lab = Lab::new(&["vm-a", "vm-b"]);
        lab.plug("eth2", Some(1000));
        lab.plug("eth3", Some(index));
        let apply = |nics: &str, bond: &str| {
            lab.node.apply(&format!(
                "
clusterNetworks:
  one: {{ vlanFiltering: off, uplink: {{ nics: [{nics}], bond: {{ mode: active-backup }}, xdp: off }} }}
  two: {{ vlanFiltering: off{bond} }}
networks: {{ one: {{ clusterNetwork: one, vlan: 100 }}, two: {{ clusterNetwork: two, vlan: 200 }} }}
ports: [{{ device: vm-a, network: one }}, {{ device: vm-b, network: two }}]
"
            ));
            lab.node.assert_settled();
        };
        apply("eth2, eth3", "");
        apply("eth2", ", uplink: { nics: [eth3], bond: { mode: none }, xdp: off }");
        lab.node.netns.wait_for_carriers();
        for (nic, vm, tags) in [("eth2", "vm-a", VLANS[0]), ("eth3", "vm-b", VLANS[1])] {
            let down = lab.send(nic, tags, [station(1), BROADCAST]);
            lab.up_to(vm, &down);
            let up = lab.send(vm, &[], [station(2), BROADCAST]);
            assert_eq!(lab.up_to(nic, &up).last(), Some(&up.with_tags(tags)), "{nic}");
        }
    }
}
