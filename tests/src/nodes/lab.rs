//! A node of a kind, and everything outside.

use std::collections::BTreeSet;

use super::{
    gaps::{Gap, Pingers},
    kinds::Kind,
    state,
};
use crate::{
    advertisements::advertisement,
    lab::{Netns, seen, wait_for},
    node::Node,
    takeover,
    wire::Wire,
};

/// A node as its manager leaves it after a boot.
pub struct Lab {
    // Stops first.
    pingers: Pingers,
    base: takeover::lab::Lab,
    _vms: Netns,
}

impl Lab {
    pub fn new(kind: &Kind) -> Self {
        let base = takeover::lab::Lab::behind(kind.joined, kind.nics, "");
        let (node, outside, vms) = (&base.node.netns, &base.outside, Netns::new("vms"));
        // The station on the wire.
        outside.veth("station", outside, "plug");
        outside.sh("ip link set plug master sw");
        let mut wires = Vec::new();
        for vm in (kind.vms)() {
            node.veth(&vm.device(), &vms, &vm.device());
            wires.push((vm, Wire::open(&vms, &vm.device())));
        }
        node.veth("tap50", &vms, "tap50");
        // A node has its addresses again after a boot.
        let devices = node.json("ip -j link");
        for (number, device) in devices.as_array().unwrap().iter().skip(1).enumerate() {
            let name = device["ifname"].as_str().unwrap();
            node.sh(&format!("ip link set {name} address 02:00:00:00:02:{number:02x}"));
        }
        for (netns, lines) in [(outside, kind.outside), (&vms, kind.inside), (node, kind.found)] {
            netns.sh(&format!("set -e\n{lines}"));
        }
        node.wait_for_carriers();
        outside.wait_for_bridge_ports();
        for netns in [node, outside] {
            wait_for_partners(netns);
        }
        let station = Wire::open(outside, "station");
        if kind.advertised {
            wait_for("an address from advertisements", || {
                station.send_bytes(&advertisement());
                let shown = node.sh("ip -6 -o address show scope global");
                let there = shown.contains("fd00:7:");
                seen(shown, there)
            });
        }
        let pingers = Pingers::start(outside, kind.reached, wires, station);
        pingers.wait_until_answered();
        Self { pingers, base, _vms: vms }
    }

    pub fn node(&self) -> &Node {
        &self.base.node
    }

    /// The longest gap while something happens.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> (T, Gap) {
        self.pingers.during(work)
    }

    /// Panics if somebody answers whom the node's rules protect.
    pub fn assert_protected(&self, kind: &Kind) {
        for (source, address) in kind.silent {
            let ping = format!("ping -c 5 -i 0.1 -W 1 -I {source} {address}");
            let output = self.base.outside.output(&ping);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains("5 packets transmitted, 0 received"), "{address}: {text}");
        }
    }

    /// Waits until the node is in this state.
    pub fn wait_for_state(&self, what: &str, wanted: &BTreeSet<String>) {
        wait_for(&format!("{what}: the node is as it was found"), || {
            let difference = state::difference(wanted, &state::of(self.node()));
            seen(difference.clone(), difference.is_empty())
        });
    }
}

/// Waits until LACP uses every NIC: meanwhile frames are lost, whatever is done to the node.
fn wait_for_partners(netns: &Netns) {
    wait_for("LACP uses all NICs", || {
        let links = netns.json("ip -d -j link");
        let states = links.as_array().unwrap().iter();
        let states = states.map(|link| &link["linkinfo"]["info_slave_data"]);
        let states = states.filter_map(|member| member["ad_actor_oper_port_state_str"].as_array());
        let waiting: Vec<_> =
            states.filter(|state| !state.contains(&"distributing".into())).cloned().collect();
        seen(waiting.clone(), waiting.is_empty())
    });
}
