//! A command is about the devices that exist when it comes, whatever the notifications tell later.

use super::{Lab, state, status};
use crate::{node::Node, once};

/// How often each race is run.
const RUNS: usize = 10;

/// Runs a shell line, and asks the daemon before it has read the notifications.
fn ask_right_after(node: &Node, line: &str, path: &str, body: &str) -> String {
    let curl = format!(
        "curl -s --unix-socket {} -d '{body}' http://localhost/v1/{path}",
        node.socket().display()
    );
    node.netns.sh(&format!("{line}; {curl}"))
}

fn lab() -> Lab {
    let lab = Lab::new(0);
    lab.node.configure(&Lab::file(&[]).replace("ports:", ""));
    lab
}

#[test]
fn a_port_that_is_added_is_that_of_the_device_that_exists_now() {
    once();
    let lab = lab();
    let node = &lab.node;
    let _daemon = node.run();
    let add = |device: &str, line: &str| {
        let body = format!("{{\"device\":\"{device}\",\"network\":\"n100\"}}");
        let answer = ask_right_after(node, line, "ports", &body);
        assert_eq!(answer, "{\"state\":\"Ready\",\"findings\":[]}");
        // This looks at the whole node, after every notification so far.
        node.ok("reload");
        let found = status(node);
        assert_eq!(state(&found, "ports", device), "Ready", "{found}");
        assert_eq!(node.netns.link(device)["master"], "lab-br");
    };
    for run in 0..RUNS {
        // The device is new.
        add("tap0", "ip link add tap0 type veth peer name peer");
        // Others have had the name, which the agent knows.
        let rename =
            format!("link set tap0 name old{run}\\nlink add tap0 type veth peer name more");
        add("tap0", &format!("printf '{rename}\\n' | ip -batch -"));
        add("tap0", "ip link del tap0; ip link add tap0 type veth peer name peer1");
        node.netns.sh("ip link del tap0");
        node.netns.sh(&format!("ip link del old{run}"));
    }
}

#[test]
fn a_reload_finds_the_devices_that_exist_now() {
    once();
    let lab = lab();
    let node = &lab.node;
    let _daemon = node.run();
    for run in 0..RUNS {
        let device = format!("new{run}");
        node.configure(&Lab::file(&[(&device, "")]));
        let add = format!("ip link add {device} type veth peer name peer{run}");
        let answer = ask_right_after(node, &add, "reload", "");
        assert_eq!(answer, "{\"state\":\"Ready\",\"findings\":[]}");
    }
}
