//! The ARP check of a bond whose targets are in a tagged VLAN: the kernel asks in the VLAN of the
//! node's interface there.

use super::node;
use crate::{
    Feature,
    lab::{seen, wait_for},
    needs,
};

#[test]
fn targets_in_a_tagged_vlan_are_asked_from_the_address_of_the_node_there() {
    if !needs(&[Feature::Bonding, Feature::VlanDevices]) {
        return;
    }
    let (node, switch) = node();
    switch.sh("ip link add sw type bridge mcast_snooping 0 && ip link set sw up");
    switch.sh("for port in eth2 eth3; do ip link set $port master sw up; done");
    switch.sh("ip link add link sw name sw.50 type vlan id 50 && ip link set sw.50 up");
    switch.sh("ip address add 10.0.50.1/24 dev sw.50");
    node.configure(
        "
clusterNetworks:
  oob:
    uplink:
      nics: [eth2, eth3]
      native: none
      bond:
        { mode: active-backup, arpInterval: 200ms, arpTargets: [10.0.50.1], arpValidate: all }
    host: { vlan: 50, address: 10.0.50.5/24 }
",
    );
    let _daemon = node.run();
    let bond = || node.netns.sh("cat /proc/net/bonding/oob-bo");
    let up = |count: usize| {
        wait_for(&format!("the bond and {count} members are up"), || {
            let text = bond();
            let found = text.matches("MII Status: up").count();
            seen(text, found == count)
        });
    };
    // The bond itself is one of them.
    up(3);
    let status = node.ok("status");
    assert!(!status.contains("ARP target"), "{status}");
    switch.sh("ip address delete 10.0.50.1/24 dev sw.50");
    wait_for("the target is missed", || {
        let status = String::from_utf8_lossy(&node.netagent("status").stdout).into_owned();
        let says = status.contains("no ARP target answers")
            || status.contains("no answer of an ARP target");
        seen(status, says)
    });
    switch.sh("ip address add 10.0.50.1/24 dev sw.50");
    up(3);
}
