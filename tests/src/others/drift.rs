//! What somebody changes at the programs and maps of the agent is noticed.

use std::time::{Duration, Instant};

use super::{
    foreign::{Foreign, Place},
    lab, pass,
};
use crate::{
    Feature, forward::Path, frame::C, lab::bpftool_bytes, lab::kernel_has, lab::wait_until, needs,
    once, policy::change_flags,
};

/// Well below the time between two looks at the whole node, and far above a second.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn programs_that_somebody_detaches_are_back_before_the_next_look() {
    let lab = lab(Path::Bridge);
    let _daemon = lab.node.run();
    let attached = |what: &str| lab.node.ok("history").matches(what).count();
    let link = |device: &str, program: &str| lab.node.pin(&format!("links/{device}/{program}"));
    let detach_link = format!("bpftool link detach pinned {}", link("vm-a", "port_in"));
    let remove_pin = format!("rm {}", link("vm-a", "port_out"));
    let both = "rm -r ".to_owned() + &lab.node.pin("links/vm-b");
    let remove_filter = "tc filter del dev vm-a ingress pref 1".to_owned();
    let remove_qdisc = "tc qdisc del dev vm-b clsact".to_owned();
    let [a_in, a_out, b_in] = ["port_in to vm-a", "port_out to vm-a", "port_in to vm-b"]
        .map(|what| format!("attach {what}"));
    let lines = if kernel_has(Feature::Tcx) {
        vec![(a_in, detach_link), (a_out, remove_pin), (b_in, both)]
    } else {
        vec![(a_in, remove_filter), (b_in, remove_qdisc)]
    };
    for (what, line) in lines {
        let before = attached(&what);
        lab.node.netns.sh(&line);
        let end = Instant::now() + SOON;
        while attached(&what) == before {
            assert!(Instant::now() < end, "{line}");
        }
        let other = lab.send("vm-b", &[(C, 200)], [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]]);
        assert!(lab.heard("vm-a", &[other], ("vm-b", &[])).is_empty(), "{line}");
    }
}

/// The agent was killed when the device was closed and the old link was gone.
#[test]
fn move_to_the_front_that_ended_half_way_leaves_no_device_closed() {
    if !needs(&[Feature::Tcx]) {
        return;
    }
    let lab = lab(Path::Bridge);
    let apply = format!("apply -c {}", lab.node.config());
    lab.node.ok(&apply);
    assert!(pass(&lab, "vm-b"));
    let pin = lab.node.pin("links/vm-b/port_in");
    Foreign::drop_all(&lab.node.netns, "vm-b", Place::Ingress).pin(&format!("{pin}-first"));
    lab.node.netns.sh(&format!("rm {pin}"));
    assert!(!pass(&lab, "vm-b"));
    lab.node.ok(&apply);
    assert!(pass(&lab, "vm-b"));
}

#[test]
fn maps_that_somebody_changes_are_as_desired_again() {
    once();
    let lab = lab(Path::Bridge);
    let _daemon = lab.node.run();
    assert!(pass(&lab, "vm-b"));
    let map = |name: &str| lab.node.pin(&format!("maps/{name}"));
    let index = lab.node.netns.ifindex("vm-a");
    let element = bpftool_bytes(&(index % 65536).to_ne_bytes());
    let zeros = bpftool_bytes(&[0; 8]);
    lab.node.netns.sh(&format!(
        "bpftool map update pinned {} key hex {element} value hex {zeros}",
        map("PORT_INDEX")
    ));
    // The policy of vm-b: none that admits anything.
    change_flags(&lab.node, "vm-b", |flags| *flags = 0);
    assert!(!pass(&lab, "vm-b"));
    wait_until("the frames pass again", || pass(&lab, "vm-b"));
    lab.node.assert_settled();
}
