//! IGMP and MLD snooping: queries in one VLAN end multicast in no other.

use std::time::{Duration, Instant};

use crate::{
    Feature,
    frame::{Frame, TEST},
    lab::{Netns, wait_until, wait_until_eq},
    needs,
    node::Node,
    wire::Wire,
};

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: FILTERING, SNOOPING uplink: { nics: [eth2], bond: { mode: none }, xdp: off } }
networks:
  v10: { clusterNetwork: oob, vlan: 10, security: { SECURITY } }
  v100: { clusterNetwork: oob, vlan: 100 }
ports:
  - { device: vm-q, network: v10 }
  - { device: vm-r, network: v10 }
  - { device: vm-a, network: v100 }
  - { device: vm-b, network: v100 }
";

/// The routers' alert (RFC 2711), in hop-by-hop options, before ICMPv6.
const ALERT: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];
/// ff02::1
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The solicited-node group of fe80::1:2:3.
const SOLICITED: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 2, 0, 3];

/// How long no multicast may be missing after a query, whose answers are due after a millisecond.
const LONG: Duration = Duration::from_millis(300);

struct Lab {
    node: Node,
    querier: Wire,
    beside: Wire,
    a: Wire,
    b: Wire,
    /// The namespace of the VMs and of the wire.
    _others: Netns,
}

fn config(filtering: &str, snooping: &str, security: &str) -> String {
    let snooping = match snooping {
        "" => String::new(),
        some => format!("multicastSnooping: {some},"),
    };
    let config = CONFIG.replace("FILTERING", filtering).replace("SNOOPING", &snooping);
    config.replace("SECURITY", security)
}

impl Lab {
    fn new(config: &str) -> Self {
        let (node, others) = (Node::new(), Netns::new("others"));
        let ports = ["vm-q", "vm-r", "vm-a", "vm-b"];
        for name in ports.into_iter().chain(["eth2"]) {
            node.netns.veth(name, &others, name);
        }
        let [querier, beside, a, b] = ports.map(|name| Wire::open(&others, name));
        node.apply(config);
        node.assert_settled();
        node.netns.wait_for_bridge_ports();
        Self { node, querier, beside, a, b, _others: others }
    }

    /// `mcast_snooping` and `mcast_vlan_snooping` of a bridge.
    fn snooping(&self, bridge: &str) -> [u64; 2] {
        let link = self.node.netns.link(bridge);
        let info = &link["linkinfo"]["info_data"];
        ["mcast_snooping", "mcast_vlan_snooping"].map(|name| info[name].as_u64().unwrap_or(0))
    }
}

/// An ICMPv6 message to a group, behind hop-by-hop options or not.
fn icmpv6(station: u8, group: [u8; 16], options: &[u8], mut message: Vec<u8>) -> Frame {
    let mut from = [0; 16];
    (from[0], from[1], from[15]) = (0xfe, 0x80, station);
    let length = |bytes: usize| u8::try_from(bytes).unwrap();
    let pseudo = [0, 0, 0, length(message.len()), 0, 0, 0, 58];
    let sum = checksum(&[&from[..], &group, &pseudo, &message].concat());
    message[2..4].copy_from_slice(&sum);
    let next = if options.is_empty() { 58 } else { 0 };
    let header = [0x60, 0, 0, 0, 0, length(options.len() + message.len()), next, 1];
    Frame {
        destination: [0x33, 0x33, group[12], group[13], group[14], group[15]],
        source: [2, 0, 0, 0, 0, station],
        tags: vec![],
        ethertype: 0x86dd,
        payload: [&header[..], &from, &group, options, &message].concat(),
    }
}

/// The checksum of the Internet (RFC 1071).
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (!((folded & 0xffff) + (folded >> 16))).to_be_bytes();
    [high, low]
}

/// A general query of MLD, whose answers are due within a millisecond.
fn query() -> Frame {
    icmpv6(0xd, ALL_NODES, &ALERT, [&[130, 0, 0, 0, 0, 1][..], &[0; 18]].concat())
}

/// A neighbour solicitation for a station that has reported no group.
fn solicitation() -> Frame {
    icmpv6(0xa, SOLICITED, &[], [&[135, 0, 0, 0][..], &[0; 20]].concat())
}

/// Whether a multicast frame reaches a port: a broadcast that follows does.
fn passes(from: &Wire, to: &Wire) -> bool {
    let (multicast, mut last) = (solicitation(), Frame::numbered(1, &[]));
    last.source = multicast.source;
    from.send(&multicast);
    from.send(&last);
    let mut passed = false;
    loop {
        let bytes = to.receive(Duration::from_secs(10)).expect("the broadcast arrives");
        let Some(frame) = Frame::from_bytes(&bytes) else { continue };
        passed |= frame.ethertype == multicast.ethertype && frame.payload == multicast.payload;
        if frame.ethertype == TEST {
            return passed;
        }
    }
}

fn keeps_passing(from: &Wire, to: &Wire) {
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        assert!(passes(from, to), "multicast has ended");
    }
}

/// By default, no query ends anything. With snooping of all VLANs as one, that in VLAN 10 takes
/// neighbour discovery from VLAN 100, unless a guard drops it.
#[test]
fn queries_in_one_vlan_end_multicast_in_no_other() {
    let lab = Lab::new(&config("off", "", ""));
    assert_eq!(lab.snooping("oob-br"), [0, 0]);
    lab.querier.send(&query());
    keeps_passing(&lab.a, &lab.b);

    lab.node.apply(&config("off", "bridge", "mcastQuerierGuard: true"));
    lab.node.assert_settled();
    assert_eq!(lab.snooping("oob-br"), [1, 0]);
    lab.querier.send(&query());
    keeps_passing(&lab.a, &lab.b);
    let drops = lab.node.drops();
    assert_eq!(drops.get(&("vm-q".to_owned(), "multicast-query".to_owned())), Some(&1));

    lab.node.apply(&config("off", "bridge", ""));
    lab.querier.send(&query());
    wait_until("what the default is for", || !passes(&lab.a, &lab.b));
    lab.node.apply(&config("off", "off", ""));
    keeps_passing(&lab.a, &lab.b);
}

#[test]
fn snooping_by_vlan_ends_multicast_in_the_vlan_of_the_query_only() {
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    let lab = Lab::new(&config("on", "vlan", ""));
    assert_eq!(lab.snooping("oob-br"), [1, 1]);
    lab.querier.send(&query());
    wait_until("its own VLAN is snooped", || !passes(&lab.querier, &lab.beside));
    keeps_passing(&lab.a, &lab.b);
    // Without the filter, there is none by VLAN: it is off, and back with the filter.
    lab.node.apply(&config("auto", "off", ""));
    assert_eq!(lab.snooping("oob-br")[0], 0);
    lab.node.apply(&config("auto", "vlan", ""));
    lab.node.assert_settled();
    assert_eq!(lab.snooping("oob-br"), [1, 1]);
    lab.node.apply(&config("off", "", ""));
    lab.node.assert_settled();
    assert_eq!(lab.snooping("oob-br"), [0, 0]);
}

#[test]
fn snooping_that_somebody_switches_on_is_switched_off() {
    let lab = Lab::new(&config("off", "", ""));
    let _daemon = lab.node.run();
    for line in [
        "ip link set oob-br type bridge mcast_snooping 1",
        "unshare --mount sh -c 'mount -t sysfs sysfs /sys && \
         echo 1 > /sys/class/net/oob-br/bridge/multicast_snooping'",
    ] {
        lab.node.netns.sh(line);
        wait_until_eq(line, &[0, 0], || lab.snooping("oob-br"));
    }
}

/// A bridge that was made by hand keeps its snooping, with a warning, unless the file asks for
/// another, and gets it back.
#[test]
fn snooping_of_a_bridge_that_was_found_is_given_back() {
    const OTHER: &str = "clusterNetworks: { other: {} }\n";
    let (node, others) = (Node::new(), Netns::new("others"));
    node.netns.veth("eth2", &others, "eth2");
    node.netns.sh(
        "ip link add vmbr0 type bridge && ip link set vmbr0 up && ip link set eth2 master vmbr0",
    );
    let file = |snooping: &str, vlan: &str| {
        format!(
            "clusterNetworks:\n  oob: {{ bridge: vmbr0, vlanFiltering: auto, {snooping} uplink: \
             {{ nics: [eth2], bond: {{ mode: none }}, xdp: off }} }}\nnetworks: {{ v: {{ \
             clusterNetwork: oob, {vlan} }} }}\n"
        )
    };
    let snooping = || node.netns.link("vmbr0")["linkinfo"]["info_data"]["mcast_snooping"].clone();
    let warns = |text: &str| text.contains("vmbr0: snoops multicast in all VLANs as one");
    assert!(!warns(&node.apply(&file("", "vlan: 1"))), "one VLAN");
    let text = node.apply(&file("", "vlan: 100"));
    assert!(warns(&text), "{text}");
    node.assert_settled();
    assert_eq!(snooping(), 1);
    let text = node.apply(&file("multicastSnooping: off,", "vlan: 100"));
    assert!(!warns(&text), "{text}");
    node.assert_settled();
    assert_eq!(snooping(), 0);
    node.apply(OTHER);
    assert_eq!(snooping(), 1);
}
