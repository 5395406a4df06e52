//! A change of what the node lives on is on trial: it stays only if it is confirmed, whoever dies
//! meanwhile.

use std::{fs, process::Child, thread::sleep, time::Duration};

use super::lab::{Lab, NIC};
use crate::{
    Feature,
    lab::{seen, sh, wait_for},
    needs, needs_program,
    node::Node,
    once, soak,
};

const FILE: &str = "clusterNetworks: { mgmt: { uplink: { nics: [eth0], bond: { mode: none } }, \
                    host: { address: 10.0.0.5/24 } } }\n\
                    networks: { n100: { clusterNetwork: mgmt, vlan: 100 } }\n\
                    ports: [ { device: tap1, network: n100 } ]\n\
                    metrics: { listen: \"127.0.0.1:9469\" }\n";

/// The node's interface loses the addresses by which it is reached.
const CUT: &str = "clusterNetworks: { mgmt: { uplink: { nics: [eth0], bond: { mode: none } }, \
                   host: { address: 10.9.9.5/24, keepForeign: false } } }\n";

fn lab() -> Lab {
    let lab = Lab::new(&["eth0"], NIC);
    lab.node.netns.sh("ip link add tap1 type veth peer name vm1 && ip link set tap1 up");
    lab.wait_until_reached("10.0.0.5");
    lab
}

/// What the node had before: links, addresses, routes, and programs.
fn state(node: &Node) -> String {
    let shown = node.netns.sh(
        "ip -o link | sed 's/ state [A-Z]*//; s/ qdisc .* mode/ mode/; s/ prog.*//'; \
         ip -o address show scope global; ip route show table all | grep -v local; \
         ip -6 route show table all | grep -v -e local -e multicast -e fe80 -e anycast",
    );
    let ports = node.ok("show ports -j");
    format!("{shown}{ports}")
}

fn wait_for_state(lab: &Lab, before: &str) {
    wait_for_same(lab, before, str::to_owned);
}

/// Waits until the node is as it was, by what `essence` leaves of its state, and is reached.
fn wait_for_same(lab: &Lab, before: &str, essence: fn(&str) -> String) {
    let before = essence(before);
    wait_for("the node is as it was", || {
        let now = essence(&state(&lab.node));
        let same = now == before;
        seen(format!("now:\n{now}\nbefore:\n{before}"), same)
    });
    lab.wait_until_reached("10.0.0.5");
}

/// An apply that waits for its confirmation.
fn try_for(lab: &Lab, seconds: u32, more: &str) -> Child {
    let arguments = format!("apply -c {} --try {seconds} --confirm eth0 {more}", lab.node.config());
    let log = format!("{}.try", lab.node.config());
    let file = fs::File::create(&log).unwrap();
    let mut command = lab.node.command(&arguments);
    let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    wait_for_line(lab, "# on trial");
    child
}

/// Waits until the apply that is on trial has printed this.
fn wait_for_line(lab: &Lab, words: &str) {
    wait_for(words, || {
        let text = fs::read_to_string(format!("{}.try", lab.node.config())).unwrap();
        let there = text.contains(words);
        seen(text, there)
    });
}

/// A change that is confirmed.
fn try_and_keep(lab: &Lab) {
    let mut apply = try_for(lab, 60, "");
    lab.node.ok("confirm");
    assert_eq!(ended(&mut apply), Some(0));
}

/// An apply that is killed while it waits.
fn try_and_kill(lab: &Lab, seconds: u32, more: &str) {
    let mut apply = try_for(lab, seconds, more);
    apply.kill().unwrap();
    apply.wait().unwrap();
}

fn ended(child: &mut Child) -> Option<i32> {
    child.wait().unwrap().code()
}

#[test]
fn apply_that_is_confirmed_stays() {
    once();
    let lab = lab();
    lab.node.configure(FILE);
    let mut apply = try_for(&lab, 60, "");
    assert!(lab.node.refused(&format!("apply -c {}", lab.node.config())).contains("agent"));
    lab.wait_until_reached("10.0.0.5");
    wait_for_line(&lab, "# reachable: the IPv4 default gateway");
    assert_eq!(lab.node.ok("confirm"), "confirmed\n");
    assert_eq!(ended(&mut apply), Some(0));
    lab.assert_moved("mgmt-br");
    lab.node.assert_settled();
    let refused = lab.node.refused("confirm");
    assert!(refused.contains("no change is on trial"), "{refused}");
}

#[test]
fn apply_that_nobody_confirms_is_rolled_back() {
    once();
    let lab = lab();
    let before = state(&lab.node);
    lab.node.configure(FILE);
    // By its deadline, by Ctrl-C, and when it is told to end.
    let mut apply = try_for(&lab, 2, "");
    assert_eq!(ended(&mut apply), Some(4));
    wait_for_state(&lab, &before);
    for signal in ["INT", "TERM"] {
        let mut apply = try_for(&lab, 60, "");
        sh(&format!("kill -{signal} {}", apply.id()));
        assert_eq!(ended(&mut apply), Some(4), "{signal}");
        wait_for_state(&lab, &before);
    }
    // It is automatic where the change alters what the node lives on, and only there.
    let history = lab.node.ok("history -n 400");
    assert!(history.contains("roll back: "), "{history}");
    let other = "clusterNetworks: { lab: {} }\n";
    lab.node.apply(other);
    lab.node.configure("clusterNetworks: {}\n");
    lab.node.ok(&format!("apply -c {} --confirm lab-br", lab.node.config()));
}

#[test]
fn change_that_loses_the_gateway_is_rolled_back() {
    once();
    let lab = lab();
    let before = state(&lab.node);
    lab.node.configure(FILE);
    let mut apply = try_for(&lab, 8, "");
    wait_for_line(&lab, "# reachable: the IPv4 default gateway");
    lab.outside.sh("ip link set sw down");
    wait_for_line(&lab, "# does not answer: the IPv4 default gateway");
    lab.outside.sh("sleep 6; ip link set sw up; ip -6 address add fd00::1/64 dev sw nodad");
    assert_eq!(ended(&mut apply), Some(4));
    wait_for_state(&lab, &before);
    let log = fs::read_to_string(format!("{}.try", lab.node.config())).unwrap();
    assert!(log.contains("within 8 s; the IPv4 default gateway"), "{log}");
}

/// Bonds and VLAN interfaces come back as well: the NIC's, those on it, and a NIC that was down.
#[test]
fn takeover_by_a_bond_is_rolled_back() {
    once();
    if !needs(&[Feature::Bonding, Feature::VlanDevices, Feature::VlanFiltering]) {
        return;
    }
    let tagged = "ip link add link eth0 name eth0.10 type vlan id 10; ip link set eth0.10 up; \
                  ip address add 10.1.0.5/24 dev eth0.10 valid_lft 900 preferred_lft 600; \
                  ip link set eth0 mtu 1450";
    let lab = Lab::new(&["eth0", "eth1"], &format!("{NIC}; {tagged}"));
    lab.node.netns.sh("ip link set eth1 down");
    let before = state(&lab.node);
    for yaml in [
        "clusterNetworks: { mgmt: { uplink: { nics: [eth0, eth1], mtu: 1400 }, \
         host: { address: 10.0.0.5/24 } } }",
        "clusterNetworks: { mgmt: { uplink: { nics: [eth1, eth0] }, \
         host: { vlan: 10, address: 10.1.0.5/24 } } }",
        "clusterNetworks: { mgmt: { uplink: { nics: [eth0], bond: { mode: none } }, \
         host: [ { address: 10.0.0.5/24 }, { vlan: 10 } ] } }",
    ] {
        lab.node.configure(yaml);
        let mut apply = try_for(&lab, 1, "--confirm eth0.10");
        assert_eq!(ended(&mut apply), Some(4));
        println!("rolled back: {yaml}");
        wait_for_same(&lab, &before, without_numbers);
        let left =
            lab.node.netns.sh("ip -4 -o address show dev eth0.10 | grep -o 'valid_lft [0-9]*'");
        let left: u32 = left.trim().trim_start_matches("valid_lft ").parse().unwrap();
        assert!((600..900).contains(&left), "{left}");
        lab.wait_until_reached("10.0.0.5");
    }
}

/// Without lifetimes and interface indexes: a link that was deleted has another one.
fn without_numbers(state: &str) -> String {
    let lines = state.lines().map(|line| line.split("valid_lft").next().unwrap());
    let strip = |line: &str| match line.split_once(": ") {
        Some((index, rest)) if index.parse::<u32>().is_ok() => rest.to_owned(),
        _ => line.to_owned(),
    };
    let mut lines: Vec<String> = lines.map(strip).collect();
    lines.sort();
    lines.join("\n")
}

/// An agent that is killed while its change is on trial: the next one waits as well.
#[test]
fn trial_outlives_the_agent() {
    once();
    let lab = lab();
    let before = state(&lab.node);
    lab.node.configure(FILE);
    let apply_line = format!("apply -c {}", lab.node.config());
    // Confirmed after the end of its process.
    try_and_kill(&lab, 60, "");
    let refused = lab.node.refused(&apply_line);
    assert!(refused.contains("`netagent confirm` keeps it"), "{refused}");
    lab.node.ok("rollback");
    wait_for_state(&lab, &before);
    assert!(lab.node.refused("rollback").contains("no change is on trial"));
    // Its time is over: the next apply undoes it, and does nothing else.
    try_and_kill(&lab, 1, "");
    sleep(Duration::from_millis(1100));
    assert_eq!(lab.node.netagent(&apply_line).status.code(), Some(4));
    wait_for_state(&lab, &before);
    // The daemon takes the trial over, and undoes it in time.
    try_and_kill(&lab, 4, "");
    let daemon = lab.node.start();
    wait_for_finding(&lab, "on-trial");
    wait_for_finding(&lab, "rolled-back");
    wait_for_state(&lab, &before);
    // Not confirmed: a daemon that starts does not apply the file.
    daemon.kill();
    let _daemon = lab.node.start();
    wait_for_finding(&lab, "rolled-back");
    wait_for_state(&lab, &before);
    // Until it is told to try again.
    let reload = lab.node.netagent("reload");
    let errors = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert!(errors.contains("netagent confirm eth0"), "{errors}");
    lab.node.allow_and_keep("eth0");
    lab.assert_moved("mgmt-br");
}

#[test]
fn undo_log_that_cannot_be_read_shows_and_no_reboot_is_blamed() {
    once();
    let lab = lab();
    lab.node.configure(FILE);
    try_and_kill(&lab, 60, "");
    let log = lab.node.state().join("trial.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, format!("xx{}", &text[2..])).unwrap();
    let damaged = lab.node.netagent("status");
    assert!(String::from_utf8_lossy(&damaged.stdout).contains("is damaged: nothing is undone"));
    let _daemon = lab.node.start();
    // Without the daemon the damage shows, but not the file that was rolled back.
    wait_for_finding(&lab, "rolled-back");
    let status = String::from_utf8(lab.node.netagent("status").stdout).unwrap();
    assert!(status.contains("trial.jsonl.damaged: was damaged"), "{status}");
    let told = "was rolled back: its undo log is damaged; no file was confirmed";
    assert!(status.contains(told), "{status}");
    fs::remove_file(log.with_extension("jsonl.damaged")).unwrap();
    lab.node.netagent("reload");
    let status = String::from_utf8(lab.node.netagent("status").stdout).unwrap();
    assert!(!status.contains("was damaged"), "{status}");
}

fn wait_for_finding(lab: &Lab, code: &str) {
    wait_for(code, || {
        let status = lab.node.netagent("status -j");
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        let there = text.contains(&format!("\"code\":\"{code}\""));
        seen(text, there)
    });
}

#[test]
fn daemon_rolls_back_what_nobody_confirms() {
    once();
    let lab = lab();
    let node = &lab.node;
    node.configure(FILE);
    let _daemon = node.start();
    wait_for_finding(&lab, "confirmation-needed");
    node.allow_and_keep("eth0");
    lab.wait_until_reached("10.0.0.5");
    let confirmed = state(node);
    // Another file cuts the node off. The one that was confirmed is in force again.
    node.configure(CUT);
    let reload = node.netagent("reload --try 3");
    assert_eq!(reload.status.code(), Some(3));
    let text = node.netagent("status");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let id = text.split("--change ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let id = id.unwrap_or_else(|| panic!("no change: {text}")).trim_matches(['`', ',', ':']);
    let unknown = node.refused("confirm --change 12345678");
    assert!(unknown.contains("no change 12345678 waits"), "{unknown}");
    assert_eq!(node.netagent(&format!("confirm --change {id}")).status.code(), Some(3));
    let refused = node.refused("reload");
    assert!(refused.contains("not read again") && refused.contains("on trial"), "{refused}");
    wait_for_finding(&lab, "rolled-back");
    wait_for_state(&lab, &confirmed);
    // A segment beside is on trial only if that is asked for.
    node.configure(&format!("{FILE}probes: [10.0.0.1]\n").replace("{ mgmt:", "{ lab: {}, mgmt:"));
    assert_eq!(node.netagent("reload --try 60").status.code(), Some(3));
    assert!(!node.netns.link("lab-br").is_null());
    node.ok("rollback");
    assert!(node.netns.link("lab-br").is_null());
    wait_for_state(&lab, &confirmed);
    node.ok("reload");
    assert!(!node.netns.link("lab-br").is_null());
}

/// The node boots: the links are as others make them, and the agent finds its records.
#[test]
fn node_boots_into_what_was_confirmed() {
    once();
    let first = lab();
    first.node.configure(FILE);
    try_and_keep(&first);
    first.node.configure(CUT);
    try_and_kill(&first, 60, "--confirm mgmt-br");
    // Another namespace is the node after its boot: with the NIC as it was at first.
    let second = lab();
    sh(&format!("cp -a {} {}", first.node.state().display(), second.node.state().display()));
    for name in ["confirmed.json", "trial.jsonl"] {
        let path = second.node.state().join(name);
        let text = fs::read_to_string(&path).unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert!(text.contains(boot.trim()), "{text}");
        fs::write(path, text.replace(boot.trim(), "another")).unwrap();
    }
    second.node.configure(CUT);
    let _daemon = second.node.start();
    wait_for_finding(&second, "rolled-back");
    second.wait_until_reached("10.0.0.5");
    second.assert_moved("mgmt-br");
    let text = String::from_utf8_lossy(&second.node.netagent("status").stdout).into_owned();
    assert!(text.contains("the file that was confirmed last is in force"), "{text}");
}

/// The file was changed, damaged or emptied since: the node gets what was confirmed first.
#[test]
fn node_boots_into_what_was_confirmed_whatever_the_file_is() {
    once();
    let first = lab();
    first.node.configure(FILE);
    try_and_keep(&first);
    let path = first.node.state().join("confirmed.json");
    let record = fs::read_to_string(&path).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let earlier = record.replace(boot.trim(), "another");
    let changed = format!("# a comment\n{FILE}");
    for (file, code) in [
        (changed.as_str(), None),
        ("clusterNetworks: [", Some("reload-failed")),
        ("{}", Some("confirmation-needed")),
    ] {
        let second = lab();
        fs::create_dir(second.node.state()).unwrap();
        fs::write(second.node.state().join("confirmed.json"), &earlier).unwrap();
        second.node.configure(file);
        let _daemon = second.node.start();
        wait_for("the NIC is taken over", || {
            let link = second.node.netns.link("eth0");
            let there = link["master"] == "mgmt-br";
            seen(link, there)
        });
        if let Some(code) = code {
            wait_for_finding(&second, code);
        }
        second.wait_until_reached("10.0.0.5");
        second.assert_moved("mgmt-br");
        let kept = fs::read_to_string(second.node.state().join("confirmed.json")).unwrap();
        assert!(kept.contains("mgmt"), "{file}: {kept}");
    }
}

/// Only `netagent confirm` confirms, and `netagent rollback` reaches an apply that waits.
#[test]
fn trial_ends_by_command_only() {
    once();
    let lab = lab();
    let before = state(&lab.node);
    lab.node.configure(FILE);
    let mut apply = try_for(&lab, 60, "");
    lab.node.ok("rollback");
    assert_eq!(ended(&mut apply), Some(4));
    wait_for_state(&lab, &before);
    let mut apply = try_for(&lab, 60, "");
    fs::remove_dir_all(lab.node.state()).unwrap();
    assert_eq!(ended(&mut apply), Some(4));
    wait_for_state(&lab, &before);
    // A damaged line costs its own step only.
    try_and_kill(&lab, 60, "");
    let log = lab.node.state().join("trial.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    let lines = text.split('\n').map(|line| if line.contains("SetMac") { "damaged" } else { line });
    fs::write(&log, lines.collect::<Vec<_>>().join("\n")).unwrap();
    lab.node.ok("rollback");
    wait_for_state(&lab, &before);
}

/// The bridge and everything on it are built again.
#[test]
fn removal_of_the_segment_is_rolled_back() {
    once();
    let lab = lab();
    lab.node.configure(FILE);
    try_and_keep(&lab);
    let before = state(&lab.node);
    lab.node.configure("clusterNetworks: { other: {} }\n");
    let mut apply = try_for(&lab, 2, "--confirm mgmt-br");
    assert_eq!(ended(&mut apply), Some(4));
    wait_for_same(&lab, &before, without_numbers);
}

/// Whatever call of a try is the last one of its process: the next start brings back what was
/// there.
#[test]
fn try_that_ends_at_any_call_is_rolled_back_by_the_next_start() {
    once();
    if !needs_program("strace") {
        return;
    }
    let mut killed = 0;
    let step = if soak() { 1 } else { 60 };
    let first = 3 + usize::try_from(std::process::id()).unwrap() % step;
    for number in (first..).step_by(step) {
        let lab = lab();
        let before = state(&lab.node);
        lab.node.configure(FILE);
        let log = format!("{}.strace", lab.node.config());
        let apply = format!("apply -c {} --confirm eth0 --try 1", lab.node.config());
        lab.node.netns.output(&format!(
            "strace -f -q -o {log} -e trace=sendto,bpf \
             -e inject=sendto,bpf:signal=KILL:when={number} {}",
            lab.node.line(&apply)
        ));
        let trace = fs::read_to_string(&log).unwrap();
        sleep(Duration::from_millis(1100));
        let _daemon = lab.node.start();
        // A file that was not tried yet waits for its confirmation.
        wait_for("the daemon has decided", || {
            let status = lab.node.netagent("status -j");
            let text = String::from_utf8_lossy(&status.stdout).into_owned();
            let there = text.contains("rolled-back") || text.contains("confirmation-needed");
            seen(text, there)
        });
        println!("killed at call {number}");
        wait_for_state(&lab, &before);
        if !trace.contains("killed by SIGKILL") {
            break;
        }
        killed += 1;
    }
    assert!(killed > 3, "{killed}");
}
