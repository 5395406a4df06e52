//! One bad part stops no other: what is refused, missing, waiting or failing is named, and the
//! rest of the node works, is repaired and is ready.

mod answers;
mod control;
mod failing;
mod flapping;
mod fresh;
mod many;
mod refused;
mod start;
mod waiting;
mod xdp;

use serde_json::Value;

use crate::{
    lab::{Netns, seen, wait_for},
    node::{Daemon, Node},
};

/// A node with an uplink to a switch, and the ports of VMs with their addresses.
struct Lab {
    node: Node,
    vms: Vec<Netns>,
    _switch: Netns,
}

impl Lab {
    /// VMs `vm0`, `vm1`, ..., each with the address 10.0.0.(1 + number) on VLAN 100.
    fn new(vms: usize) -> Self {
        let (node, switch) = (Node::new(), Netns::new("switch"));
        node.netns.veth("eth2", &switch, "eth2");
        let mut lab = Self { node, vms: Vec::new(), _switch: switch };
        (0..vms).for_each(|number| lab.plug(number));
        lab
    }

    fn plug(&mut self, number: usize) {
        let vm = Netns::new(&format!("vm{number}"));
        self.node.netns.veth(&format!("vm{number}"), &vm, "eth0");
        vm.sh(&format!("ip address add 10.0.0.{}/24 dev eth0", number + 1));
        self.vms.push(vm);
    }

    /// The file with these devices as ports, each with more keys.
    fn file(devices: &[(&str, &str)]) -> String {
        let port = |(device, keys): &(&str, &str)| {
            format!("  - {{ device: {device}, network: n100{keys} }}\n")
        };
        let ports: String = devices.iter().map(port).collect();
        format!(
            "
clusterNetworks: {{ lab: {{ uplink: {{ nics: [eth2], bond: {{ mode: none }} }} }} }}
networks: {{ n100: {{ clusterNetwork: lab, vlan: 100 }} }}
metrics: {{ listen: \"127.0.0.1:9469\" }}
ports:
{ports}"
        )
    }

    /// Waits until a VM reaches another.
    fn wait_for_ping(&self, from: usize, to: usize) {
        let ping = format!("ping -c 1 -W 1 10.0.0.{}", to + 1);
        wait_for(&format!("vm{from} reaches vm{to}"), || {
            let output = self.vms[from].output(&ping);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            seen(text, output.status.success())
        });
    }
}

/// The status as the control socket gives it.
fn status(node: &Node) -> Value {
    try_status(node).unwrap_or_else(|error| panic!("{error}"))
}

/// The status, or why there is none: a daemon may wait for the kernel, which others keep busy.
fn try_status(node: &Node) -> Result<Value, String> {
    let output = node.netagent("status -j");
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The state of a segment or port in a status.
fn state<'a>(status: &'a Value, list: &str, name: &str) -> &'a str {
    let key = if list == "ports" { "device" } else { "name" };
    let found = status[list].as_array().unwrap().iter().find(|item| item[key] == name);
    found.map_or("absent", |item| item["state"].as_str().unwrap())
}

/// Waits until a segment or port has a state.
fn wait_for_state(node: &Node, list: &str, name: &str, wanted: &str) -> Value {
    wait_for(&format!("{name} is {wanted}"), || {
        let status = try_status(node)?;
        let there = state(&status, list, name) == wanted;
        seen(status, there)
    })
}

/// The value of a metric with these labels, as text; empty where there is no such series.
fn metric(daemon: &Daemon<'_>, series: &str) -> String {
    let text = daemon.get("metrics");
    let line = text.lines().find(|line| line.starts_with(&format!("{series} ")));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or_default().to_owned()
}
