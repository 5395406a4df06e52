//! Steps that fail: the unit is named and tried again, and the other units keep working.

use std::{fs, process::Command};

use super::{Lab, metric, wait_for_state};
use crate::{
    Feature,
    lab::{seen, sh, wait_for},
    needs, needs_program, once, soak,
    takeover::lab::Pinger,
};

/// Pings from one VM to another all the time, and counts what is lost.

#[test]
fn a_port_whose_programs_cannot_be_attached_is_degraded_alone_and_recovers_by_itself() {
    once();
    // A link is pinned only where TCX holds the programs.
    if !needs(&[Feature::Tcx]) {
        return;
    }
    let lab = Lab::new(21);
    let node = &lab.node;
    let names: Vec<String> = (0..21).map(|number| format!("vm{number}")).collect();
    let ports: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    node.configure(&Lab::file(&ports));
    let daemon = node.run();
    for name in &names {
        wait_for_state(node, "ports", name, "Ready");
    }
    lab.wait_for_ping(0, 1);
    let pinger = Pinger::start(&lab.vms[0], "10.0.0.2");
    // Nothing can be pinned there any more, and what was pinned is detached.
    let pins = node.pin("links/vm7");
    fs::remove_dir_all(&pins).or_else(|_| fs::remove_dir(&pins)).unwrap();
    std::os::unix::fs::symlink("nowhere", &pins).unwrap();
    node.netns.sh("ip link set vm7 txqueuelen 900");
    let found = wait_for_state(node, "ports", "vm7", "Degraded");
    assert!(found.to_string().contains("attach port_in to vm7"), "{found}");
    let repairs =
        |which: &str| metric(&daemon, &format!("netagent_drift_{which}_total{{kind=\"program\"}}"));
    assert_eq!(repairs("repairs"), "0");
    assert_ne!(repairs("repair_failures"), "0");
    assert_eq!(repairs("repair_failures"), repairs("repair_attempts"));
    for name in names.iter().filter(|name| *name != "vm7") {
        wait_for_state(node, "ports", name, "Ready");
    }
    // Others are repaired meanwhile.
    node.netns.sh("ip link set vm8 nomaster");
    lab.wait_for_ping(8, 0);
    fs::remove_file(&pins).unwrap();
    wait_for_state(node, "ports", "vm7", "Ready");
    lab.wait_for_ping(7, 0);
    assert_eq!(pinger.missed(), 0);
    let history = node.ok("history -n 1000");
    assert!(history.contains("repair port vm7: attach port_in to vm7 FAILED"), "{history}");
    assert!(history.contains("apply port vm20: ip link set vm20 master lab-br"), "{history}");
    // A single apply does all that it can, behind the port that fails.
    daemon.kill();
    let pins = node.pin("links/vm0");
    fs::remove_dir_all(&pins).or_else(|_| fs::remove_dir(&pins)).unwrap();
    std::os::unix::fs::symlink("nowhere", &pins).unwrap();
    node.netns.sh("ip link set vm9 nomaster");
    let apply = node.netagent(&format!("apply -c {}", node.config()));
    assert_eq!(apply.status.code(), Some(3), "{}", String::from_utf8_lossy(&apply.stderr));
    assert_eq!(node.netns.link("vm9")["master"], "lab-br");
    fs::remove_file(&pins).unwrap();
    node.ok(&format!("apply -c {}", node.config()));
}

/// Who has removed the cause does not want to wait for the next attempt.
#[test]
fn a_reload_and_a_port_that_is_added_again_try_at_once_what_failed() {
    once();
    // A link is pinned only where TCX holds the programs.
    if !needs(&[Feature::Tcx]) {
        return;
    }
    let lab = Lab::new(2);
    let node = &lab.node;
    node.configure(&Lab::file(&[("vm0", "")]));
    let daemon = node.run();
    node.ok("port add vm1 --network n100");
    for (port, again) in [("vm0", "reload"), ("vm1", "port add vm1 --network n100")] {
        let pins = node.pin(&format!("links/{port}"));
        fs::remove_dir_all(&pins).or_else(|_| fs::remove_dir(&pins)).unwrap();
        std::os::unix::fs::symlink("nowhere", &pins).unwrap();
        let series = "netagent_drift_repair_failures_total{kind=\"program\"}";
        let failures = || metric(&daemon, series).parse::<u32>().unwrap_or_default();
        let before = failures();
        node.netns.sh(&format!("ip link set {port} txqueuelen 900"));
        wait_for("it has failed often enough to wait for seconds", || {
            let more = failures() - before;
            seen(more, more >= 4)
        });
        fs::remove_file(&pins).unwrap();
        let answer = node.ok(again);
        assert!(!answer.contains("Degraded"), "{answer}");
    }
}

/// Programs whose maps nobody can read any more are replaced.
#[test]
fn maps_whose_pins_are_gone_are_made_again() {
    once();
    let lab = Lab::new(2);
    let node = &lab.node;
    node.configure(&Lab::file(&[("vm0", ""), ("vm1", "")]));
    let _daemon = node.run();
    lab.wait_for_ping(0, 1);
    let maps = node.pin("maps");
    for map in fs::read_dir(&maps).unwrap().flatten() {
        fs::remove_file(map.path()).unwrap();
    }
    node.netns.sh("ip link set vm1 nomaster");
    lab.wait_for_ping(0, 1);
    for port in ["vm0", "vm1"] {
        wait_for_state(node, "ports", port, "Ready");
    }
    wait_for("frames are counted again", || {
        lab.wait_for_ping(0, 1);
        let (received, _) = node.packets("vm0", "100");
        seen(received, received > 0)
    });
}

/// Each system call that plugging a port in takes fails once, with 20 ports beside it; in a short
/// run some of them.
#[test]
fn a_port_that_fails_at_any_call_is_completed_later_and_harms_no_other() {
    once();
    if !needs_program("strace") {
        return;
    }
    let lab = Lab::new(22);
    let node = &lab.node;
    let names: Vec<String> = (0..21).map(|number| format!("vm{number}")).collect();
    let ports: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    node.configure(&Lab::file(&ports));
    let daemon = node.run();
    lab.wait_for_ping(0, 1);
    let pinger = Pinger::start(&lab.vms[0], "10.0.0.2");
    let mut injected = 0;
    for (call, error) in [("bpf", "ENOMEM"), ("sendto", "ENOBUFS")] {
        // Every fourth call; in a soak, each.
        for number in (1..).step_by(if soak() { 1 } else { 4 }) {
            let log = format!("{}/strace", node.state().display());
            let mut strace = Command::new("strace")
                .args(["-q", "-o", &log, "-p", &daemon.child.id().to_string()])
                .args(["-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:error={error}:when={number}")])
                .spawn()
                .unwrap();
            wait_for("strace is attached", || {
                let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id()));
                let status = status.unwrap();
                let attached = !status.contains("TracerPid:\t0");
                seen(status, attached)
            });
            // Whether it is answered as done or as failed, it is done in the end.
            node.netagent("port add vm21 --network n100");
            sh(&format!("kill -INT {}", strace.id()));
            strace.wait().unwrap();
            let text = fs::read_to_string(&log).unwrap();
            wait_for("the port is plugged in", || {
                // The answer to a failed look is an error: then the port was not added.
                node.netagent("port add vm21 --network n100");
                let status = super::status(node);
                let ready = super::state(&status, "ports", "vm21") == "Ready";
                seen(status, ready)
            });
            lab.wait_for_ping(21, 0);
            node.ok("port del vm21");
            wait_for("the port is unplugged", || {
                let link = node.netns.link("vm21");
                let unplugged = link["master"].is_null();
                seen(link, unplugged)
            });
            if !text.contains("INJECTED") {
                break;
            }
            injected += 1;
        }
    }
    assert!(injected > 3, "{injected}");
    assert_eq!(pinger.missed(), 0);
    for name in &names {
        wait_for_state(node, "ports", name, "Ready");
    }
}
