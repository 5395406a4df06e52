//! XDP on an uplink that somebody else uses, or whose driver refuses it.

use std::fs;

use super::{Lab, status};
use crate::{
    lab::{seen, wait_for, wait_until_eq},
    node::Node,
    once,
};

fn file(nic: &str, keys: &str) -> String {
    let file = Lab::file(&[]).replace("ports:", "").replace("eth2", nic);
    file.replace("{ uplink:", &format!("{{ {keys} uplink:"))
}

fn wait_for_xdp(node: &Node, wanted: &str) {
    wait_for(wanted, || {
        let table = node.ok("show ports");
        let there = table.lines().any(|line| line.trim_end().ends_with(wanted));
        seen(table, there)
    });
}

#[test]
fn a_program_of_others_is_named_and_ours_follows_it() {
    once();
    let lab = Lab::new(0);
    let node = &lab.node;
    node.configure(&file("eth2", "").replace("bond: {", "xdp: off, bond: {"));
    node.run().kill();
    let programs = fs::read_dir(node.pin("programs")).unwrap().next().unwrap().unwrap().path();
    let program = programs.join("uplink_xdp");
    let net = |arguments: &str| node.netns.sh(&format!("bpftool net {arguments} dev eth2"));
    net(&format!("attach xdpdrv pinned {}", program.display()));
    node.configure(&file("eth2", "fastPath: xdp,"));
    let daemon = node.run();
    wait_for_xdp(node, "off: there is another program");
    let found = status(node)["findings"].to_string();
    assert!(found.contains("eth2 has another XDP program, with ID "), "{found}");
    // A daemon that starts again does not take it for refused either.
    daemon.kill();
    let _daemon = node.run();
    net("detach xdpdrv");
    wait_for_xdp(node, "native");
    assert!(!status(node)["findings"].to_string().contains("XDP"));
}

/// The offloads that hide tags from XDP.
fn hiding(node: &Node) -> String {
    node.netns.sh("ethtool -k eth2 | grep -E 'rx-vlan-(offload|stag-hw-parse)'")
}

/// They are switched off, and again when somebody switches one on.
#[test]
fn offloads_that_hide_tags_from_xdp_stay_off() {
    once();
    let lab = Lab::new(0);
    let node = &lab.node;
    let all = |state: &str| format!("rx-vlan-offload: {state}\nrx-vlan-stag-hw-parse: {state}\n");
    assert_eq!(hiding(node), all("on"));
    node.configure(&file("eth2", "fastPath: xdp,"));
    let _daemon = node.run();
    wait_for_xdp(node, "native");
    assert_eq!(hiding(node), all("off"));
    for option in ["rxvlan", "rx-vlan-stag-hw-parse"] {
        node.netns.sh(&format!("ethtool -K eth2 {option} on"));
        wait_until_eq("it is off again", &all("off"), || hiding(node));
        wait_for_xdp(node, "native");
    }
}

/// The driver of a veth refuses a program while its peer has more queues to send than it has to
/// receive.
#[test]
fn a_driver_that_refused_is_asked_again_by_a_reload() {
    once();
    let lab = Lab::new(0);
    let node = &lab.node;
    let queues = "numrxqueues 2 numtxqueues 2";
    node.netns.sh(&format!("ip link add nic0 {queues} type veth peer name nic1 {queues}"));
    node.netns.sh("ethtool -L nic0 rx 1 && ip link set nic1 up");
    node.configure(&file("nic0", "fastPath: xdp,"));
    let _daemon = node.run();
    wait_for_xdp(node, "refused by the driver");
    node.netns.sh("ethtool -L nic0 rx 2");
    node.ok("reload");
    wait_for_xdp(node, "native");
}
