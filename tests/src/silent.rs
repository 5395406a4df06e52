//! Silent ports: the target of a migration makes nobody believe that the VM has moved, until it
//! runs there; then it is announced once.

use std::time::{Duration, Instant};

use crate::{
    Feature,
    frame::{ARP, BROADCAST, C, Frame, IPV6, RARP},
    lab::{Netns, seen, wait_for},
    needs,
    node::Node,
    once,
    wire::Wire,
};

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: FILTERING, uplink: { nics: [eth2], bond: { mode: none } } }
networks:
  v100: { clusterNetwork: oob, vlan: 100 }
  trunk: { clusterNetwork: oob, trunk: '200,201' }
ports:
  - { device: vm1, network: v100, silent: true }
  - { device: vm2, network: v100 }
  - { device: vm3, network: v100, silent: true, security: { macs: ['02:00:00:00:00:03'] } }
  - { device: vm4, network: trunk, silent: true }
";
const VM1: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VM3: [u8; 6] = [2, 0, 0, 0, 0, 3];
const VM4: [u8; 6] = [2, 0, 0, 0, 0, 4];

struct Lab {
    node: Node,
    others: Netns,
    wire: Wire,
}

fn lab(filtering: &str) -> Lab {
    let (node, others) = (Node::new(), Netns::new("others"));
    for name in ["eth2", "vm1", "vm2", "vm3", "vm4"] {
        node.netns.veth(name, &others, name);
    }
    node.configure(&CONFIG.replace("FILTERING", filtering));
    let wire = Wire::open(&others, "eth2");
    Lab { node, others, wire }
}

fn frame(source: [u8; 6], ethertype: u16, tags: &[(u16, u16)], payload: Vec<u8>) -> Frame {
    Frame { destination: BROADCAST, source, tags: tags.to_vec(), ethertype, payload }
}

/// ARP for an IPv4 address, from one.
pub fn arp(mac: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Frame {
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let mut payload = [&head[..], &mac, &sender, &[0; 6], &target].concat();
    payload.resize(46, 0);
    frame(mac, ARP, &[], payload)
}

/// A message of ICMPv6, behind a hop-by-hop header if it is a report of multicast listeners.
fn icmpv6(mac: [u8; 6], from: u8, kind: u8) -> Frame {
    let mut payload = vec![0; 40];
    (payload[0], payload[5]) = (0x60, 50);
    payload[6] = if kind == 143 { 0 } else { 58 };
    payload[23] = from;
    if kind == 143 {
        payload.extend([58, 0, 5, 2, 0, 0, 1, 0]);
    }
    payload.extend([kind, 0, 0, 0, 0x20, 0, 0, 0]);
    payload.resize(90, 0);
    frame(mac, IPV6, &[], payload)
}

impl Lab {
    fn vm(&self, name: &str) -> Wire {
        Wire::open(&self.others, name)
    }

    /// The port behind which the bridge knows a station.
    fn place(&self, mac: &str) -> Vec<String> {
        let entries = self.node.netns.json("bridge -j fdb show br oob-br");
        let entries = entries.as_array().unwrap();
        let its = entries.iter().filter(|entry| entry["mac"] == mac && entry["state"] == "");
        its.map(|entry| entry["ifname"].as_str().unwrap().to_owned()).collect()
    }

    /// Just these frames of a station come out of the uplink: Ethertype and tags. Those of the
    /// agent may come late: it waits for RTNL.
    #[track_caller]
    fn hears(&self, mac: [u8; 6], expected: &[(u16, Vec<(u16, u16)>)]) {
        let (late, end) = (Instant::now() + Duration::from_secs(20), Duration::from_millis(700));
        let mut heard: Vec<(u16, Vec<(u16, u16)>)> = Vec::new();
        let left = || late.saturating_duration_since(Instant::now());
        loop {
            let patience = if heard.len() < expected.len() { left() } else { end };
            let Some(bytes) = self.wire.receive(patience) else { break };
            let frame = Frame::from_bytes(&bytes).filter(|frame| frame.source == mac);
            heard.extend(frame.map(|frame| (frame.ethertype, frame.tags)));
        }
        assert_eq!(heard, expected);
    }
}

fn stays_silent_until_the_vm_runs(filtering: &str) {
    let lab = lab(filtering);
    let daemon = lab.node.run();
    // The VM still runs elsewhere.
    lab.wire.send(&Frame { source: VM1, ..Frame::numbered(1, &[(C, 100)]) });
    let mac = "02:00:00:00:00:01";
    wait_for("the bridge knows the station", || {
        let place = lab.place(mac);
        seen(place.clone(), place.iter().all(|port| port == "eth2") && !place.is_empty())
    });
    let vm = lab.vm("vm1");
    let mine = [10, 0, 0, 1];
    let unprompted = [
        arp(VM1, mine, mine),
        arp(VM1, [0; 4], mine),
        frame(VM1, RARP, &[], vec![0; 46]),
        icmpv6(VM1, 1, 136),
        icmpv6(VM1, 0, 135),
        icmpv6(VM1, 1, 133),
        icmpv6(VM1, 1, 143),
    ];
    unprompted.iter().for_each(|frame| vm.send(frame));
    lab.hears(VM1, &[]);
    let drops = || lab.node.drops().get(&("vm1".to_owned(), "silent".to_owned())).copied();
    assert_eq!(drops(), Some(7));
    assert!(lab.place(mac).iter().all(|port| port == "eth2"), "{:?}", lab.place(mac));
    let says = || lab.node.ok("status").contains("vm1: is silent until its VM runs here");
    assert!(says());
    // No agent is needed for it.
    drop(daemon);
    vm.send(&unprompted[0]);
    lab.hears(VM1, &[]);
    assert_eq!(drops(), Some(8));
    let daemon = lab.node.run();
    vm.send(&unprompted[0]);
    lab.hears(VM1, &[]);
    assert_eq!(drops(), Some(9));
    // The VM asks for its neighbour: it runs here.
    vm.send(&arp(VM1, mine, [10, 0, 0, 9]));
    let tags = vec![(C, 100)];
    lab.hears(VM1, &[(ARP, tags.clone()), (RARP, tags.clone())]);
    assert!(lab.place(mac).iter().all(|port| port == "vm1"), "{:?}", lab.place(mac));
    vm.send(&unprompted[0]);
    lab.hears(VM1, &[(ARP, tags)]);
    lab.node.netagent("reload");
    assert!(!says());
    // It is announced once, whoever asks.
    lab.node.ok("port announce vm1");
    drop(daemon);
    let _daemon = lab.node.run();
    lab.hears(VM1, &[]);
}

#[test]
fn port_stays_silent_until_its_vm_runs_on_an_unaware_bridge() {
    once();
    stays_silent_until_the_vm_runs("off");
}

#[test]
fn port_stays_silent_until_its_vm_runs_on_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        stays_silent_until_the_vm_runs("on");
    }
}

fn is_announced_when_it_is_told(filtering: &str) {
    let lab = lab(filtering);
    let _daemon = lab.node.run();
    lab.node.ok("port announce vm3");
    lab.hears(VM3, &[(RARP, vec![(C, 100)])]);
    // The bridge knows it as well, though the VM has sent nothing.
    let place = lab.place("02:00:00:00:00:03");
    assert!(!place.is_empty() && place.iter().all(|port| port == "vm3"), "{place:?}");
    // A trunk is announced in each VLAN, by the address that was seen.
    lab.vm("vm4").send(&frame(VM4, RARP, &[(C, 201)], vec![0; 46]));
    lab.hears(VM4, &[]);
    lab.node.ok("port announce vm4");
    lab.hears(VM4, &[(RARP, vec![(C, 200)]), (RARP, vec![(C, 201)])]);
    let refused = lab.node.refused("port announce vm2");
    assert!(refused.contains("port vm2 is not `silent`"), "{refused}");
    let refused = lab.node.refused("port announce vm9");
    assert!(refused.contains("there is no port vm9"), "{refused}");
    // A port that was added at run time.
    lab.node.netns.veth("vm5", &lab.others, "vm5");
    lab.node.ok("port add vm5 --network v100 --silent");
    let mac = [2, 0, 0, 0, 0, 5];
    lab.vm("vm5").send(&frame(mac, RARP, &[], vec![0; 46]));
    lab.hears(mac, &[]);
    // Nothing is known of its address: the first frame of the VM has it, whatever it is.
    lab.node.netns.veth("vm6", &lab.others, "vm6");
    lab.node.ok("port add vm6 --network v100 --silent");
    lab.node.ok("port announce vm6");
    let mac = [2, 0, 0, 0, 0, 6];
    lab.hears(mac, &[]);
    lab.vm("vm6").send(&arp(mac, [10, 0, 0, 6], [10, 0, 0, 6]));
    lab.hears(mac, &[(ARP, vec![(C, 100)]), (RARP, vec![(C, 100)])]);
}

#[test]
fn vm_is_announced_when_the_agent_is_told_on_an_unaware_bridge() {
    once();
    is_announced_when_it_is_told("off");
}

#[test]
fn vm_is_announced_when_the_agent_is_told_on_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        is_announced_when_it_is_told("on");
    }
}
