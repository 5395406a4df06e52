//! A check applies whichever way the frame would take: frames to known stations, with the agent and
//! without it.

use super::{STRANGER, VM, advertisement, arp, frame, ipv6, udp4, udp6};
use crate::{
    Feature,
    forward::{
        Path,
        crossing::{Crossing, Tags},
    },
    frame::{BROADCAST, C, Frame, TEST},
    needs, once,
};

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: FILTERING, fastPath: PATH, uplink: { nics: [eth2], bond: { mode: none }, xdp: XDP } }
networks:
  v100: { clusterNetwork: oob, vlan: 100 }
ports:
  - { device: vm-a, network: v100, security: { CHECKS } }
  - { device: vm-b, network: v100, security: { FEW } }
  - { device: alone-a, network: v100, security: { ISOLATED } }
  - { device: alone-b, network: v100, security: { ISOLATED } }
";

const DEVICES: [&str; 5] = ["eth2", "vm-a", "vm-b", "alone-a", "alone-b"];

/// The second address of the VM.
const SECOND: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

fn tags(port: &str) -> Tags<'static> {
    if port == "eth2" { &[(C, 100)] } else { &[] }
}

fn config(filtering: &str, path: Path, [checks, few, isolated]: [&str; 3]) -> String {
    let yaml = CONFIG.replace("FILTERING", filtering).replace("CHECKS", checks);
    let yaml = yaml.replace("FEW", few);
    path.fill_in(&yaml.replace("ISOLATED", isolated))
}

/// A frame from a port to the station behind another, and the device and the reason of its drop.
type Dropped<'a> = ((&'a str, &'a str), Frame, (&'a str, &'a str));

/// Asserts that frames do not arrive anywhere, and that each is counted.
fn are_dropped(lab: &Crossing, frames: &[Dropped<'_>]) {
    let mut expected = lab.node.drops();
    for ((from, to), frame, (device, reason)) in frames {
        let frame = Frame { destination: lab.station(to), ..frame.clone() };
        let copies = lab.send(from, &frame, None);
        assert!(copies.is_empty(), "{reason}: {frame:?} from {from} to {to} has left: {copies:?}");
        let kind = ((*device).to_owned(), (*reason).to_owned());
        *expected.entry(kind).or_default() += 1;
    }
    assert_eq!(lab.node.drops(), expected);
}

/// Frames that only some VMs may send, with the reason to drop them. Their source is settled at the
/// port: without the check the fast path would take them.
fn guarded() -> Vec<(Frame, &'static str)> {
    let stranger = Frame { source: STRANGER, ..frame(VM, TEST, &[1]) };
    // After a hop-by-hop header and in a first fragment (RFC 7113).
    let hidden = ipv6(0, &[44, 0, 0, 0, 0, 0, 0, 0, 58, 0, 0, 1, 0, 0, 0, 1, 134, 0, 0, 0]);
    vec![
        (stranger, "mac-spoofed"),
        (arp(0x0806, VM, STRANGER), "arp-spoofed"),
        (arp(0x8035, VM, STRANGER), "arp-spoofed"),
        (advertisement(STRANGER), "nd-spoofed"),
        (udp4(67, 68), "dhcp-server"),
        (udp6(547, 546), "dhcp-server"),
        (ipv6(58, &[134, 0, 0, 0]), "router-advertisement"),
        (hidden, "router-advertisement"),
        (ipv6(58, &[130, 0, 0, 0]), "multicast-query"),
    ]
}

fn permitted() -> Vec<Frame> {
    vec![
        frame(VM, TEST, &[3]),
        arp(0x0806, VM, VM),
        advertisement(VM),
        udp4(68, 67),
        udp6(546, 547),
        ipv6(58, &[133, 0, 0, 0, 0, 0, 0, 0]),
    ]
}

const CHECKS: &str = "macs: ['02:00:00:00:00:0a'], dhcpGuard: true, raGuard: true, \
                      mcastQuerierGuard: true, storm: { broadcast: 1, multicast: 1, unknown: 1 }";

fn vm_is_guarded(lab: &Crossing) {
    for to in ["vm-b", "eth2"] {
        for permitted in permitted() {
            lab.leaves("vm-a", (to, tags(to)), || Frame {
                destination: lab.station(to),
                ..permitted.clone()
            });
        }
        let dropped = guarded().into_iter();
        let dropped = dropped.map(|(frame, reason)| (("vm-a", to), frame, ("vm-a", reason)));
        are_dropped(lab, &dropped.collect::<Vec<_>>());
        // Known unicast has no limit.
        for _ in 0..6 {
            let frame = Frame { source: VM, ..lab.frame("vm-a", &[], lab.station(to)) };
            assert_eq!(lab.send("vm-a", &frame, Some(to)).len(), 1, "known unicast to {to}");
        }
    }
}

/// The limit is one address, and the VM has used it.
fn vm_has_one_address(lab: &Crossing) {
    for to in ["vm-a", "eth2"] {
        lab.crosses(("vm-b", &[]), (to, tags(to)));
        let second = frame(SECOND, TEST, &[2]);
        are_dropped(lab, &[(("vm-b", to), second, ("vm-b", "mac-limit"))]);
    }
}

fn checks_apply(filtering: &str, path: Path) {
    let lab = Crossing::new(path, &DEVICES, &config(filtering, path, [""; 3]));
    let daemon = lab.node.run();
    for port in ["eth2", "vm-a", "vm-b"] {
        lab.introduce((port, tags(port)));
    }
    // Without checks every address of a VM is settled at its port.
    for (from, source) in [("vm-a", VM), ("vm-a", STRANGER), ("vm-b", SECOND)] {
        lab.introduce_as(from, &[], source);
        lab.leaves(from, ("eth2", tags("eth2")), || Frame {
            source,
            ..lab.frame(from, &[], lab.station("eth2"))
        });
    }
    lab.node.configure(&config(filtering, path, [CHECKS, "maxMacs: 1", ""]));
    lab.node.ok("reload");
    vm_is_guarded(&lab);
    vm_has_one_address(&lab);
    if !lab.is_fast() {
        return;
    }
    lab.lose_agent(daemon);
    vm_is_guarded(&lab);
    vm_has_one_address(&lab);
    // The bridge knows a station that the agent has not heard of: it is not unknown.
    lab.introduce(("alone-a", &[]));
    for _ in 0..6 {
        let frame = Frame { source: VM, ..lab.frame("vm-a", &[], lab.station("alone-a")) };
        assert_eq!(lab.send("vm-a", &frame, Some("alone-a")).len(), 1);
    }
}

#[test]
fn checks_apply_on_every_path_around_an_unaware_bridge() {
    once();
    Path::around("off").iter().for_each(|path| checks_apply("off", *path));
}

#[test]
fn checks_apply_on_every_path_around_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        Path::around("on").iter().for_each(|path| checks_apply("on", *path));
    }
}

/// Ports that are isolated, and one that is not: all of them and the uplink exchange frames, but no
/// isolated port with another VM.
fn isolation(lab: &Crossing, holds: bool) {
    let alone = |port: &str| port.starts_with("alone");
    let apart = |(from, to): &(&str, &str)| {
        holds && *from != "eth2" && *to != "eth2" && (alone(from) || alone(to))
    };
    let (apart, together): (Vec<_>, Vec<_>) = pairs().partition(apart);
    for (from, to) in together {
        lab.crosses((from, tags(from)), (to, tags(to)));
    }
    let dropped = apart
        .into_iter()
        .map(|(from, to)| ((from, to), lab.frame(from, &[], BROADCAST), (to, "isolated")));
    are_dropped(lab, &dropped.collect::<Vec<_>>());
}

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = DEVICES.into_iter().flat_map(|from| DEVICES.map(|to| (from, to)));
    all.filter(|(from, to)| from != to)
}

fn isolation_holds(filtering: &str, path: Path) {
    let lab = Crossing::new(path, &DEVICES, &config(filtering, path, ["", "", "isolated: true"]));
    let daemon = lab.node.run();
    DEVICES.iter().for_each(|port| lab.introduce((port, tags(port))));
    isolation(&lab, true);
    lab.node.configure(&config(filtering, path, [""; 3]));
    lab.node.ok("reload");
    isolation(&lab, false);
    lab.node.configure(&config(filtering, path, ["", "", "isolated: true"]));
    lab.node.ok("reload");
    isolation(&lab, true);
    if lab.is_fast() {
        lab.lose_agent(daemon);
        isolation(&lab, true);
    }
}

#[test]
fn isolation_holds_on_every_path_around_an_unaware_bridge() {
    once();
    Path::around("off").iter().for_each(|path| isolation_holds("off", *path));
}

#[test]
fn isolation_holds_on_every_path_around_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        Path::around("on").iter().for_each(|path| isolation_holds("on", *path));
    }
}
