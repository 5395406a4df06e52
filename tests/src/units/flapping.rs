//! A link that changes all the time: it neither keeps the agent busy nor delays the repair of
//! others.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Lab, metric, state, status, wait_for_state};
use crate::{
    lab::{seen, wait_for},
    node::Daemon,
    once,
};

/// How long a link flaps at least.
const ENOUGH: Duration = Duration::from_secs(5);
/// The budgets of a link, its peer, its bridge and the whole node, and some more looks per second
/// than each of them may have. An agent that follows each flap looks 40 times per second and more.
const BUDGETS: u64 = 80;
const PER_SECOND: u64 = 8;

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
        let (before, began) = (applies(&daemon), Instant::now());
        // Until the file is gone.
        let line = format!("while [ -e {batch} ]; do ip -batch {batch}; done");
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
        wait_for("it has flapped long enough", || {
            let flapped = began.elapsed();
            seen(flapped, flapped > ENOUGH)
        });
        let (applies, seconds) = (applies(&daemon) - before, began.elapsed().as_secs());
        println!("flapping: {applies} applies while {device} flapped for {seconds} s");
        assert!(applies <= BUDGETS + PER_SECOND * seconds, "{applies} in {seconds} s");
        std::fs::remove_file(&batch).unwrap();
        flapping.wait().unwrap();
    }
    // It is as good as others afterwards.
    wait_for_state(node, "ports", "vm0", "Ready");
    lab.wait_for_ping(0, 1);
    assert_eq!(state(&status(node), "ports", "late"), "Waiting");
    daemon.kill();
}

/// A warning that lasts is logged once, however often the agent looks, and once when it is over.
#[test]
fn a_warning_is_logged_when_it_is_new_and_when_it_is_gone() {
    once();
    let lab = Lab::new(2);
    let node = &lab.node;
    node.configure(&Lab::file(&[("vm0", ""), ("vm1", "")]));
    let daemon = node.run();
    let (state, aside) = (node.state(), node.state().with_extension("aside"));
    std::fs::rename(&state, &aside).unwrap();
    std::fs::write(&state, "").unwrap();
    // It is to be forgotten, which fails at each look.
    node.netns.sh("ip link del vm1");
    let flap = "link add late type veth peer name later\nlink del late\n";
    let batch = node.config() + ".flaps";
    std::fs::write(&batch, flap.repeat(50)).unwrap();
    let line = format!("while [ -e {batch} ]; do ip -batch {batch}; done");
    let mut flapping = node.netns.command(&line).spawn().unwrap();
    let looks = applies(&daemon);
    wait_for("the agent has looked often", || {
        let now = applies(&daemon) - looks;
        seen(now, now > 20)
    });
    let lines = || -> BTreeMap<String, usize> {
        let mut lines = BTreeMap::new();
        let log = node.log_text();
        let texts =
            log.lines().filter_map(|line| line.split_once(' ')).map(|(_, text)| text.trim());
        texts
            .filter(|text| text.starts_with("WARN") || text.starts_with("ERROR"))
            .for_each(|text| *lines.entry(text.to_owned()).or_default() += 1);
        lines
    };
    let before = applies(&daemon);
    assert!(lines().keys().any(|text| text.contains("originals.json")), "{:#?}", lines());
    wait_for("the agent has looked again", || {
        let now = applies(&daemon) - before;
        seen(now, now > 10)
    });
    let lines = lines();
    println!("warnings while a container flapped: {lines:#?}");
    assert!(lines.values().all(|count| *count == 1), "{lines:#?}");
    std::fs::remove_file(&state).unwrap();
    std::fs::rename(&aside, &state).unwrap();
    wait_for("it is over", || {
        let log = node.log_text();
        let over = log
            .lines()
            .filter(|line| line.contains("no longer") && line.contains("originals.json"));
        let over = over.count();
        seen(over, over == 1)
    });
    std::fs::remove_file(&batch).unwrap();
    flapping.wait().unwrap();
    daemon.kill();
}

/// A finding that comes and goes with a container is logged until that is known.
#[test]
fn a_stranger_that_comes_and_goes_is_not_warned_of_each_time() {
    once();
    let lab = Lab::new(1);
    let node = &lab.node;
    node.configure(&Lab::file(&[("vm0", "")]));
    let daemon = node.run();
    let finding = "late is a port of lab-br that no source names";
    let shows = |wanted: bool| {
        wait_for("the finding comes or goes", || {
            let text = node.ok("status");
            let found = text.contains(finding) == wanted;
            seen(text, found)
        });
    };
    for _ in 0..6 {
        node.netns
            .sh("ip link add late type veth peer name later && ip link set late master lab-br");
        shows(true);
        node.netns.sh("ip link del late");
        shows(false);
    }
    let log = node.log_text();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(finding)).collect();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("WARN"), count("it comes and goes"), count("no longer")), (2, 1, 1), "{log}");
    daemon.kill();
}

/// How often the agent has looked at something and applied.
fn applies(daemon: &Daemon<'_>) -> u64 {
    let count = |name: &str| metric(daemon, name).parse::<u64>().unwrap();
    count("netagent_reconcile_success_total") + count("netagent_reconcile_failures_total")
}
