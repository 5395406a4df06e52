//! Changes of links that carry the node wait for confirmation, and nothing else does.

use super::{state, status, wait_for_state};
use crate::{
    lab::{Netns, seen, wait_for},
    node::Node,
    once,
};

#[test]
fn an_unconfirmed_change_of_mgmt_waits_while_the_rest_is_built_and_can_be_confirmed() {
    once();
    let (node, switch) = (Node::new(), Netns::new("switch"));
    for nic in ["eth0", "eth2"] {
        node.netns.veth(nic, &switch, nic);
    }
    node.netns.sh("ip address add 10.0.0.5/24 dev eth0 && ip route add default via 10.0.0.1");
    node.netns.sh("ip link add vm1 type veth peer name peer1");
    let file = "
clusterNetworks:
  mgmt: { uplink: { nics: [eth0], bond: { mode: none } }, host: { address: 10.1.0.5/24 } }
  oob: { uplink: { nics: [eth2], bond: { mode: none } } }
networks: { n100: { clusterNetwork: mgmt, vlan: 100 } }
ports: [ { device: vm1, network: n100 } ]
metrics: { listen: \"127.0.0.1:9469\" }
";
    node.configure(file);
    let daemon = node.run();
    let found = status(&node);
    assert_eq!(state(&found, "segments", "mgmt"), "Waiting", "{found}");
    assert_eq!(state(&found, "segments", "oob"), "Ready", "{found}");
    // Its bridge does not exist: the port waits as well, and does not fail readiness.
    assert_eq!(state(&found, "ports", "vm1"), "Waiting", "{found}");
    let ready = daemon.get("readyz");
    assert!(ready.starts_with("ready\n") && ready.contains("netagent confirm eth0"), "{ready}");
    assert_eq!(node.netns.link("mgmt-br"), serde_json::Value::Null);
    assert_eq!(node.netns.link("eth0")["master"], serde_json::Value::Null);
    // Drift of the other segment is repaired meanwhile.
    node.netns.sh("ip link set eth2 nomaster");
    wait_for("eth2 is back", || {
        let link = node.netns.link("eth2");
        let back = link["master"] == "oob-br";
        seen(link, back)
    });
    let refused = node.refused("confirm eth2");
    assert!(refused.contains("no change of eth2 waits"), "{refused}");
    assert!(refused.contains("these wait: eth0"), "{refused}");
    node.allow_and_keep("eth0");
    wait_for_state(&node, "segments", "mgmt", "Ready");
    assert_eq!(node.netns.link("eth0")["master"], "mgmt-br");
    wait_for_state(&node, "ports", "vm1", "Ready");
    // The address and the route of the NIC moved, and those of the file are there as well.
    let shown = node.netns.sh("ip -o address show dev mgmt-br; ip route show default");
    for there in ["10.0.0.5/24", "10.1.0.5/24", "default via 10.0.0.1 dev mgmt-br"] {
        assert!(shown.contains(there), "{shown}");
    }
    // One that somebody adds to the NIC later does not work, and that is said.
    node.netns.sh("ip address add 10.2.0.5/24 dev eth0");
    wait_for("the address on the NIC is named", || {
        let text = String::from_utf8_lossy(&node.netagent("status").stdout).into_owned();
        let named = text.contains("eth0: has the address 10.2.0.5/24 of its own");
        seen(text, named)
    });

    // While another change waits, drift of what it does not concern is repaired.
    node.configure(&file.replace("10.1.0.5", "10.1.0.6"));
    assert_eq!(node.netagent("reload").status.code(), Some(3));
    node.netns.sh("ip address del 10.2.0.5/24 dev eth0");
    node.netns.sh("ip link set eth0 nomaster");
    wait_for("eth0 is back while the change waits", || {
        let link = node.netns.link("eth0");
        let back = link["master"] == "mgmt-br";
        seen(link, back)
    });
    let addresses = node.netns.sh("ip -br address show mgmt-br");
    assert!(addresses.contains("10.1.0.5") && !addresses.contains("10.1.0.6"), "{addresses}");
    node.allow_and_keep("mgmt-br");
    wait_for_state(&node, "segments", "mgmt", "Ready");
    let addresses = node.netns.sh("ip -br address show mgmt-br");
    assert!(!addresses.contains("10.1.0.5") && addresses.contains("10.1.0.6"), "{addresses}");
}
