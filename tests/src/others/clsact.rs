//! Kernels before 6.6: clsact holds the programs, and a device has one qdisc at its place.

use super::{foreign::Filter, lab, pass};
use crate::{Feature, forward::Path, lab::kernel_has, test};

/// Whether clsact holds the programs on this kernel. If not, prints so, and the test must return.
fn needs_clsact() -> bool {
    let needed = !kernel_has(Feature::Tcx);
    if !needed {
        println!("skipped: {}: TCX holds the programs", test());
    }
    needed
}

#[test]
fn port_with_an_ingress_qdisc_is_refused_before_it_joins() {
    if !needs_clsact() {
        return;
    }
    let lab = lab(Path::Bridge);
    lab.node.netns.sh("tc qdisc add dev vm-b ingress");
    let apply = format!("apply -c {}", lab.node.config());
    let output = lab.node.netagent(&apply);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("vm-b has an ingress qdisc"), "{errors}");
    assert_eq!(lab.node.netns.members("lab-br"), ["eth2", "vm-a"]);
    lab.node.netns.sh("tc qdisc del dev vm-b ingress");
    lab.node.ok(&apply);
    assert!(pass(&lab, "vm-b"));
}

#[test]
fn no_clsact_is_left_where_nobody_else_uses_it() {
    if !needs_clsact() {
        return;
    }
    let lab = lab(Path::Bridge);
    lab.node.ok(&format!("apply -c {}", lab.node.config()));
    // One of somebody else stays.
    let filter = Filter::drop_all(&lab.node.netns);
    lab.node.netns.sh(&format!("tc filter add dev vm-a ingress pref 9 {}", filter.text()));
    lab.node.ok("detach");
    for (device, expected) in [("vm-a", true), ("vm-b", false), ("eth2", false)] {
        let qdiscs = lab.node.netns.sh(&format!("tc qdisc show dev {device}"));
        assert_eq!(qdiscs.contains("clsact"), expected, "{device}: {qdiscs}");
    }
    lab.node.netns.sh("tc qdisc add dev vm-b ingress");
}
