//! What one VM uses up is not taken from another: addresses, limits, silence.

use crate::{
    counters::{
        lab::{Address, Lab, station},
        segments::Sender,
    },
    frame::BROADCAST,
    lab::wait_until_eq,
    once, silent,
};

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: off, uplink: { nics: [eth2], bond: { mode: none }, xdp: off } }
networks: { v100: { clusterNetwork: oob, vlan: 100 } }
ports:
  - { device: vm-a, network: v100, security: { maxMacs: 2, storm: { broadcast: 1, multicast: 1 } } }
  - { device: vm-b, network: v100, security: { maxMacs: 2, storm: { broadcast: 1, multicast: 1 } } }
  - { device: vm-c, network: v100, silent: true }
  - { device: vm-d, network: v100, silent: true }
";
const MULTICAST: Address = [1, 0, 0x5e, 0, 0, 1];

fn lab() -> Lab {
    let lab = Lab::new(&["eth2", "vm-a", "vm-b", "vm-c", "vm-d"]);
    lab.node.apply(CONFIG);
    lab
}

/// Drops of a port for a reason.
fn drops(lab: &Lab, port: &str, reason: &str) -> u64 {
    lab.node.drops().get(&(port.to_owned(), reason.to_owned())).copied().unwrap_or_default()
}

#[test]
fn each_port_has_addresses_of_its_own() {
    once();
    let lab = lab();
    for (port, first) in [("vm-a", 1), ("vm-b", 11)] {
        for address in [first, first + 1] {
            let frame = lab.send(port, &[], [station(address), station(0x99)]);
            lab.up_to("eth2", &frame);
        }
        lab.send(port, &[], [station(first + 2), station(0x99)]);
        lab.fence.pass();
        assert_eq!(drops(&lab, port, "mac-limit"), 1, "{port}");
    }
}

#[test]
fn each_port_has_limits_of_its_own() {
    // Of a frame that is above the limit of half a minute.
    const SEGMENTS: usize = 40;
    once();
    let lab = lab();
    let sender = Sender::new(&lab.others, "vm-a", station(1));
    for (destination, reason) in [(BROADCAST, "broadcast-storm"), (MULTICAST, "multicast-storm")] {
        sender.send(destination, SEGMENTS);
        sender.send(destination, SEGMENTS);
        let dropped = u64::try_from(SEGMENTS).unwrap();
        wait_until_eq("the limit of one is used up", &dropped, || drops(&lab, "vm-a", reason));
        let frame = lab.send("vm-b", &[], [station(2), destination]);
        lab.up_to("eth2", &frame);
        assert_eq!(drops(&lab, "vm-b", reason), 0);
    }
}

#[test]
fn each_port_has_silence_of_its_own() {
    once();
    let arp = |mac, target| silent::arp(mac, [10, 0, 0, 1], [10, 0, 0, target]);
    let lab = lab();
    // One VM asks for a neighbour: it runs here. The other one announces itself only.
    lab.wire("vm-c").send(&arp(station(1), 9));
    lab.wire("vm-c").send(&arp(station(1), 1));
    lab.wire("vm-d").send(&arp(station(2), 1));
    lab.fence.pass();
    assert_eq!(["vm-c", "vm-d"].map(|port| drops(&lab, port, "silent")), [0, 1]);
}
