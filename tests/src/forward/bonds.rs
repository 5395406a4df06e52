//! The fast path from and to a bond: by XDP in each mode that supports it, by TC in the others, and
//! while members fail.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use super::{forwarded, station};
use crate::{
    Feature,
    frame::{BROADCAST, C, Frame, TEST},
    lab::{Netns, kernel_is_at_least, seen, stay_on_one_processor, wait_for, wait_until_eq},
    needs,
    node::Node,
    once,
    wire::Wire,
};

/// The modes that support XDP, and one that does not.
const MODES: [(&str, bool); 5] = [
    ("mode: balance-rr", true),
    ("mode: active-backup, primary: eth2", true),
    ("mode: balance-xor, xmitHashPolicy: layer3+4", true),
    ("mode: 802.3ad, lacpRate: fast", true),
    ("mode: broadcast", false),
];

const NICS: [&str; 2] = ["eth2", "eth3"];

/// A node with a bond of two NICs that lead to a switch, and with a VM in VLAN 100.
struct Lab {
    node: Node,
    switch: Netns,
    vm: Wire,
    wires: [Wire; 2],
    _vms: Netns,
}

impl Lab {
    fn new(bond: &str) -> Self {
        stay_on_one_processor();
        let (node, switch, vms) = (Node::new(), Netns::new("switch"), Netns::new("vms"));
        NICS.iter().for_each(|nic| node.netns.veth(nic, &switch, nic));
        if bond.contains("802.3ad") {
            switch.sh("ip link add sw type bond mode 802.3ad miimon 100 lacp_rate fast
                       for nic in eth2 eth3; do ip link set $nic down master sw; done; ip link set sw up");
        }
        node.netns.veth("vm-a", &vms, "vm-a");
        // A veth supports `XDP_REDIRECT` if its peer uses NAPI.
        vms.sh("ethtool -K vm-a gro on");
        let vm = Wire::open(&vms, "vm-a");
        let wires = NICS.map(|nic| Wire::open(&switch, nic));
        node.configure(&format!(
            "
clusterNetworks: {{ oob: {{ fastPath: xdp, uplink: {{ nics: [eth2, eth3], bond: {{ {bond} }} }} }} }}
networks: {{ v100: {{ clusterNetwork: oob, vlan: 100 }} }}
ports: [{{ device: vm-a, network: v100 }}]
"
        ));
        Self { node, switch, vm, wires, _vms: vms }
    }

    /// Sends a frame to the VM through a NIC; returns how often it arrives. A broadcast frame
    /// through an active NIC follows, and always arrives.
    fn arrives(&self, number: u32, nic: usize, in_use: usize) -> usize {
        let from_wire = |number, destination| Frame {
            destination,
            source: station(1),
            ..Frame::numbered(number, &[(C, 100)])
        };
        self.wires[nic].send(&from_wire(number, station(2)));
        let end = number + 1;
        self.wires[in_use].send(&from_wire(end, BROADCAST));
        let mut arrived = 0;
        loop {
            let bytes = self.vm.receive(Duration::from_secs(10)).expect("the broadcast arrives");
            let Some(frame) = Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST)
            else {
                continue;
            };
            if frame.number() == end {
                return arrived;
            }
            if frame.number() == number {
                assert_eq!(frame, from_wire(number, station(2)).with_tags(&[]));
                arrived += 1;
            }
        }
    }

    /// Makes both stations known, and waits until frames of both bypass the bridge.
    fn learn(&self, in_use: usize, path: &str) {
        let [wire, vm] = [(1, vec![(C, 100)]), (2, vec![])].map(|(number, tags)| Frame {
            destination: BROADCAST,
            source: station(number),
            ..Frame::numbered(0, &tags)
        });
        wait_for("frames bypass the bridge", || {
            self.wires[in_use].send(&wire);
            self.vm.send(&vm);
            let before = forwarded(&self.node, "oob-bo", path);
            self.arrives(10, in_use, in_use);
            let after = forwarded(&self.node, "oob-bo", path);
            seen((before, after), after > before)
        });
    }

    /// The NICs through which a frame of the VM leaves.
    fn leaves(&self, number: u32) -> BTreeSet<&'static str> {
        let frame =
            Frame { destination: station(1), source: station(2), ..Frame::numbered(number, &[]) };
        self.wires.iter().for_each(|wire| while wire.receive(Duration::ZERO).is_some() {});
        self.vm.send(&frame);
        let expected = frame.with_tags(&[(C, 100)]);
        let of = |wire: &Wire| {
            std::iter::from_fn(|| wire.receive(Duration::from_millis(300)))
                .any(|bytes| Frame::from_bytes(&bytes).as_ref() == Some(&expected))
        };
        NICS.into_iter().zip(&self.wires).filter(|(_, wire)| of(wire)).map(|(nic, _)| nic).collect()
    }
}

#[test]
fn frames_of_a_bond_bypass_the_bridge_in_every_mode() {
    once();
    if !needs(&[Feature::Bonding]) {
        return;
    }
    for (bond, takes_xdp) in MODES {
        let lab = Lab::new(bond);
        let _daemon = lab.node.run();
        if bond.contains("802.3ad") {
            wait_for("both members are in use", || {
                let bonds = lab.node.ok("show bonds -j");
                let both = bonds.matches("\"active\":true").count() == 2;
                seen(bonds, both)
            });
        }
        let by_xdp = takes_xdp && kernel_is_at_least(6, 3);
        let path = if by_xdp { "xdp" } else { "tc" };
        lab.learn(0, path);
        // With one active member, frames from the other member are dropped, as the bridge's frames
        // are.
        let used: &[usize] = if bond.contains("active-backup") { &[0] } else { &[0, 1] };
        for nic in [0, 1] {
            let used = used.contains(&nic);
            let bypasses = || {
                let before = forwarded(&lab.node, "oob-bo", path);
                let arrived = lab.arrives(20, nic, 0);
                assert_eq!(arrived, usize::from(used), "{bond}: by {}", NICS[nic]);
                let after = forwarded(&lab.node, "oob-bo", path);
                seen((before, after), after > before)
            };
            // The bridge receives one frame of each source in 17 seconds.
            if used {
                wait_for("a frame bypasses the bridge", bypasses);
            } else {
                assert!(bypasses().is_err(), "{bond}: by {}", NICS[nic]);
            }
        }
        let leaves = lab.leaves(30);
        let all = bond.contains("broadcast");
        assert_eq!(leaves.len(), if all { 2 } else { 1 }, "{bond}: {leaves:?}");
        let warned = lab.node.ok(&format!("plan -c {}", lab.node.config()));
        let warning = "oob-bo: `fastPath: xdp` is unavailable";
        assert_eq!(warned.contains(warning), !takes_xdp, "{warned}");
    }
}

/// The other member takes over in both directions. Frames from the former member are dropped.
#[test]
fn bond_fails_over_while_it_forwards() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let lab = Lab::new("mode: active-backup, primary: eth2, miimon: 50ms");
    let _daemon = lab.node.run();
    let path = if kernel_is_at_least(6, 3) { "xdp" } else { "tc" };
    lab.learn(0, path);
    for (in_use, other) in [(1, 0), (0, 1)] {
        // eth2 loses its carrier, and regains it in the second round.
        let state = if in_use == 1 { "down" } else { "up" };
        lab.switch.sh(&format!("ip link set eth2 {state}"));
        wait_until_eq("the other member is in use", &json!(NICS[in_use]), || {
            let link = lab.node.netns.link("oob-bo");
            link["linkinfo"]["info_data"]["active_slave"].clone()
        });
        lab.learn(in_use, path);
        assert_eq!(lab.arrives(40, in_use, in_use), 1, "by {}", NICS[in_use]);
        if in_use == 0 {
            assert_eq!(lab.arrives(50, other, in_use), 0, "{} is on standby", NICS[other]);
        }
        assert_eq!(lab.leaves(60), BTreeSet::from([NICS[in_use]]));
    }
}
