//! Several interfaces of the node on one segment, one of them with a lease.

use super::{ADDRESS, Server, behaviour};
use crate::{
    Feature,
    lab::{Netns, succeeded, wait_for, wait_until_eq},
    needs,
    node::Node,
};

const CONFIG: &str = "
clusterNetworks:
  mgmt:
    vlanFiltering: FILTERING
    uplink: { nics: [eth0], bond: { mode: none }, native: none }
    host:
      - { vlan: 10, dhcp: v4 }
      - { vlan: 20, address: 10.20.0.5/24, gateway: 10.20.0.1, metric: 2000 }
";

fn each_host_has_its_own_vlan(filtering: &str) {
    let (node, wire) = (Node::new(), Netns::new("wire"));
    node.netns.veth("eth0", &wire, "eth0");
    for vlan in [10, 20] {
        wire.sh(&format!("ip link add link eth0 name eth0.{vlan} type vlan id {vlan}"));
        wire.sh(&format!("ip link set eth0.{vlan} up"));
    }
    wire.sh("ip address add 10.20.0.1/24 dev eth0.20");
    let server = Server::start(&wire, "eth0.10", behaviour([600, 300, 500]));
    node.configure(&CONFIG.replace("FILTERING", filtering));
    let daemon = node.run();
    let expected = [
        "default via 10.0.0.1 dev mgmt-br.10 proto dhcp src 10.0.0.50 metric 1024",
        "default via 10.20.0.1 dev mgmt-br.20 proto 110 metric 2000",
    ];
    wait_until_eq("both default routes", &expected.map(str::to_owned).to_vec(), || {
        let routes = node.netns.sh("ip -4 route show default");
        routes.lines().map(|line| line.trim().to_owned()).collect()
    });
    for address in [ADDRESS.to_string(), "10.20.0.5".to_owned()] {
        let ping = format!("ping -q -c 1 -W 1 {address}");
        wait_for(&format!("{address} is reached"), || succeeded(&wire.output(&ping)));
    }
    node.assert_settled();
    // Each of them alone is renewed and repaired.
    node.netns.sh("ip link del mgmt-br.10");
    wait_until_eq("again", &expected.map(str::to_owned).to_vec(), || {
        let routes = node.netns.sh("ip -4 route show default");
        routes.lines().map(|line| line.trim().to_owned()).collect()
    });
    drop((daemon, server));
}

#[test]
fn each_host_of_a_list_has_its_own_vlan_on_an_unaware_bridge() {
    if needs(&[Feature::VlanDevices]) {
        each_host_has_its_own_vlan("off");
    }
}

#[test]
fn each_host_of_a_list_has_its_own_vlan_on_an_aware_bridge() {
    if needs(&[Feature::VlanDevices, Feature::VlanFiltering]) {
        each_host_has_its_own_vlan("on");
    }
}
