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
    node.configure(
        "
clusterNetworks:
  mgmt: { uplink: { nics: [eth0], bond: { mode: none } } }
  oob: { uplink: { nics: [eth2], bond: { mode: none } } }
metrics: { listen: \"127.0.0.1:9469\" }
",
    );
    let daemon = node.run();
    let found = status(&node);
    assert_eq!(state(&found, "segments", "mgmt"), "Waiting", "{found}");
    assert_eq!(state(&found, "segments", "oob"), "Ready", "{found}");
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
    node.ok("confirm eth0");
    wait_for_state(&node, "segments", "mgmt", "Ready");
    assert_eq!(node.netns.link("eth0")["master"], "mgmt-br");
}
