//! Many ports: requests and signals are served between units, and an event costs what changed.

use std::{fs, path::Path, process::Command};

use super::{state, status};
use crate::{
    lab::{Netns, seen, sh, wait_for},
    needs_program,
    node::{Daemon, Node},
    once,
};

/// A node with this many ports, from `p000` on.
fn node(ports: usize) -> (Node, Netns) {
    let (node, vms) = (Node::new(), Netns::new("vms"));
    let names: Vec<String> = (0..ports).map(|number| format!("p{number:03}")).collect();
    let link =
        |name: &String| format!("link add {name} type veth peer name {name} netns {}\n", vms.name);
    let batch: String = names.iter().map(link).collect();
    fs::write(node.config(), batch).unwrap();
    node.netns.sh(&format!("ip -b {}", node.config()));
    let port = |name: &String| format!("  - {{ device: {name}, network: n100 }}\n");
    node.configure(&format!(
        "
clusterNetworks: {{ lab: {{}} }}
networks: {{ n100: {{ clusterNetwork: lab, vlan: 100 }} }}
metrics: {{ listen: \"127.0.0.1:9469\" }}
ports:
{}",
        names.iter().map(port).collect::<String>()
    ));
    (node, vms)
}

#[test]
fn requests_and_signals_are_served_between_the_units_of_a_long_plan() {
    once();
    let (node, vms) = node(150);
    node.netns.sh(&format!("ip link add late type veth peer name late netns {}", vms.name));
    let begun = |node: &Node| Path::new(&node.pin("links/p003")).exists();
    let ended = |node: &Node| Path::new(&node.pin("links/p149")).exists();
    let mut daemon = node.start();
    wait_for("the apply has begun", || seen((), begun(&node)));
    assert!(daemon.get("healthz").starts_with("ok"));
    let socket = node.socket().display().to_string();
    let plan = format!("curl -s --unix-socket {socket} http://localhost/v1/plan");
    let plan: serde_json::Value = node.netns.json(&plan);
    let steps = plan["units"].as_array().unwrap().iter();
    let left = steps.filter(|unit| unit["unit"].to_string().contains("p149")).count();
    assert!(left > 0, "{plan}");
    let ready = daemon.get("readyz");
    assert!(ready.starts_with("not ready\n") && ready.contains("first apply"), "{ready}");
    node.ok("port add late --network n100");
    assert!(!ended(&node), "the port had to wait for all others");
    assert_eq!(node.netns.link("late")["master"], "lab-br");
    sh(&format!("kill -TERM {}", daemon.child.id()));
    assert!(daemon.child.wait().unwrap().success());
    assert!(!ended(&node), "the signal had to wait for all units");
    // The next agent continues.
    let daemon = node.run();
    let found = status(&node);
    for port in ["p000", "p149", "late"] {
        assert_eq!(state(&found, "ports", port), "Ready");
    }
    drop(daemon);
}

#[test]
fn an_event_at_one_port_costs_the_same_with_many_ports() {
    once();
    if !needs_program("strace") {
        return;
    }
    let [few, many] = [20, 120].map(|ports| {
        let (node, _vms) = node(ports);
        let daemon = node.run();
        // The look at the whole node, every 30 seconds, may fall together with one of the events.
        let calls = (0..3_u32).map(|number| {
            let event = format!("ip link set p001 txqueuelen {}", 900 + number);
            calls(&node, &daemon, || drop(node.netns.sh(&event))).len()
        });
        calls.min().unwrap()
    });
    println!("system calls for an event at one port: {few} with 20 ports, {many} with 120");
    assert!(few > 5, "{few}");
    assert!(many <= few + 20, "{few} with 20 ports, {many} with 120");
}

/// The system calls of the agent's loop from an event on, until there are no more.
fn calls(node: &Node, daemon: &Daemon<'_>, event: impl FnOnce()) -> Vec<String> {
    let log = format!("{}/strace", node.state().display());
    let _old = fs::remove_file(&log);
    let process = daemon.child.id().to_string();
    let mut strace =
        Command::new("strace").args(["-q", "-o", &log, "-p", &process]).spawn().unwrap();
    wait_for("strace is attached", || {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let attached = !status.contains("TracerPid:\t0");
        seen(status, attached)
    });
    event();
    let mut before = 0;
    let mut quiet = 0;
    wait_for("the loop rests", || {
        let length = fs::read_to_string(&log).unwrap_or_default().len();
        quiet = if length == before { quiet + 1 } else { 0 };
        before = length;
        seen((length, quiet), length > 0 && quiet > 50)
    });
    sh(&format!("kill -INT {}", strace.id()));
    strace.wait().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    text.lines().filter(|line| line.contains('(')).map(str::to_owned).collect()
}
