//! Names that no file has: alternative names of a device, and names with bytes that no file can
//! hold.

use serde_json::Value;

use crate::{
    lab::{Netns, seen, wait_for},
    node::Node,
    once,
};

/// A node with NICs to a switch, and a tap.
fn node() -> (Node, Netns) {
    let (node, switch) = (Node::new(), Netns::new("switch"));
    for nic in ["eth2", "eth3"] {
        node.netns.veth(nic, &switch, nic);
    }
    node.netns.sh("ip tuntap add dev tap1 mode tap && ip link set tap1 up");
    (node, switch)
}

fn file(nics: &str, bond: &str, tap: &str) -> String {
    format!(
        "
clusterNetworks: {{ oob: {{ uplink: {{ nics: [{nics}], bond: {{ mode: {bond} }} }} }} }}
networks: {{ v100: {{ clusterNetwork: oob, vlan: 100 }} }}
ports: [{{ device: {tap}, network: v100 }}]
metrics: {{ listen: \"127.0.0.1:9469\" }}
"
    )
}

/// Applies a file that is carried out in part, and returns what is said.
fn in_part(node: &Node, yaml: &str) -> String {
    node.configure(yaml);
    let output = node.netagent(&format!("apply -c {}", node.config()));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text}");
    text
}

#[test]
fn alternative_names_are_refused_with_the_name_of_the_device() {
    once();
    let (node, _switch) = node();
    node.netns.sh("ip link property add dev eth2 altname enp1s0
         ip link property add dev eth3 altname oob-br altname enp1s0-but-longer-than-a-name
         ip link property add dev tap1 altname vm-tap");
    let text = in_part(&node, &file("enp1s0", "none", "tap1"));
    assert!(text.contains("oob-br is an alternative name of eth3: choose another name"), "{text}");
    assert_eq!(node.netns.link("eth3")["master"], Value::Null);
    node.netns.sh("ip link property del dev eth3 altname oob-br");
    for (yaml, remedy) in [
        (file("enp1s0", "none", "tap1"), "enp1s0 is an alternative name of eth2: write eth2"),
        (file("eth2", "none", "vm-tap"), "vm-tap is an alternative name of tap1: write tap1"),
        (file("eth2", "none", "tap1"), ""),
    ] {
        if remedy.is_empty() {
            node.apply(&yaml);
        } else {
            let text = in_part(&node, &yaml);
            assert!(text.contains(remedy), "{text}");
            assert!(!text.contains("done, and verified"), "{text}");
        }
        let node_name = node.netns.link("eth2")["master"].clone();
        assert_eq!(node_name == "oob-br", !yaml.contains("enp1s0"), "{yaml}");
    }
    // A NIC that gets the name while the agent runs.
    node.configure(&file("eth2", "none", "later"));
    let daemon = node.run();
    let status = || String::from_utf8_lossy(&node.netagent("status").stdout).into_owned();
    assert!(status().contains("later: no such device"), "{}", status());
    node.netns.sh("ip link property add dev tap1 altname later");
    wait_for("the finding", || {
        let text = status();
        let found = text.contains("later is an alternative name of tap1: write tap1");
        seen(text, found)
    });
    daemon.kill();
}

#[test]
fn ports_whose_names_no_file_can_hold_are_reported() {
    once();
    let (node, _switch) = node();
    node.apply(&file("eth2", "none", "tap1"));
    // A control character, and two bytes that are a letter in UTF-8 and none in ASCII.
    let odd = [r"$'tap\x7f2'", r"$'tap\xc3\xa9'"];
    let shown = [r"tap\x7f2", r"tap\xc3\xa9"];
    let finding = |shown: &str| format!("{shown} is a port of oob-br that no source names");
    let bash = |line: &str| node.netns.sh(&format!("bash -c {}", quoted(line)));
    bash(&format!("ip tuntap add dev {} mode tap && ip link set {} master oob-br", odd[0], odd[0]));
    let plan = node.ok(&format!("plan -c {}", node.config()));
    assert!(plan.contains(&finding(shown[0])), "{plan}");
    assert!(plan.contains(&format!("ip link set $'{}' nomaster", shown[0])), "{plan}");
    let daemon = node.run();
    let status = || node.ok("status");
    assert!(status().contains(&finding(shown[0])), "{}", status());
    // One that comes and goes while the agent runs.
    let has = |shown: &str, wanted: bool| {
        wait_for("the finding comes or goes", || {
            let text = status();
            let found = text.contains(&finding(shown)) == wanted;
            seen(text, found)
        });
    };
    bash(&format!("ip tuntap add dev {} mode tap && ip link set {} master oob-br", odd[1], odd[1]));
    has(shown[1], true);
    // As the remedy says.
    bash(&format!("ip link set $'{}' nomaster", shown[1]));
    has(shown[1], false);
    bash(&format!("ip link del {}", odd[0]));
    has(shown[0], false);
    daemon.kill();
}

/// A line in single quotes of a shell.
fn quoted(line: &str) -> String {
    format!("'{}'", line.replace('\'', r"'\''"))
}
