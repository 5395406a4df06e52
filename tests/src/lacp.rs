//! LACP between a bond and a switch, with XDP attached.

use std::time::Duration;

use serde_json::Value;

use crate::{
    Feature,
    bond::{node, settle},
    frame::{C, Frame, TEST},
    lab::{Netns, seen, wait_for},
    needs,
    wire::Wire,
};

#[test]
fn lacp_comes_up_with_xdp_attached_and_no_native_vlan() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let (node, switch) = node();
    let vm = Netns::new("vm");
    node.netns.veth("a100", &vm, "a100");
    switch.sh("ip link add sw type bond mode 802.3ad miimon 100 lacp_rate fast");
    switch.sh("for nic in eth2 eth3; do ip link set $nic down master sw; done; ip link set sw up");
    settle(
        &node,
        "
clusterNetworks:
  oob: { uplink: { nics: [eth2, eth3], native: none, bond: { mode: 802.3ad, lacpRate: fast } } }
networks: { v100: { clusterNetwork: oob, vlan: 100 } }
ports: [{ device: a100, network: v100 }]
",
    );
    assert_ne!(node.netns.link("oob-bo")["xdp"]["prog"]["id"], Value::Null, "XDP is attached");
    for (netns, bond) in [(&node.netns, "oob-bo"), (&switch, "sw")] {
        wait_for(&format!("{bond} has an LACP partner and both links"), || {
            let text = netns.sh(&format!("cat /proc/net/bonding/{bond}"));
            let up = text.contains("Partner Mac Address")
                && text.contains("Number of ports: 2")
                && !text.contains("Partner Mac Address: 00:00:00:00:00:00");
            seen(text, up)
        });
    }
    let [wire, vm] = [Wire::open(&switch, "sw"), Wire::open(&vm, "a100")];
    let bonds = || {
        let [node, switch] = [(&node.netns, "oob-bo"), (&switch, "sw")]
            .map(|(netns, bond)| netns.sh(&format!("cat /proc/net/bonding/{bond}")));
        format!("{node}{switch}")
    };
    // A link that has just joined its aggregator may not yet forward.
    let gets = |to: &Wire, wanted: &Frame| {
        let got = std::iter::from_fn(|| to.receive(Duration::from_millis(200))).any(|bytes| {
            let frame = Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST);
            assert!(frame.as_ref().is_none_or(|frame| frame == wanted), "{frame:?}");
            frame.is_some()
        });
        if got { Ok(()) } else { Err(bonds()) }
    };
    wait_for("a frame of VLAN 100 reaches the VM", || {
        wire.send(&Frame::numbered(2, &[(C, 300)]));
        wire.send(&Frame::numbered(3, &[]));
        wire.send(&Frame::numbered(1, &[(C, 100)]));
        gets(&vm, &Frame::numbered(1, &[]))
    });
    wait_for("a frame of the VM reaches the switch", || {
        vm.send(&Frame::numbered(5, &[(C, 100)]));
        vm.send(&Frame::numbered(4, &[]));
        gets(&wire, &Frame::numbered(4, &[(C, 100)]))
    });
}
