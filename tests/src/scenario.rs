//! End-to-end scenarios, from the file to the VM's address, and the example files.

use std::{fs, process::Child};

use crate::{
    Feature,
    lab::{Netns, kernel_is_at_least, seen, succeeded, wait_for},
    needs,
    node::Node,
    once,
};

const NEEDS: [Feature; 3] = [Feature::Bonding, Feature::VlanDevices, Feature::VlanFiltering];

const EXAMPLES: [(&str, &str); 4] = [
    ("full.yaml", include_str!("../../examples/full.yaml")),
    ("mgmt.yaml", include_str!("../../examples/mgmt.yaml")),
    ("oob.yaml", include_str!("../../examples/oob.yaml")),
    ("qinq.yaml", include_str!("../../examples/qinq.yaml")),
];

/// A VM: a namespace whose eth0 is the other end of a port of the node.
fn vm(node: &Node, port: &str) -> Netns {
    let vm = Netns::new(port);
    node.netns.veth(port, &vm, "eth0");
    vm
}

fn reaches(from: &Netns, address: &str) -> bool {
    ping(from, address).is_ok()
}

/// Pings once; returns the output or the error.
fn ping(from: &Netns, address: &str) -> Result<String, String> {
    succeeded(&from.output(&format!("ping -c 1 -W 1 {address}")))
}

/// A dnsmasq, killed when dropped.
struct Dhcp(Child);

impl Dhcp {
    fn serve(netns: &Netns, device: &str, range: &str) -> Self {
        let line = format!(
            "exec dnsmasq --keep-in-foreground --port=0 --conf-file=/dev/null --user=root --pid-file= --no-ping \
             --leasefile-ro --bind-interfaces --interface={device} --dhcp-range={range},1h"
        );
        Self(netns.command(&line).spawn().unwrap())
    }
}

impl Drop for Dhcp {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Runs a DHCP client in the VM, which sets the address and the gateway; returns the address.
fn lease(vm: &Netns) -> String {
    let script = std::env::temp_dir().join(format!("{}.sh", vm.name));
    fs::write(
        &script,
        "#!/bin/sh\n[ $1 = bound ] || exit 0\nip address add $ip/$mask dev $interface && ip route add default via $router\n",
    )
    .unwrap();
    let script = script.display();
    vm.sh(&format!(
        "chmod +x {script} && busybox udhcpc -i eth0 -q -n -t 20 -T 1 -s {script} 2>&1; rm {script}"
    ));
    let addresses = vm.json("ip -j address show dev eth0");
    addresses[0]["addr_info"][0]["local"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn vm_on_corp_net_gets_its_own_address_on_vlan_100() {
    if !needs(&NEEDS) {
        return;
    }
    let (node, switch) = (Node::new(), Netns::new("switch"));
    switch.sh("ip link add sw type bond mode 802.3ad miimon 100 lacp_rate fast");
    for nic in ["eth2", "eth3"] {
        node.netns.veth(nic, &switch, nic);
        switch.sh(&format!("ip link set {nic} down && ip link set {nic} master sw"));
    }
    switch.sh("ip link set sw up");
    for vid in [100, 200] {
        switch.sh(&format!(
            "ip link add link sw name sw.{vid} type vlan id {vid} && ip link set sw.{vid} up"
        ));
        switch.sh(&format!("ip address add 10.{vid}.0.1/24 dev sw.{vid}"));
    }
    let _dhcp = Dhcp::serve(&switch, "sw.100", "10.100.0.10,10.100.0.99");

    // The administrator creates a cluster network, then corp-net on it.
    let cluster = "
clusterNetworks:
  oob: { uplink: { nics: [eth2, eth3], bond: { mode: 802.3ad, lacpRate: fast } } }
";
    node.apply(cluster);
    let (mine, other) = (vm(&node, "vm-mine"), vm(&node, "vm-other"));
    let steps = node.apply(&format!(
        "{cluster}
networks:
  corp-net: {{ clusterNetwork: oob, vlan: 100 }}
  other: {{ clusterNetwork: oob, vlan: 200 }}
ports: [{{ device: vm-mine, network: corp-net }}, {{ device: vm-other, network: other }}]
"
    ));
    node.assert_settled();
    assert!(
        !steps.contains("add oob-") && steps.contains("bridge vlan add dev oob-bo vid 100"),
        "{steps}"
    );
    let vlans = |device: &str| {
        let text = node.netns.sh(&format!("bridge vlan show dev {device} | tail -n +2"));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(vlans("oob-bo"), "oob-bo 1 PVID Egress Untagged 100 200");
    assert_eq!(vlans("vm-mine"), "vm-mine 100 PVID Egress Untagged");

    wait_for("LACP is up", || {
        let bond = node.netns.sh("cat /proc/net/bonding/oob-bo");
        let up = bond.contains("Number of ports: 2");
        seen(bond, up)
    });
    let address = lease(&mine);
    assert!(address.starts_with("10.100.0."), "{address:?}");
    // One second is short on an emulated machine.
    wait_for("the VM's gateway answers", || ping(&mine, "10.100.0.1"));
    other.sh("ip address add 10.200.0.7/24 dev eth0 && ip address add 10.100.0.7/24 dev eth0");
    wait_for("the other VM is in VLAN 200", || ping(&other, "10.200.0.1"));
    assert!(
        !reaches(&other, "10.100.0.1") && !reaches(&other, &address),
        "other VLANs are unreachable"
    );
    assert_eq!(vlans("oob-br"), "", "the node itself is in no VLAN");
}

#[test]
fn node_address_on_vlan_10_is_reached_from_vlan_10_only() {
    if !needs(&NEEDS) {
        return;
    }
    let (node, switch) = (Node::new(), Netns::new("switch"));
    switch.sh("ip link add sw type bridge && ip link set sw up");
    for nic in ["eth0", "eth1"] {
        node.netns.veth(nic, &switch, nic);
        switch.sh(&format!("ip link set {nic} master sw"));
    }
    for vid in [10, 20] {
        switch.sh(&format!(
            "ip link add link sw name sw.{vid} type vlan id {vid} && ip link set sw.{vid} up"
        ));
    }
    switch.sh("ip address add 10.0.0.1/24 dev sw.10 && ip address add 10.20.0.1/24 dev sw.20");
    let (beside, apart) = (vm(&node, "vm10"), vm(&node, "vm20"));
    for netns in [&node.netns, &beside, &apart] {
        netns
            .sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0");
    }
    beside.sh("ip address add 10.0.0.7/24 dev eth0 && ip address add fd00:10::7/64 dev eth0 nodad");
    apart.sh("ip address add 10.0.0.8/24 dev eth0 && ip address add fd00:10::8/64 dev eth0 nodad");
    apart.sh("ip address add 10.20.0.8/24 dev eth0");

    node.apply(EXAMPLES[1].1);
    node.assert_settled();
    for (from, to) in [
        (&switch, "10.0.0.5"),
        (&beside, "10.0.0.5"),
        (&beside, "fd00:10::5"),
        (&beside, "10.0.0.1"),
        (&node.netns, "10.0.0.7"),
        (&apart, "10.20.0.1"),
    ] {
        // The bond waits for its link, and IPv6 for duplicate address detection.
        wait_for(&format!("{} reaches {to}", from.name), || ping(from, to));
    }
    for to in ["10.0.0.5", "fd00:10::5", "10.0.0.1", "10.0.0.7"] {
        assert!(!reaches(&apart, to), "VLAN 20 reaches {to}");
    }
}

/// The NICs and ports that a file names and that must exist before.
fn devices(yaml: &str) -> (Vec<String>, Vec<String>) {
    let keys = yaml.lines().filter(|line| !line.trim_start().starts_with('#'));
    let (mut nics, mut ports) = (Vec::new(), Vec::new());
    for line in keys {
        if let Some((_, list)) = line.split_once("nics: [") {
            let list = list.split(']').next().unwrap_or_default();
            nics.extend(list.split(',').map(|nic| nic.trim().to_owned()));
        }
        if let Some((_, port)) = line.split_once("device: ") {
            ports.extend(port.split(',').next().map(str::to_owned));
        }
    }
    (nics, ports)
}

#[test]
fn every_example_applies_and_settles() {
    if !needs(&NEEDS) {
        return;
    }
    for (file, yaml) in EXAMPLES {
        // Module `qinq` tests the refusal on older kernels.
        if file == "qinq.yaml" && !kernel_is_at_least(6, 12) {
            continue;
        }
        let (node, switch) = (Node::new(), Netns::new("switch"));
        node.netns
            .sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0");
        let (nics, ports) = devices(yaml);
        assert!(!nics.is_empty() && !ports.is_empty(), "{file}");
        nics.iter().for_each(|nic| node.netns.veth(nic, &switch, nic));
        ports.iter().for_each(|port| {
            node.netns.sh(&format!("ip tuntap add {port} mode tap && ip link set {port} up"));
        });
        let printed = node.apply(yaml);
        // Remarks on MTUs and on LACP, which has no partner here, may follow.
        assert!(printed.ends_with("done, and verified\n"), "{file}:\n{printed}");
        node.assert_settled();
        for port in &ports {
            let bridge = node.netns.link(port)["master"].as_str().unwrap_or_default().to_owned();
            assert!(bridge.contains("br"), "{file}: {port} is plugged into {bridge:?}");
        }
    }
}

#[test]
fn every_example_file_is_listed_here() {
    once();
    // A virtual machine has no sources. The host has already run this test.
    let Ok(entries) = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples")) else {
        return;
    };
    let mut files: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.retain(|file| file.ends_with(".yaml"));
    files.sort();
    assert_eq!(files, EXAMPLES.map(|(file, _)| file));
}
