//! A daemon that cannot start says why in one line.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
};

use super::Lab;
use crate::{
    lab::{seen, wait_for},
    once,
};

#[test]
fn a_listener_that_cannot_be_opened_ends_the_start_with_one_line() {
    once();
    let lab = Lab::new(0);
    let node = &lab.node;
    node.configure(&Lab::file(&[]).replace("ports:", ""));
    let run = format!("run -c {}", node.config());
    let directory = node.state().join("sockets");
    fs::create_dir_all(&directory).unwrap();
    let place = |name: &str| directory.join(name).display().to_string();
    fs::write(place("file"), "").unwrap();
    fs::create_dir(place("directory")).unwrap();
    fs::create_dir(place("open")).unwrap();
    fs::set_permissions(place("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let _other = UnixListener::bind(place("taken")).unwrap();
    let long = "x".repeat(108);
    for (socket, reason) in [
        ("file", "is not a socket"),
        ("directory", "is not a socket"),
        ("open/socket", "is not a directory that only uid 0 can write to"),
        ("taken", "another netagent is listening"),
        (&long, "path must be shorter than SUN_LEN"),
    ] {
        let complaint =
            node.refused(&format!("{run} --log-level error --socket {}", place(socket)));
        assert!(complaint.contains(reason), "{socket}: {complaint}");
    }
    node.run();
}

#[test]
fn metrics_are_served_as_soon_as_their_address_can_be_used() {
    once();
    let lab = Lab::new(2);
    let node = &lab.node;
    node.configure(&Lab::file(&[("vm0", ""), ("vm1", "")]));
    let taken = || node.netns.inside(|| std::net::TcpListener::bind("127.0.0.1:9469").unwrap());
    // As in a fresh namespace: the kernel gives `lo` its address when it is set up.
    node.netns.sh("ip address flush dev lo && ip link set lo down");
    for remedy in ["ip link set lo up", "end the process that has it"] {
        let other = (remedy != "ip link set lo up").then(taken);
        let daemon = node.start();
        // The node is managed all the same.
        lab.wait_for_ping(0, 1);
        wait_for("the finding", || {
            let text = String::from_utf8_lossy(&node.netagent("status").stdout).into_owned();
            let found =
                text.contains("listen on 127.0.0.1:9469 for metrics") && text.contains(remedy);
            seen(text, found)
        });
        assert_eq!(metrics_lines(&node.log_text()), 1, "{}", node.log_text());
        node.netns.sh("ip link set lo up");
        drop(other);
        daemon.wait_until_ready();
        wait_for("the finding is gone", || {
            let text = String::from_utf8_lossy(&node.netagent("status").stdout).into_owned();
            let gone = !text.contains("for metrics");
            seen(text, gone)
        });
        daemon.kill();
        node.clear_log();
    }
}

/// How often the log says that the address cannot be used. "no longer" is another line.
fn metrics_lines(log: &str) -> usize {
    log.lines().filter(|line| line.contains("for metrics") && !line.contains("no longer")).count()
}

#[test]
fn a_pipe_in_the_place_of_a_file_stops_nothing() {
    once();
    let lab = Lab::new(1);
    let node = &lab.node;
    let file = Lab::file(&[("vm0", "")]);
    node.configure(&file);
    let daemon = node.run();
    fs::remove_file(node.config()).unwrap();
    node.netns.sh(&format!("mkfifo {}", node.config()));
    daemon.hangup();
    wait_for("the reload has failed", || {
        let text = String::from_utf8_lossy(&node.netagent("status").stdout).into_owned();
        let failed = text.contains("node.yaml: is not a regular file");
        seen(text, failed)
    });
    assert!(node.refused("reload").contains("is not a regular file"));
    daemon.kill();
    let complaint = node.refused(&format!("run -c {} --log-level error", node.config()));
    assert!(complaint.contains("is not a regular file"), "{complaint}");
    // A command reads pipes, and gives a silent one up.
    for command in ["check -c", "plan -c", "check --nad"] {
        let complaint = node.refused(&format!("{command} {}", node.config()));
        assert!(complaint.contains("nobody has written for 10 s"), "{command}: {complaint}");
    }
    fs::remove_file(node.config()).unwrap();
    node.configure(&file);
    let checked = node.netns.sh(&format!(
        "cat {} | {}; bash -c '{} <(cat {})'",
        node.config(),
        node.line("check -c /dev/stdin"),
        node.line("check -c"),
        node.config()
    ));
    assert_eq!(checked.matches("2 ports").count(), 2, "{checked}");
    let history = node.state().join("history.jsonl");
    for other in ["/dev/zero", "/dev/full"] {
        let _old = fs::remove_file(&history);
        std::os::unix::fs::symlink(other, &history).unwrap();
        assert!(node.refused("history").contains("is not a regular file"), "{other}");
    }
    node.run();
}
