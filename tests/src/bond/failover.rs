//! A bond whose traffic takes another member: the switch, which learnt the stations at the old one,
//! hears of them at the new one. Its bridge stands for two switches: it has both members as ports,
//! and sends to that where it has learnt a station.

use std::time::{Duration, Instant};

use super::node;
use crate::{
    Feature,
    frame::{ARP, C, Frame, IPV6, RARP, TEST},
    lab::{Netns, wait_until, wait_until_eq},
    needs,
    node::{Daemon, Node},
    wire::Wire,
};

const CONFIG: &str = "
clusterNetworks:
  oob:
    vlanFiltering: FILTERING
    uplink: { nics: [eth2, eth3], bond: { mode: active-backup, numGratArp: ROUNDS } }
    host: { vlan: 10, address: [10.0.0.5/24, 'fd00:10::5/64'] }
networks:
  v100: { clusterNetwork: oob, vlan: 100 }
  plain: { clusterNetwork: oob }
ports:
  - { device: vm1, network: v100 }
  - { device: vm2, network: plain }
";
const VM1: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VM2: [u8; 6] = [2, 0, 0, 0, 0, 2];
const FAR: [u8; 6] = [2, 0, 0, 0, 0, 9];
/// Neighbour Advertisement.
const ADVERTISEMENT: u8 = 136;

/// An announcement: the VIDs of its tags, its Ethertype, and the address that it is for.
type Heard = (Vec<u16>, u16, Vec<u8>);

struct Lab {
    node: Node,
    switch: Netns,
    vms: Netns,
    far: Netns,
}

fn lab(filtering: &str, rounds: u8) -> Lab {
    let (node, switch) = node();
    node.netns
        .sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0");
    let (vms, far) = (Netns::new("vms"), Netns::new("far"));
    switch.veth("far", &far, "far");
    switch.sh("ip link add sw type bridge mcast_snooping 0 && ip link set sw up");
    switch.sh("for port in eth2 eth3 far; do ip link set $port master sw up; done");
    for vm in ["vm1", "vm2"] {
        node.netns.veth(vm, &vms, vm);
    }
    let rounds = rounds.to_string();
    node.configure(&CONFIG.replace("FILTERING", filtering).replace("ROUNDS", &rounds));
    Lab { node, switch, vms, far }
}

impl Lab {
    /// Starts the agent, and lets the switch learn where everybody is.
    fn run(&self) -> Daemon<'_> {
        let daemon = self.node.run();
        self.node.netns.wait_for_carriers();
        self.fail_over("eth2");
        wait_until_eq("IPv6 addresses are checked", &String::new(), || {
            self.node.netns.sh("ip -6 -o address show dev oob-br.10 tentative")
        });
        wait_until("the stations are behind eth2", || {
            self.speak();
            [VM1, VM2].iter().all(|mac| self.place(*mac) == ["eth2"])
        });
        daemon
    }

    /// The VMs send a frame.
    fn speak(&self) {
        for (name, mac) in [("vm1", VM1), ("vm2", VM2)] {
            Wire::open(&self.vms, name).send(&Frame { source: mac, ..Frame::numbered(1, &[]) });
        }
    }

    /// The ports where the switch has learnt a station.
    fn place(&self, mac: [u8; 6]) -> Vec<String> {
        let entries = self.switch.json("bridge -j fdb show br sw");
        let text: Vec<_> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = text.join(":");
        let its = entries.as_array().unwrap().iter().filter(|entry| entry["mac"] == text.as_str());
        its.map(|entry| entry["ifname"].as_str().unwrap().to_owned()).collect()
    }

    fn active(&self) -> String {
        let link = self.node.netns.link("oob-bo");
        link["linkinfo"]["info_data"]["active_slave"].as_str().unwrap_or_default().to_owned()
    }

    fn fail_over(&self, nic: &str) {
        self.node.netns.sh(&format!("ip link set oob-bo type bond active_slave {nic}"));
        assert_eq!(self.active(), nic);
    }

    /// Announcements of each round, in order.
    fn expected(&self, rounds: u8) -> Vec<Heard> {
        let addresses = self.node.netns.json("ip -j address show dev oob-br.10");
        let addresses = addresses[0]["addr_info"].as_array().unwrap().iter();
        let texts = addresses.map(|address| address["local"].as_str().unwrap());
        let octets = |text: &str| match text.parse().unwrap() {
            std::net::IpAddr::V4(address) => (ARP, address.octets().to_vec()),
            std::net::IpAddr::V6(address) => (IPV6, address.octets().to_vec()),
        };
        let of_node = texts.map(octets).map(|(ethertype, octets)| (vec![10], ethertype, octets));
        let mut round: Vec<Heard> = of_node.collect();
        assert_eq!(round.len(), 3, "IPv4, IPv6, and the link-local address");
        round.push((vec![100], RARP, VM1.to_vec()));
        round.push((vec![], RARP, VM2.to_vec()));
        let mut all: Vec<Heard> = (0..rounds).flat_map(|_| round.clone()).collect();
        all.sort();
        all
    }
}

/// The announcement that a frame is.
fn announcement(bytes: &[u8]) -> Option<Heard> {
    let frame = Frame::from_bytes(bytes)?;
    let payload = &frame.payload;
    let subject = match frame.ethertype {
        // The sender is its own target.
        ARP if payload[14..18] == payload[24..28] => payload[14..18].to_vec(),
        RARP => payload[8..14].to_vec(),
        // The kernel announces the link-local address of the bond itself, untagged.
        IPV6 if !frame.tags.is_empty() && payload[6] == 58 && payload[40] == ADVERTISEMENT => {
            payload[48..64].to_vec()
        }
        _ => return None,
    };
    let vids = frame.tags.iter().map(|(tpid, tci)| {
        assert_eq!(*tpid, C);
        tci & 0xfff
    });
    Some((vids.collect(), frame.ethertype, subject))
}

/// The announcements that arrive: at least so many within 20 seconds, and all that come within
/// 0.7 seconds after the last. Returns when the first came as well.
fn hear(wires: &[Wire], count: usize) -> (Vec<Heard>, Option<Instant>) {
    let (began, quiet) = (Instant::now(), Duration::from_millis(700));
    let (mut heard, mut first, mut last) = (Vec::new(), None, Instant::now());
    while last.elapsed() < quiet || heard.len() < count && began.elapsed().as_secs() < 20 {
        for wire in wires {
            let Some(bytes) = wire.receive(Duration::from_millis(2)) else { continue };
            let Some(announcement) = announcement(&bytes) else { continue };
            heard.push(announcement);
            last = Instant::now();
            first.get_or_insert(last);
        }
    }
    heard.sort();
    (heard, first)
}

/// Whether the frame of the test with this number comes. Others come as well.
fn arrives(wire: &Wire, number: u32, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    let left = || end.saturating_duration_since(Instant::now());
    while let Some(bytes) = wire.receive(left()) {
        let frame = Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST);
        if frame.is_some_and(|frame| frame.number() == number) {
            return true;
        }
    }
    false
}

fn announces_after_a_failover(filtering: &str) {
    let lab = lab(filtering, 3);
    let _daemon = lab.run();
    let expected = lab.expected(3);
    for (number, nic) in ["eth3", "eth2"].into_iter().enumerate() {
        let wires = [Wire::open(&lab.switch, nic)];
        let began = Instant::now();
        lab.fail_over(nic);
        let (heard, first) = hear(&wires, expected.len());
        assert_eq!(heard, expected, "{nic}");
        let delay = first.map(|first| first.duration_since(began));
        println!("failover: {filtering}: failover {number}: the first after {delay:?}");
        wait_until("the switch sends to the active member", || {
            [VM1, VM2].iter().all(|mac| lab.place(*mac) == [nic])
        });
    }
    // The VM has said nothing: frames for it arrive.
    let (far, vm) = (Wire::open(&lab.far, "far"), Wire::open(&lab.vms, "vm1"));
    far.send(&Frame { source: FAR, destination: VM1, ..Frame::numbered(7, &[(C, 100)]) });
    assert!(arrives(&vm, 7, Duration::from_secs(5)));
}

#[test]
fn stations_behind_a_bond_are_announced_after_a_failover_over_an_aware_bridge() {
    if needs(&[Feature::Bonding, Feature::VlanDevices, Feature::VlanFiltering]) {
        announces_after_a_failover("on");
    }
}

#[test]
fn stations_behind_a_bond_are_announced_after_a_failover_over_an_unaware_bridge() {
    if needs(&[Feature::Bonding, Feature::VlanDevices]) {
        announces_after_a_failover("off");
    }
}

/// What happens without announcements: the switch sends to the old member.
#[test]
fn no_announcements_are_sent_where_none_are_wanted() {
    if !needs(&[Feature::Bonding, Feature::VlanDevices]) {
        return;
    }
    let lab = lab("auto", 0);
    let _daemon = lab.run();
    let wires = [Wire::open(&lab.switch, "eth3")];
    lab.fail_over("eth3");
    assert_eq!(hear(&wires, 0).0, []);
    assert_eq!(lab.place(VM1), ["eth2"]);
    let (far, vm) = (Wire::open(&lab.far, "far"), Wire::open(&lab.vms, "vm1"));
    far.send(&Frame { source: FAR, destination: VM1, ..Frame::numbered(7, &[(C, 100)]) });
    assert!(!arrives(&vm, 7, Duration::from_millis(700)), "it goes to the backup member");
}

#[test]
fn stations_are_announced_when_the_last_member_is_back() {
    if !needs(&[Feature::Bonding, Feature::VlanDevices]) {
        return;
    }
    let lab = lab("auto", 1);
    let _daemon = lab.run();
    let carrier = |expected: bool| {
        wait_until_eq("the carrier of the bond", &expected, || {
            let link = lab.node.netns.link("oob-bo");
            link["flags"].as_array().unwrap().contains(&"LOWER_UP".into())
        });
    };
    lab.switch.sh("ip link set eth2 down && ip link set eth3 down");
    carrier(false);
    let wires = [Wire::open(&lab.switch, "eth3")];
    lab.switch.sh("ip link set eth3 up");
    let expected = lab.expected(1);
    assert_eq!(hear(&wires, expected.len()).0, expected);
    assert_eq!(lab.active(), "eth3");
    // Another member that comes back is no failover.
    lab.switch.sh("ip link set eth2 up");
    let wires = ["eth2", "eth3"].map(|nic| Wire::open(&lab.switch, nic));
    assert_eq!(hear(&wires, 0).0, []);
}

/// A kernel's bond that has its address on itself, beside the agent's.
#[test]
fn announcements_come_as_those_of_the_kernel_do() {
    if !needs(&[Feature::Bonding, Feature::VlanDevices]) {
        return;
    }
    let lab = lab("auto", 1);
    let _daemon = lab.run();
    let first = |nic: &str, fail_over: &dyn Fn()| {
        let wires = [Wire::open(&lab.switch, nic)];
        let began = Instant::now();
        fail_over();
        hear(&wires, 1).1.map(|first| first.duration_since(began))
    };
    let own = first("eth3", &|| lab.fail_over("eth3"));
    let plain = &lab.node.netns;
    plain.sh("ip link add plain type bond mode active-backup miimon 100 && ip link set plain up");
    plain.sh("for nic in eth4 eth5; do ip link set $nic down master plain; done");
    plain.sh("ip address add 10.0.9.5/24 dev plain");
    lab.switch.sh("ip link set eth4 up && ip link set eth5 up");
    wait_until("both members have a link", || {
        let text = plain.sh("cat /proc/net/bonding/plain");
        text.matches("MII Status: up").count() == 3
    });
    plain.sh("ip link set plain type bond active_slave eth4");
    let kernel = first("eth5", &|| drop(plain.sh("ip link set plain type bond active_slave eth5")));
    println!(
        "failover: the first after {own:?}; by a kernel's bond with its address after {kernel:?}"
    );
    assert!(own.is_some() && kernel.is_some());
}
