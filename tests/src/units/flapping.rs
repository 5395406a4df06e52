//! A link that changes all the time: it neither keeps the agent busy nor delays the repair of
//! others.

use super::{Lab, metric, state, status, wait_for_state};
use crate::{
    lab::{seen, wait_for},
    node::Daemon,
    once,
};

/// How long a link flaps, in seconds.
const SECONDS: u64 = 5;
/// More looks than the budget of two links, and less than those of an agent that follows each flap:
/// 200 and more.
const MOST: u64 = 100;

#[test]
fn a_link_that_flaps_is_looked_at_now_and_then() {
    once();
    let lab = Lab::new(3);
    let node = &lab.node;
    node.configure(&Lab::file(&[("vm0", ""), ("vm1", ""), ("late", "")]));
    let daemon = node.run();
    for (flap, device) in [
        ("link set vm0 down\nlink set vm0 up\n", "vm0"),
        ("link add late type veth peer name later\nlink del late\n", "late"),
    ] {
        let batch = node.config() + ".flaps";
        std::fs::write(&batch, flap.repeat(50)).unwrap();
        let before = applies(&daemon);
        let line = format!("timeout {SECONDS} sh -c 'while ip -batch {batch}; do :; done'; true");
        let mut flapping = node.netns.command(&line).spawn().unwrap();
        wait_for("the agent has seen it", || {
            let applies = applies(&daemon) - before;
            seen(applies, applies > 5)
        });
        // Another port is repaired meanwhile.
        node.netns.sh("ip link set vm1 nomaster");
        wait_for("vm1 is back", || {
            let master = node.netns.link("vm1")["master"].clone();
            let back = master == "lab-br";
            seen(master, back)
        });
        assert!(flapping.try_wait().unwrap().is_none(), "vm1 had to wait");
        flapping.wait().unwrap();
        let applies = applies(&daemon) - before;
        println!("flapping: {applies} applies while {device} flapped for {SECONDS} s");
        assert!(applies <= MOST, "{applies}");
    }
    // It is as good as others afterwards.
    wait_for_state(node, "ports", "vm0", "Ready");
    lab.wait_for_ping(0, 1);
    assert_eq!(state(&status(node), "ports", "late"), "Waiting");
    daemon.kill();
}

/// How often the agent has looked at something and applied.
fn applies(daemon: &Daemon<'_>) -> u64 {
    let count = |name: &str| metric(daemon, name).parse::<u64>().unwrap();
    count("netagent_reconcile_success_total") + count("netagent_reconcile_failures_total")
}
