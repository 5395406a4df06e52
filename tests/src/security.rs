//! Checks of a VM's frames besides their VLAN.

mod every_path;

use std::time::{Duration, Instant};

use crate::{
    fence::{BURST, Fence},
    frame::{BROADCAST, Frame, TEST},
    lab::{Netns, stay_on_one_processor},
    node::Node,
    wire::Wire,
};

/// A node with an uplink and two VMs, `a` and `b`, in VLAN 100.
struct Lab {
    node: Node,
    others: Netns,
    wire: Wire,
    a: Wire,
    b: Wire,
}

const VM: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// The configuration with these `security` sections for `a` and `b`.
fn config(security: [&str; 2]) -> String {
    let [a, b] = security;
    format!(
        "
clusterNetworks:
  oob: {{ vlanFiltering: off, uplink: {{ nics: [eth2], bond: {{ mode: none }}, xdp: off }} }}
networks:
  v100: {{ clusterNetwork: oob, vlan: 100 }}
ports:
  - {{ device: vm-a, network: v100, security: {{ {a} }} }}
  - {{ device: vm-b, network: v100, security: {{ {b} }} }}
"
    )
}

impl Lab {
    fn new(security: [&str; 2]) -> Self {
        let (node, others) = (Node::new(), Netns::new("others"));
        for name in ["eth2", "vm-a", "vm-b"] {
            node.netns.veth(name, &others, name);
        }
        let [wire, a, b] = ["eth2", "vm-a", "vm-b"].map(|name| Wire::open(&others, name));
        node.apply(&config(security));
        node.assert_settled();
        Self { node, others, wire, a, b }
    }

    /// Counted drops at a port for a reason.
    fn drops(&self, device: &str, reason: &str) -> u64 {
        let kind = (device.to_owned(), reason.to_owned());
        self.node.drops().get(&kind).copied().unwrap_or_default()
    }
}

/// A frame from this source address with this Ethertype and payload.
fn frame(source: [u8; 6], ethertype: u16, payload: &[u8]) -> Frame {
    let mut payload = payload.to_vec();
    payload.resize(payload.len().max(46), 0);
    Frame { destination: BROADCAST, source, tags: vec![], ethertype, payload }
}

/// An ARP (0x0806) or RARP (0x8035) message with this sender address.
fn arp(ethertype: u16, source: [u8; 6], sender: [u8; 6]) -> Frame {
    let header = [0, 1, 8, 0, 6, 4, 0, 1];
    frame(source, ethertype, &[&header[..], &sender, &[10, 0, 0, 1]].concat())
}

/// An IPv6 frame with this next header, and with the payload after the addresses.
fn ipv6(next: u8, rest: &[u8]) -> Frame {
    let length = u8::try_from(rest.len()).unwrap();
    let header = [&[0x60, 0, 0, 0, 0, length, next, 255][..], &[0xfe; 32]].concat();
    frame(VM, 0x86dd, &[&header, rest].concat())
}

/// A neighbour advertisement with a target link-layer address.
fn advertisement(target: [u8; 6]) -> Frame {
    let message = [&[136, 0, 0, 0][..], &[0; 20], &[2, 1], &target].concat();
    ipv6(58, &message)
}

fn udp4(from: u16, to: u16) -> Frame {
    let header = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255];
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    frame(VM, 0x0800, &[&header[..], &ports].concat())
}

fn udp6(from: u16, to: u16) -> Frame {
    ipv6(17, &[from.to_be_bytes(), to.to_be_bytes(), [0, 8], [0, 0]].concat())
}

/// Sends these frames and a final numbered one; returns the frames that arrive before the final
/// one.
fn passed(lab: &Lab, to: &Wire, frames: &[Frame]) -> Vec<usize> {
    const LAST: u32 = 0xffff;
    // Discard the rest of an earlier broadcast.
    while to.receive(Duration::ZERO).is_some() {}
    for frame in frames {
        lab.a.send(frame);
    }
    let mut last = Frame::numbered(LAST, &[]);
    last.source = VM;
    lab.a.send(&last);
    let mut passed = Vec::new();
    loop {
        let bytes = to.receive(Duration::from_secs(10)).expect("the final frame arrives");
        let frame = Frame::from_bytes(&bytes).unwrap();
        let bare = frame.with_tags(&[]);
        if bare.ethertype == TEST && bare.number() == LAST {
            return passed;
        }
        passed.extend(frames.iter().position(|sent| *sent == bare));
    }
}

#[test]
fn vm_uses_only_the_addresses_of_its_port() {
    let lab = Lab::new([r#"macs: ["02:00:00:00:00:0a", "02:00:00:00:00:0b"]"#, ""]);
    let second = [2, 0, 0, 0, 0, 0xb];
    let frames = [
        frame(VM, TEST, &[1]),
        frame(second, TEST, &[2]),
        frame(STRANGER, TEST, &[3]),
        arp(0x0806, VM, VM),
        arp(0x0806, VM, second),
        arp(0x0806, VM, STRANGER),
        arp(0x8035, VM, VM),
        arp(0x8035, VM, STRANGER),
        advertisement(VM),
        advertisement(STRANGER),
        udp4(67, 68),
    ];
    for to in [&lab.wire, &lab.b] {
        assert_eq!(passed(&lab, to, &frames), [0, 1, 3, 4, 6, 8, 10], "{}", to.name);
    }
    for (reason, count) in [("mac-spoofed", 2), ("arp-spoofed", 4), ("nd-spoofed", 2)] {
        assert_eq!(lab.drops("vm-a", reason), count, "{reason}");
    }
    // A new list replaces the old one completely.
    lab.node.apply(&config([r#"macs: ["02:00:00:00:00:0a", "02:00:00:00:00:99"]"#, ""]));
    lab.node.assert_settled();
    assert_eq!(passed(&lab, &lab.wire, &frames[..3]), [0, 2]);
    lab.node.apply(&config(["", ""]));
    lab.node.assert_settled();
    assert_eq!(passed(&lab, &lab.wire, &frames[..3]), [0, 1, 2]);
}

#[test]
fn spoofed_arp_with_an_encapsulation_is_dropped() {
    let lab = Lab::new([r#"macs: ["02:00:00:00:00:0a"]"#, ""]);
    let inner = arp(0x0806, VM, STRANGER);
    // LLC/SNAP, and a priority tag that the kernel removes before the program runs (VU#855201).
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 6][..], &inner.payload].concat();
    let length = u16::try_from(snap.len()).unwrap();
    let tagged = inner.with_tags(&[(0x8100, 0)]);
    assert_eq!(passed(&lab, &lab.wire, &[frame(VM, length, &snap), tagged]), [0usize; 0]);
    assert_eq!(lab.drops("vm-a", "arp-spoofed"), 2);
}

#[test]
fn vm_has_at_most_the_permitted_number_of_addresses() {
    let lab = Lab::new(["maxMacs: 3", ""]);
    // The final frame of `passed` uses the first address.
    let from = |number: u8| frame([2, 0, 0, 0, 1, number], TEST, &[number]);
    let frames = [frame(VM, TEST, &[0]), from(1), from(2), from(3), from(1), from(4)];
    assert_eq!(passed(&lab, &lab.wire, &frames), [0, 1, 2, 1]);
    assert_eq!(lab.drops("vm-a", "mac-limit"), 2);
    lab.node.apply(&config(["maxMacs: 4", ""]));
    assert_eq!(passed(&lab, &lab.wire, &[from(3), from(4)]), [0]);
}

#[test]
fn vm_is_neither_a_dhcp_server_nor_a_router() {
    let lab = Lab::new(["dhcpGuard: true, raGuard: true", ""]);
    let router = ipv6(58, &[134, 0, 0, 0]);
    // After a hop-by-hop header and in a first fragment (RFC 7113).
    let hidden = ipv6(0, &[44, 0, 0, 0, 0, 0, 0, 0, 58, 0, 0, 1, 0, 0, 0, 1, 134, 0, 0, 0]);
    let frames = [
        udp4(67, 68),
        udp4(68, 67),
        udp6(547, 546),
        udp6(546, 547),
        router,
        hidden,
        advertisement(STRANGER),
    ];
    assert_eq!(passed(&lab, &lab.wire, &frames), [1, 3, 6]);
    assert_eq!(lab.drops("vm-a", "dhcp-server"), 2);
    assert_eq!(lab.drops("vm-a", "router-advertisement"), 2);
}

/// With its own MAC address, a VM cannot take the IP address of another station.
#[test]
fn vm_claims_no_ip_address_of_another() {
    let lab = Lab::new([r#"addresses: [10.0.0.5, 10.0.8.0/24, "fd00::/64"]"#, ""]);
    let ip = |source: [u8; 4]| {
        let header = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0];
        frame(VM, 0x0800, &[&header[..], &source, &[10, 0, 0, 1]].concat())
    };
    let arp = |sender: [u8; 4], target: [u8; 4]| {
        let header = [0, 1, 8, 0, 6, 4, 0, 2];
        frame(VM, 0x0806, &[&header[..], &VM, &sender, &[0; 6], &target].concat())
    };
    let discovery = |source: [u8; 16], kind: u8, target: [u8; 16]| {
        let message = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target].concat();
        let mut frame = ipv6(58, &message);
        frame.payload[8..24].copy_from_slice(&source);
        frame
    };
    let own = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    let other = [0xfd, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    let link_local = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0xa];
    let router = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let frames = [
        ip([10, 0, 0, 5]),
        ip([10, 0, 8, 9]),
        ip([0; 4]),
        ip([10, 0, 0, 1]),
        ip([10, 0, 9, 0]),
        arp([10, 0, 0, 5], [10, 0, 0, 1]),
        arp([10, 0, 0, 1], [10, 0, 0, 5]),
        arp([0; 4], [10, 0, 0, 5]),
        arp([0; 4], [10, 0, 0, 1]),
        discovery(own, 135, other),
        discovery(link_local, 136, own),
        discovery(own, 136, other),
        discovery([0; 16], 135, link_local),
        discovery([0; 16], 135, router),
        discovery(router, 134, own),
        discovery(other, 128, own),
    ];
    assert_eq!(passed(&lab, &lab.wire, &frames), [0, 1, 2, 5, 7, 9, 10, 12]);
    let drops = ["ip-spoofed", "arp-ip-spoofed", "nd-ip-spoofed"];
    assert_eq!(drops.map(|reason| lab.drops("vm-a", reason)), [4, 2, 2]);
    // The list changes with the policy, and goes with it.
    lab.node.apply(&config(["addresses: 10.0.0.1", ""]));
    assert_eq!(passed(&lab, &lab.wire, &frames), [2, 3, 6, 8, 12]);
    lab.node.apply(&config(["", ""]));
    assert_eq!(passed(&lab, &lab.wire, &frames).len(), frames.len());
    let pin = lab.node.pin("maps/ALLOWED_IPS");
    let left = lab.node.netns.json(&format!("bpftool -j map dump pinned {pin}"));
    assert_eq!(left.as_array().unwrap().len(), 0, "{left}");
}

/// The bridge takes a later fragment of IGMP for a whole message.
#[test]
fn vm_is_no_multicast_querier() {
    let lab = Lab::new(["mcastQuerierGuard: true", ""]);
    let igmp = |kind: u8, fragment: u16| {
        let [high, low] = fragment.to_be_bytes();
        let header = [0x46, 0, 0, 32, 0, 0, high, low, 1, 2, 0, 0, 10, 0, 0, 1, 224, 0, 0, 1];
        let message = [0x94, 4, 0, 0, kind, 100, 0, 0, 0, 0, 0, 0];
        frame(VM, 0x0800, &[&header[..], &message].concat())
    };
    let alert = [58, 0, 5, 2, 0, 0, 1, 0];
    let mld = |kind: u8| ipv6(0, &[&alert[..], &[kind], &[0; 23]].concat());
    let hidden = ipv6(0, &[44, 0, 0, 0, 0, 0, 0, 0, 58, 0, 0, 1, 0, 0, 0, 1, 130, 0, 0, 0]);
    let frames = [
        igmp(0x11, 0),
        igmp(0x11, 1),
        igmp(0x16, 0),
        igmp(0x22, 0),
        mld(130),
        mld(131),
        mld(143),
        hidden,
    ];
    assert_eq!(passed(&lab, &lab.wire, &frames), [2, 3, 5, 6]);
    assert_eq!(lab.drops("vm-a", "multicast-query"), 4);
}

/// Lengths that hide a message: behind the IPv6 payload, behind a length that is none, and in ARP
/// with long addresses.
#[test]
fn frames_that_contradict_themselves_are_dropped() {
    let checks = r#"macs: ["02:00:00:00:00:0a"], dhcpGuard: true, raGuard: true"#;
    let lab = Lab::new([checks, ""]);
    // A first fragment with eight bytes of options, and an echo behind its payload.
    let mut fragment = ipv6(44, &[60, 0, 0, 1, 0, 0, 0, 1, 58, 0, 1, 4, 0, 0, 0, 0, 128, 0, 0, 0]);
    fragment.payload[5] = 16;
    let router = ipv6(58, &[134, 0, 0, 0]);
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd][..], &router.payload].concat();
    let mut long = arp(0x0806, VM, VM);
    long.payload[4] = 8;
    // Discovery in a fragment (RFC 6980), and a jumbogram.
    let alone = ipv6(44, &[58, 0, 0, 0, 0, 0, 0, 1, 133, 0, 0, 0, 0, 0, 0, 0]);
    let mut jumbo = ipv6(17, &[0; 8]);
    jumbo.payload[5] = 0;
    let mut short = udp4(1000, 1000);
    short.payload[3] = 24;
    let frames = [
        fragment,
        frame(VM, 1501, &snap),
        frame(VM, 1535, &snap),
        long,
        alone,
        jumbo,
        short,
        frame(VM, TEST, &[1]),
        arp(0x0806, VM, VM),
        udp4(1000, 1000),
        udp6(1000, 1000),
    ];
    assert_eq!(passed(&lab, &lab.wire, &frames), [7, 8, 9, 10]);
    assert_eq!(lab.drops("vm-a", "malformed"), 7);
}

#[test]
fn isolated_ports_reach_the_uplink_only() {
    let lab = Lab::new(["isolated: true", ""]);
    let hears = |to: &Wire, from: &Wire, number: u32, tags: &[(u16, u16)]| {
        from.send(&Frame::numbered(number, tags));
        loop {
            let Some(bytes) = to.receive(Duration::from_millis(500)) else { return false };
            let frame = Frame::from_bytes(&bytes).unwrap();
            if frame.ethertype == TEST && frame.number() == number {
                return true;
            }
        }
    };
    assert!(hears(&lab.wire, &lab.a, 1, &[]));
    assert!(hears(&lab.a, &lab.wire, 2, &[(0x8100, 100)]));
    assert!(hears(&lab.wire, &lab.b, 3, &[]));
    assert!(hears(&lab.b, &lab.wire, 4, &[(0x8100, 100)]));
    assert!(!hears(&lab.b, &lab.a, 5, &[]));
    assert!(!hears(&lab.a, &lab.b, 6, &[]));
    assert_eq!((lab.drops("vm-b", "isolated"), lab.drops("vm-a", "isolated")), (2, 2));
    lab.node.apply(&config(["", ""]));
    lab.node.assert_settled();
    assert!(hears(&lab.b, &lab.a, 7, &[]));
    assert!(hears(&lab.a, &lab.b, 8, &[]));
}

#[test]
fn storm_is_limited_and_known_unicast_is_not() {
    let lab = Lab::new(["storm: { broadcast: 10, multicast: 20 }", ""]);
    stay_on_one_processor();
    let fence = Fence::new(&lab.others);
    let started = Instant::now();
    let send = |destination: [u8; 6], count: u32| {
        for number in 0..count {
            if number.is_multiple_of(BURST) {
                fence.pass();
            }
            lab.a.send(&Frame { destination, source: VM, ..Frame::numbered(number, &[]) });
        }
    };
    send(BROADCAST, 300);
    send([0x01, 0, 0x5e, 0, 0, 1], 300);
    send(STRANGER, 300);
    let (mut broadcast, mut multicast, mut unicast) = (0, 0, 0);
    while unicast < 300 {
        let bytes = lab.wire.receive(Duration::from_secs(10)).expect("all unicast frames arrive");
        match Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST) {
            Some(frame) if frame.destination == BROADCAST => broadcast += 1,
            Some(frame) if frame.destination[0] & 1 == 1 => multicast += 1,
            Some(_) => unicast += 1,
            None => {}
        }
    }
    // The burst of each limit, and the frames that became due during the test.
    let seconds = started.elapsed().as_secs() + 1;
    assert!((10..=11 + 10 * seconds).contains(&broadcast), "{broadcast} in {seconds} s");
    assert!((20..=21 + 20 * seconds).contains(&multicast), "{multicast} in {seconds} s");
    assert_eq!(lab.drops("vm-a", "broadcast-storm"), 300 - broadcast);
    assert_eq!(lab.drops("vm-a", "multicast-storm"), 300 - multicast);
}

#[test]
fn node_receives_link_local_frames_of_a_permitted_vm() {
    let lab = Lab::new(["allowLinkLocal: true", ""]);
    let lldp = Frame { destination: [1, 0x80, 0xc2, 0, 0, 0xe], ..frame(VM, 0x88cc, &[]) };
    lab.a.send(&lldp);
    lab.b.send(&lldp);
    assert_eq!(lab.node.packets("vm-a", "link-local").0, 1);
    // That of vm-b, and that of vm-a on its way to vm-b.
    assert_eq!((lab.drops("vm-a", "link-local"), lab.drops("vm-b", "link-local")), (0, 2));
}

/// LLDP of a permitted VM passes in both directions, and that of no other VM.
#[test]
fn lldp_passes_between_a_permitted_vm_and_the_wire() {
    let lab = Lab::new(["allowLinkLocal: true", ""]);
    let lldp = |source, number: u8| Frame {
        destination: [1, 0x80, 0xc2, 0, 0, 0xe],
        ..frame(source, 0x88cc, &[number])
    };
    let mask = |link: &str| {
        lab.node.netns.link(link)["linkinfo"]["info_slave_data"]["group_fwd_mask"].clone()
    };
    assert_eq!([mask("vm-a"), mask("vm-b")], ["0x4000", "0"]);
    // The next LLDP frame, without tags, that comes out at this end.
    let heard = |wire: &Wire| loop {
        let bytes = wire.receive(Duration::from_secs(10)).expect("LLDP arrives");
        let frame = Frame::from_bytes(&bytes).unwrap();
        if frame.ethertype == 0x88cc {
            assert!(frame.tags.is_empty(), "{frame:?}");
            return frame.payload[0];
        }
    };
    lab.a.send(&lldp(VM, 1));
    assert_eq!(heard(&lab.wire), 1, "from the VM to the wire");
    lab.wire.send(&lldp(STRANGER, 2));
    assert_eq!(heard(&lab.a), 2, "from the wire to the VM");
    // The VM without the key is not heard, and hears nothing: 1, 2 and 4 do not reach it.
    lab.b.send(&lldp(VM, 3));
    lab.wire.send(&lldp(STRANGER, 4));
    lab.a.send(&lldp(VM, 5));
    assert_eq!([heard(&lab.a), heard(&lab.wire)], [4, 5]);
    assert_eq!(lab.drops("vm-b", "link-local"), 5);
    // Drift is repaired, and what was found comes back when the key goes.
    lab.node.netns.sh("ip link set vm-a type bridge_slave group_fwd_mask 0x8");
    lab.node.ok(&format!("apply -c {}", lab.node.config()));
    assert_eq!(mask("vm-a"), "0x4008");
    lab.node.configure(&config(["", ""]));
    lab.node.ok(&format!("apply -c {}", lab.node.config()));
    assert_eq!([mask("vm-a"), mask("vm-b"), mask("eth2")], ["0x8", "0", "0"]);
    lab.node.assert_settled();
}

/// Only the programs of ports with a check contain the code of the check.
#[test]
fn disabled_check_is_in_no_program() {
    let lab = Lab::new([
        "macs: [\"02:00:00:00:00:0a\"], dhcpGuard: true, raGuard: true",
        "storm: { broadcast: 5 }",
    ]);
    let programs = lab.node.pin("programs");
    let shown = lab.node.netns.sh(&format!(
        "for p in {programs}/*/port_in*; do echo \"${{p##*/}} $(bpftool -j prog show pinned $p)\"; done"
    ));
    let mut sizes = Vec::new();
    for line in shown.lines() {
        let (name, json) = line.split_once(' ').unwrap();
        let program: serde_json::Value = serde_json::from_str(json).unwrap();
        sizes.push((name.to_owned(), program["bytes_xlated"].as_u64().unwrap()));
    }
    sizes.sort();
    let names: Vec<_> = sizes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["port_in", "port_in-6800", "port_in-8000"]);
    let [plain, guards, storm] = [0, 1, 2].map(|index: usize| sizes[index].1);
    assert!(plain < storm && storm < guards, "{sizes:?}");
}

/// While a port gets its checks and loses them, all its frames and those of another port arrive.
#[test]
fn checks_are_switched_on_and_off_without_loss() {
    let lab = Lab::new(["", ""]);
    let checks = r#"macs: ["02:00:00:00:00:0a"], maxMacs: 2, dhcpGuard: true, raGuard: true"#;
    let mut number = 0;
    for security in [["", ""], [checks, ""], ["storm: { broadcast: 1000000 }", ""], ["", ""]] {
        lab.node.configure(&config(security));
        let mut apply = lab.node.command(&format!("apply -c {}", lab.node.config()));
        let mut apply = apply.stdout(std::process::Stdio::null()).spawn().unwrap();
        while apply.try_wait().unwrap().is_none() {
            for wire in [&lab.a, &lab.b] {
                number += 1;
                let frame = Frame { source: VM, ..Frame::numbered(number, &[]) };
                wire.send(&frame);
                loop {
                    let bytes =
                        lab.wire.receive(Duration::from_secs(10)).expect("no frame is lost");
                    let got = Frame::from_bytes(&bytes).unwrap();
                    if got.ethertype == TEST && got.number() == number {
                        break;
                    }
                }
            }
        }
        assert!(apply.wait().unwrap().success());
        lab.node.assert_settled();
    }
}
