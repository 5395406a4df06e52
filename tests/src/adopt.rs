//! Bridges that somebody else made, with running VMs: netagent takes them over while every VM sends
//! and receives, and gives them back.

mod given_back;
pub mod lab;
mod strangers;

use self::lab::{Lab, Vm, frames, meanwhile};
use crate::{
    Feature,
    frame::{C, Frame},
    lab::{kernel_has, seen, wait_for},
    needs,
};

/// VMs that send untagged frames, which are untagged on the wire as well.
pub fn untagged(count: u8, network: Option<&'static str>) -> Vec<Vm> {
    (1..=count).map(|number| Vm { number, inside: 0, wire: 0, network }).collect()
}

/// VMs, each in a VLAN of its own: untagged in the VM, tagged on the wire.
pub fn access(count: u8) -> Vec<Vm> {
    const NETWORKS: [&str; 4] = ["v100", "v101", "v102", "v103"];
    let vid = |number: u8| 100 + u16::from(number % 4);
    let vm = |number: u8| Vm {
        number,
        inside: 0,
        wire: vid(number),
        network: Some(NETWORKS[usize::from(number % 4)]),
    };
    (1..=count).map(vm).collect()
}

/// VMs that tag their frames themselves.
pub fn tagged(first: u8, count: u8, vid: u16, network: Option<&'static str>) -> Vec<Vm> {
    (first..first + count).map(|number| Vm { number, inside: vid, wire: vid, network }).collect()
}

#[test]
fn vms_on_an_unaware_bridge_lose_no_frame() {
    // Emulated, 40 VMs take minutes.
    let many = if kernel_has(Feature::VlanFiltering) { 10 } else { 40 };
    for count in [2, many] {
        let vms = [untagged(count, Some("plain")), tagged(100, 2, 100, Some("lab"))].concat();
        let lab = Lab::new("vlan_filtering 0", vms);
        lab.assert_nothing_is_lost("apply", || lab.apply("auto"));
        assert_eq!(lab.filtering(), 0, "the filter stays as it was found");
        // The programs have learned the addresses: known unicast takes the fast path.
        let _daemon = lab.node.run();
        lab.assert_nothing_is_lost("the daemon starts", || lab.node.assert_settled());
    }
}

#[test]
fn filter_is_switched_on_after_the_ports_have_their_vlans() {
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    for count in [2, 8] {
        let vms = [untagged(count, Some("plain")), tagged(100, 2, 100, Some("lab"))].concat();
        let lab = Lab::new("vlan_filtering 0", vms);
        lab.assert_nothing_is_lost("switch on", || lab.apply("on"));
        assert_eq!(lab.filtering(), 1);
        lab.assert_nothing_is_lost("as found", || lab.apply("auto"));
        assert_eq!(lab.filtering(), 1);
        lab.assert_nothing_is_lost("switch off", || lab.apply("off"));
        assert_eq!(lab.filtering(), 0);
    }
}

#[test]
fn vms_on_an_aware_bridge_lose_no_frame() {
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    for count in [2, 8] {
        let mut vms = access(count);
        vms.extend(tagged(100, 2, 100, Some("lab")));
        vms.push(Vm { number: 110, inside: 0, wire: 0, network: Some("plain") });
        let lab = Lab::new("vlan_filtering 1", vms);
        lab.assert_nothing_is_lost("apply", || lab.apply("auto"));
        let _daemon = lab.node.run();
        lab.assert_nothing_is_lost("the daemon starts", || lab.node.assert_settled());
    }
}

/// A new port has the bridge's default PVID, VLAN 1, for a moment.
#[test]
fn port_that_joins_hears_nothing_of_the_default_vlan() {
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    let late = Vm { number: 9, inside: 0, wire: 100, network: Some("v100") };
    let lab = Lab::new("vlan_filtering 1", untagged(1, Some("plain")));
    lab.apply("auto");
    let ear = lab.plug(late, false);
    let of_default_vlan = |number| lab.broadcast(&Frame::numbered(number, &[]));
    meanwhile(of_default_vlan, || lab.apply_with("auto", &[late]));
    // Frames of VLAN 100 have the number 0.
    let heard = wait_for("the new port hears its VLAN", || {
        lab.broadcast(&Frame::numbered(0, &[(C, 100)]));
        let numbers: Vec<u32> = frames(&ear).iter().map(Frame::number).collect();
        seen(numbers.clone(), !numbers.is_empty())
    });
    assert!(heard.iter().all(|number| *number == 0), "{heard:?}");
}
