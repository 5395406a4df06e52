//! DEL leaves nothing, whatever was before it.

use super::lab::{Lab, VLAN100};
use crate::{
    frame::C,
    lab::{seen, sh, wait_for},
    needs_program, once,
};

/// What runtimes really do.
#[test]
fn del_always_succeeds() {
    once();
    let lab = Lab::new();
    let bystander = lab.pod();
    bystander.add(VLAN100);
    let lost = r#"{"cniVersion":"0.3.1","name":"vlan100","type":"bridge"}"#;
    // Never added; twice; without a namespace; with a path that is no namespace; with a
    // configuration that has lost its keys, or is none.
    let file = format!("/tmp/{}.file", lab.node.netns.name);
    std::fs::write(&file, "").unwrap();
    for (netns, conf) in [
        (None, VLAN100),
        (Some(""), VLAN100),
        (Some("/run/netns/nowhere"), VLAN100),
        (Some(file.as_str()), VLAN100),
        (Some("/proc/self/ns/mnt"), VLAN100),
        (None, lost),
        (None, "nonsense"),
    ] {
        let pod = lab.pod();
        let path = netns.map_or_else(|| pod.path(), str::to_owned);
        let del = || assert_eq!(pod.call_in("DEL", conf, &path, ""), Ok(String::new()), "{path}");
        del();
        pod.add(VLAN100);
        del();
        del();
        assert_eq!(lab.attached(), [bystander.id.as_str()], "{path:?} {conf}");
        assert!(pod.netns.link("net1").is_null(), "{path:?} {conf}");
    }
    std::fs::remove_file(file).unwrap();
    // Somebody has renamed the node's end.
    let pod = lab.pod();
    let device = pod.add(VLAN100)["interfaces"][1]["name"].as_str().unwrap().to_owned();
    lab.node.netns.sh(&format!("ip link set {device} name elsewhere"));
    pod.del(VLAN100);
    assert!(lab.node.netns.link("elsewhere").is_null() && pod.netns.link("net1").is_null());
    // The namespace goes first.
    let pod = lab.pod();
    pod.add(VLAN100);
    sh(&format!("ip netns delete {}", pod.netns.name));
    wait_for("the port ends with its device", || {
        let attached = lab.attached();
        seen(attached.clone(), attached == [bystander.id.as_str()])
    });
    pod.del(VLAN100);
    sh(&format!("ip netns add {}", pod.netns.name));
    lab.assert_reach(&bystander, "eth0", &[(C, 100)]);
}

/// An interface that is there already is not touched.
#[test]
fn repeated_add_changes_nothing() {
    once();
    let lab = Lab::new();
    let pod = lab.pod();
    pod.add(VLAN100);
    let (inside, device) = (pod.netns.link("net1"), lab.attached());
    let error = pod.call("ADD", VLAN100).unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains("already exists"), "{error}");
    assert_eq!(
        (pod.netns.link("net1")["ifindex"].clone(), lab.attached()),
        (inside["ifindex"].clone(), device)
    );
    lab.assert_reach(&pod, "eth0", &[(C, 100)]);
    // A device of somebody else with that name.
    let other = lab.pod();
    other.netns.sh("ip link add net1 type veth peer name far");
    assert!(other.call("ADD", VLAN100).is_err());
    assert!(!other.netns.link("net1").is_null());
    other.del(VLAN100);
    assert!(!other.netns.link("net1").is_null());
}

/// KubeVirt renames the pod's end, puts it into a bridge of its own, and gives its name to another
/// device. That device is not the agent's.
#[test]
fn pod_end_that_was_renamed_is_found() {
    once();
    let lab = Lab::new();
    let pod = lab.pod();
    let device = pod.add(VLAN100)["interfaces"][1]["name"].as_str().unwrap().to_owned();
    let status = || lab.node.ok("status -j");
    pod.netns.sh("ip link set net1 down && ip link set net1 name 0a1b2c-nic
         ip link add k6t-0a1b2c type bridge && ip link set k6t-0a1b2c up
         ip link set 0a1b2c-nic master k6t-0a1b2c && ip link set 0a1b2c-nic up
         ip link add net1 type veth peer name placeholder");
    wait_for("the port is ready again", || {
        let status = status();
        seen(status.clone(), status.contains(&device) && !status.contains("Degraded"))
    });
    pod.del(VLAN100);
    assert!(!pod.netns.link("net1").is_null(), "the placeholder is not the agent's");
    assert!(pod.netns.link("0a1b2c-nic").is_null());
    lab.assert_nothing_is_left();
}

/// Whatever call of ADD fails or is the last one, DEL leaves the node as it was.
#[test]
fn add_that_ends_at_any_call_is_undone_by_del() {
    once();
    if !needs_program("strace") {
        return;
    }
    let lab = Lab::new();
    let bystander = lab.pod();
    bystander.add(VLAN100);
    let mut injected = 0;
    let log = format!("/tmp/{}.strace", lab.node.netns.name);
    for call in ["sendto", "connect", "ioctl", "setns", "writev"] {
        for inject in ["signal=KILL", "error=ENOBUFS"] {
            for number in 1.. {
                let pod = lab.pod();
                let strace = format!(
                    "strace -f -q -o {log} -e trace={call} -e inject={call}:{inject}:when={number}"
                );
                let added = pod.call_in("ADD", VLAN100, &pod.path(), &strace);
                let trace = std::fs::read_to_string(&log).unwrap();
                let was_injected =
                    trace.contains("INJECTED") || trace.contains("killed by SIGKILL");
                if added.is_err() && !trace.contains("killed by") {
                    // It has undone everything by itself.
                    assert!(pod.netns.link("net1").is_null(), "{call} {inject} {number}");
                }
                pod.del(VLAN100);
                assert!(pod.netns.link("net1").is_null(), "{call} {inject} {number}");
                wait_for("the bystander alone is left", || {
                    let links = lab.node.netns.sh("ip -br link show type veth");
                    let veths = links.lines().filter(|line| line.starts_with("veth")).count();
                    let attached = lab.attached();
                    let state = (veths, attached.len());
                    seen((links.clone(), attached.clone()), state == (1, 1))
                });
                if !was_injected {
                    break;
                }
                injected += 1;
            }
        }
    }
    let _gone = std::fs::remove_file(&log);
    println!("cni: ended at {injected} calls");
    assert!(injected > 10, "{injected}");
    lab.assert_reach(&bystander, "eth0", &[(C, 100)]);
}
