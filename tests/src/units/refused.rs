//! Ports and NICs that this node cannot have.

use super::{Lab, metric, state, status, wait_for_state};
use crate::{
    Feature,
    lab::{Netns, seen, succeeded, wait_for},
    needs,
    node::Node,
    once,
};

#[test]
fn a_port_that_is_a_bridge_or_belongs_to_another_bridge_is_refused_and_the_others_work() {
    let lab = Lab::new(3);
    let node = &lab.node;
    node.netns.sh("ip link add foreign type bridge && ip link set foreign up");
    node.netns.sh("ip link set vm2 master foreign");
    let storm = ", security: { storm: { unknown: 10 } }";
    // The refused ports come first and last.
    node.configure(&Lab::file(&[("foreign", ""), ("vm0", storm), ("vm1", ""), ("vm2", "")]));
    let apply = node.netagent(&format!("apply -c {}", node.config()));
    let complaint = String::from_utf8_lossy(&apply.stderr).into_owned();
    assert_eq!(apply.status.code(), Some(3), "{complaint}");
    let lines: Vec<_> = complaint.lines().collect();
    assert_eq!(lines.len(), 2, "{complaint}");
    assert!(lines[0].contains("foreign: is a bridge"), "{complaint}");
    assert!(lines[1].contains("vm2: belongs to foreign, not lab-br"), "{complaint}");
    lab.wait_for_ping(0, 1);

    let daemon = node.run();
    let found = status(node);
    for (port, wanted) in
        [("foreign", "Refused"), ("vm0", "Ready"), ("vm1", "Ready"), ("vm2", "Refused")]
    {
        assert_eq!(state(&found, "ports", port), wanted, "{found}");
    }
    assert_eq!(node.netagent("status").status.code(), Some(3));
    let ready = daemon.get("readyz");
    assert!(ready.starts_with("ready\n") && ready.contains("vm2: belongs to foreign"), "{ready}");
    let series = "netagent_unwell{subject=\"port\",name=\"vm2\",state=\"refused\"}";
    assert_eq!(metric(&daemon, series), "1");
    let refused = "netagent_problems{severity=\"error\",code=\"refused\"}";
    assert_eq!(metric(&daemon, refused), "2");
    // The refused ports were not touched.
    assert_eq!(node.netns.link("vm2")["master"], "foreign");
    assert!(node.netagent("show ports").stdout.windows(3).all(|text| text != b"vm2"));

    // The fast path and the repair of healthy ports do not depend on the refused ones.
    lab.wait_for_ping(0, 1);
    wait_for("the fast path knows both VMs", || {
        let fdb = node.ok("show fdb");
        let known = fdb.contains("vm0") && fdb.contains("vm1");
        seen(fdb, known)
    });
    limited(&lab);
    node.netns.sh("ip link set vm1 nomaster");
    lab.wait_for_ping(0, 1);

    // Each recovers when its cause goes.
    node.netns.sh("ip link set vm2 nomaster");
    wait_for_state(node, "ports", "vm2", "Ready");
    lab.wait_for_ping(2, 0);
}

/// The limit of `vm0` for frames to unknown stations holds.
fn limited(lab: &Lab) {
    use crate::{frame::Frame, wire::Wire};
    let vm = Wire::open(&lab.vms[0], "eth0");
    wait_for("frames to unknown stations are limited", || {
        for number in 0..50 {
            let frame = Frame { destination: [2, 9, 9, 9, 9, 9], ..Frame::numbered(number, &[]) };
            vm.send(&frame);
        }
        let drops = lab.node.drops();
        let limited = drops.contains_key(&("vm0".to_owned(), "unknown-storm".to_owned()));
        seen(drops, limited)
    });
}

#[test]
fn an_uplink_in_a_foreign_bridge_leaves_the_vms_together_and_the_node_not_ready() {
    once();
    let lab = Lab::new(2);
    let node = &lab.node;
    node.netns.sh("ip link add foreign type bridge && ip link set foreign up");
    node.netns.sh("ip link set eth2 master foreign");
    node.configure(&Lab::file(&[("vm0", ""), ("vm1", "")]));
    let daemon = node.start();
    let not_ready = || {
        wait_for("the segment is down", || {
            let ready = daemon.get("readyz");
            let down = ready.starts_with("not ready\n")
                && ready.contains("eth2: belongs to foreign, not lab-br")
                && !ready.contains("first apply");
            seen(ready, down)
        });
        let present = "netagent_segment_nics_present{segment=\"lab\"}";
        assert_eq!(metric(&daemon, present), "0");
    };
    not_ready();
    lab.wait_for_ping(0, 1);
    node.netns.sh("ip link set eth2 nomaster");
    wait_for_state(node, "segments", "lab", "Ready");
    daemon.wait_until_ready();
    // At run time as well: netagent does not take it back.
    node.netns.sh("ip link set eth2 master foreign");
    not_ready();
    lab.wait_for_ping(0, 1);
}

#[test]
fn a_device_that_is_not_ethernet_is_refused_and_a_renamed_one_is_named() {
    once();
    let lab = Lab::new(2);
    let node = &lab.node;
    node.netns.sh("ip tuntap add dev tun9 mode tun && ip link set tun9 up");
    node.configure(&Lab::file(&[("vm0", ""), ("vm1", ""), ("tun9", ""), ("lo9", "")]));
    let daemon = node.run();
    let found = wait_for_state(node, "ports", "tun9", "Refused");
    assert!(found.to_string().contains("tun9: is not an Ethernet device"), "{found}");
    node.netns.sh("ip link set vm1 name other1");
    wait_for("the new name is said", || {
        let text = String::from_utf8_lossy(&node.netagent("status").stdout).into_owned();
        let said = text.contains("vm1: is called other1 now");
        seen(text, said)
    });
    // It is filtered as before.
    lab.wait_for_ping(0, 1);
    assert!(daemon.get("readyz").starts_with("ready\n"));
    node.netns.sh("ip link set other1 name vm1");
    wait_for_state(node, "ports", "vm1", "Ready");
}

#[test]
fn a_nic_of_a_foreign_bond_or_bridge_leaves_the_segment_with_the_others() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let (node, switch) = (Node::new(), Netns::new("switch"));
    for nic in ["eth2", "eth3"] {
        node.netns.veth(nic, &switch, nic);
    }
    node.netns.sh("ip link add theirs type bond mode active-backup && ip link set theirs up");
    node.netns.sh("ip link set eth3 down && ip link set eth3 master theirs");
    node.configure(BOND);
    let daemon = node.run();
    let found = wait_for_state(&node, "segments", "oob", "Degraded");
    assert!(found.to_string().contains("eth3 belongs to theirs, not oob-bo"), "{found}");
    assert_eq!(node.netns.members("oob-bo"), ["eth2"]);
    assert_eq!(node.netns.members("theirs"), ["eth3"]);
    assert!(daemon.get("readyz").starts_with("ready\n"));
    node.netns.sh("ip link set eth3 nomaster");
    wait_for_state(&node, "segments", "oob", "Ready");
    assert_eq!(node.netns.members("oob-bo"), ["eth2", "eth3"]);
}

const BOND: &str = "
clusterNetworks: { oob: { uplink: { nics: [eth2, eth3], bond: { mode: active-backup } } } }
metrics: { listen: \"127.0.0.1:9469\" }
";

#[test]
fn a_nic_that_is_missing_is_named_everywhere_until_it_is_back() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let (node, switch) = (Node::new(), Netns::new("switch"));
    node.netns.veth("eth2", &switch, "eth2");
    node.configure(BOND);
    let apply = node.netagent(&format!("apply -c {}", node.config()));
    let complaint = String::from_utf8_lossy(&apply.stderr).into_owned();
    assert_eq!(apply.status.code(), Some(3), "{complaint}");
    assert!(complaint.contains("eth3: no such device"), "{complaint}");
    let daemon = node.run();
    let nics = |wanted: &str| {
        ["wanted", "present", "up"].map(|which| {
            metric(&daemon, &format!("netagent_segment_nics_{which}{{segment=\"oob\"}}"))
        }) == wanted.split(' ').collect::<Vec<_>>()[..]
    };
    let degraded = || {
        wait_for_state(&node, "segments", "oob", "Degraded");
        let ready = daemon.get("readyz");
        assert!(ready.starts_with("ready\n") && ready.contains("eth3: no such device"), "{ready}");
        assert!(nics("2 1 1"), "{}", daemon.get("metrics"));
        let bonds = node.ok("show bonds");
        assert!(bonds.contains("eth3 missing"), "{bonds}");
    };
    degraded();
    node.netns.veth("eth3", &switch, "eth3");
    wait_for_state(&node, "segments", "oob", "Ready");
    assert!(nics("2 2 2"), "{}", daemon.get("metrics"));
    // Gone and renamed at run time.
    node.netns.sh("ip link del eth3");
    degraded();
    node.netns.veth("eth3", &switch, "eth3");
    wait_for_state(&node, "segments", "oob", "Ready");
    // Before Linux 6.2 a link must be down for that, and the agent sets the member up again.
    let rename = "ip link set eth3 down && ip link set eth3 name other && ip link set other up";
    wait_for("eth3 has another name", || succeeded(&node.netns.output(rename)));
    degraded();
    // A segment without any NIC fails readiness.
    node.netns.sh("ip link del eth2; ip link del other");
    wait_for("the segment is down", || {
        let ready = daemon.get("readyz");
        let down = ready.starts_with("not ready\n") && ready.contains("eth2: no such device");
        seen(ready, down)
    });
}
