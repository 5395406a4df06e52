//! A node that somebody else has built is imported, and taken over without a change of its links.

use std::fs;

use crate::{
    Feature,
    lab::{Netns, seen, succeeded, wait_for},
    needs,
    node::Node,
    once,
};

/// The steps of a plan that change links. Others add programs and policies.
fn changes_of_links(plan: &str) -> Vec<&str> {
    let of_links = |line: &&str| line.starts_with("ip ") || line.starts_with("bridge ");
    plan.lines().filter(of_links).collect()
}

/// Everything that a takeover must leave as it is. The programs on a device are none of it.
fn links(node: &Node) -> (serde_json::Value, String) {
    let mut links = node.netns.json("ip -d -j link");
    strip(&mut links);
    (links, node.netns.sh("ip -br address; ip route; bridge vlan show"))
}

/// Removes what changes by itself.
fn strip(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(values) => values.iter_mut().for_each(strip),
        serde_json::Value::Object(keys) => {
            keys.retain(|key, _| key != "xdp" && !key.ends_with("_timer"));
            keys.values_mut().for_each(strip);
        }
        _ => {}
    }
}

/// Imports the node, and returns the file after it has been applied. `explained` are the changes of
/// links that the plan may contain.
fn take_over(node: &Node, arguments: &str, explained: &[&str]) -> String {
    let file = node.ok(&format!("import {arguments}"));
    assert_eq!(file, node.ok(&format!("import {arguments}")), "deterministic");
    node.configure(&file);
    let plan = node.netagent(&format!("plan -c {}", node.config()));
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert_eq!(changes_of_links(&plan), explained, "{file}");
    for change in explained {
        assert!(file.contains(&format!("\n# - {change}: ")), "{change}: {file}");
    }
    let before = links(node);
    node.ok(&format!("apply -c {}", node.config()));
    node.assert_settled();
    if explained.is_empty() {
        assert_eq!(links(node), before);
    }
    file
}

#[test]
fn a_bridge_without_filter_is_taken_over() {
    once();
    let (node, others) = (Node::new(), Netns::new("others"));
    for link in ["eth2", "tap1", "tap2"] {
        node.netns.veth(link, &others, link);
    }
    node.netns.sh("ip link add vmbr0 type bridge && ip link set vmbr0 up
         for port in eth2 tap1 tap2; do ip link set $port master vmbr0; done
         ip address add 10.0.0.5/24 dev vmbr0 && ip route add default via 10.0.0.1");
    others.sh("ip address add 10.0.0.1/24 dev eth2");
    node.netns.wait_for_carriers();
    let file = node.ok("import");
    assert!(file.contains("bridge vmbr0: has no uplink"), "a veth could be a VM: {file}");
    let file = take_over(&node, "--uplink eth2", &[]);
    for line in ["    vlanFiltering: off", "    host: { address: 10.0.0.5/24, gateway: 10.0.0.1 }"]
    {
        assert!(file.lines().any(|other| other == line), "{line}: {file}");
    }
    wait_for("the gateway answers", || succeeded(&node.netns.output("ping -c 1 -W 1 10.0.0.1")));
    // What netagent manages already is imported once more.
    let again = node.ok("import --uplink eth2");
    fs::write(node.config(), &again).unwrap();
    node.assert_settled();
}

#[test]
fn bonds_and_bridges_with_filter_are_taken_over() {
    once();
    if !needs(&[Feature::Bonding, Feature::VlanDevices, Feature::VlanFiltering]) {
        return;
    }
    let (node, switch) = (Node::new(), Netns::new("switch"));
    switch.sh("ip link add sw type bridge && ip link set sw up");
    for link in ["eth0", "eth1", "eth2", "eth3", "tap1", "tap2", "tap3"] {
        node.netns.veth(link, &switch, link);
    }
    switch.sh("for nic in eth0 eth1; do ip link set $nic master sw; done");
    switch.sh("ip link add link sw name sw.2021 type vlan id 2021 && ip link set sw.2021 up");
    switch.sh("ip address add 10.0.0.1/24 dev sw.2021");
    node.netns.sh(
        "ip link add mgmt-bo type bond mode active-backup miimon 200 updelay 400 num_grat_arp 3
         ip link add bond7 type bond mode balance-xor miimon 100 xmit_hash_policy layer3+4
         for nic in eth0 eth1; do ip link set $nic down master mgmt-bo; done
         for nic in eth2 eth3; do ip link set $nic down master bond7; done
         ip link set mgmt-bo type bond primary eth1
         ip link add mgmt-br type bridge vlan_filtering 1 vlan_default_pvid 0
         ip link add br-vms type bridge vlan_filtering 1
         for link in mgmt-bo bond7 mgmt-br br-vms; do ip link set $link up; done
         ip link set mgmt-bo master mgmt-br && ip link set bond7 master br-vms
         bridge vlan add dev mgmt-bo vid 1 pvid untagged && bridge vlan add dev mgmt-bo vid 2021
         bridge vlan add dev mgmt-br vid 2021 self
         ip link add link mgmt-br name mgmt-br.2021 type vlan id 2021 && ip link set mgmt-br.2021 up
         ip address add 10.0.0.5/24 dev mgmt-br.2021 && ip route add default via 10.0.0.1
         for tap in tap1 tap2 tap3; do ip link set $tap master br-vms; bridge vlan del dev $tap vid 1; done
         bridge vlan add dev tap1 vid 100 pvid untagged
         bridge vlan add dev tap2 vid 100 pvid untagged
         bridge vlan add dev tap3 vid 200-202
         bridge vlan add dev bond7 vid 100 && bridge vlan add dev bond7 vid 200-203",
    );
    node.netns.wait_for_carriers();
    let file = take_over(&node, "", &[]);
    for line in [
        "      bond: { mode: active-backup, miimon: 200ms, updelay: 400ms, primary: eth1, numGratArp: 3 }",
        "      bond: { mode: balance-xor, name: bond7, miimon: 100ms, xmitHashPolicy: layer3+4 }",
        "    host: { vlan: 2021, address: 10.0.0.5/24, gateway: 10.0.0.1 }",
        "  vlan100: { clusterNetwork: vms, vlan: 100 }",
        "  trunk-200-202: { clusterNetwork: vms, trunk: \"200-202\" }",
        "  - { device: tap3, network: trunk-200-202 }",
    ] {
        assert!(file.lines().any(|other| other == line), "{line}: {file}");
    }
    wait_for("the gateway answers", || succeeded(&node.netns.output("ping -c 1 -W 1 10.0.0.1")));
    // Of a node that netagent manages, nothing is left to change.
    take_over(&node, "", &[]);
}

/// `netagent run` says so as long as another manager has one of its devices.
#[test]
fn daemon_names_another_manager_of_its_devices() {
    once();
    let node = Node::new();
    node.netns.sh("ip link add eth0 type veth peer name far && ip link set far up");
    node.configure(
        "clusterNetworks: { oob: { uplink: { nics: [eth0], bond: { mode: none } } } }\n",
    );
    let index = node.netns.link("eth0")["ifindex"].clone();
    // The files of NetworkManager, in a mount namespace of the daemon's own.
    let shown = format!("{}.managed", node.config());
    let file = format!("/run/NetworkManager/devices/{index}");
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/NetworkManager/devices && \
         printf '[device]\\nmanaged=true\\n' > {shown} && ln -s {shown} {file} && exec {}",
        node.line(&format!("run -c {}", node.config()))
    );
    let path = format!("{}.sh", node.config());
    fs::write(&path, script).unwrap();
    let mut daemon = node.netns.command(&format!("exec unshare -m sh {path}")).spawn().unwrap();
    let wait = |there: bool| {
        wait_for("the other manager", || {
            let status = String::from_utf8_lossy(&node.netagent("status").stdout).into_owned();
            let named = status.contains("NetworkManager manages eth0 as well");
            let running = !status.contains("no daemon runs");
            seen(status, running && named == there)
        });
    };
    wait(true);
    fs::write(&shown, "[device]\nmanaged=false\n").unwrap();
    wait(false);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}
