//! RFC 2889, the benchmarks of LAN switches, where they test function and not speed: address
//! caching capacity (5.7), address learning (5.8), errored frames (5.9), broadcast (5.10). Rates
//! and latency (5.1 to 5.6, and parts of the others) are measured elsewhere or not at all.

use super::{Lab, Row, Tags, sends, station};
use crate::{
    Feature,
    frame::{C, TEST},
    needs, once,
};

/// Stations behind each port. Neither the kernel's FDB nor netagent limits their number.
const STATIONS: u16 = 1000;

const PORTS: [&str; 5] = ["wire", "vm-a", "vm-b", "vm-c", "other"];

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: FILTERING, uplink: { nics: [wire], bond: { mode: none }, xdp: off } }
networks:
  v100: { clusterNetwork: oob, vlan: 100 }
  v200: { clusterNetwork: oob, vlan: 200 }
ports:
  - { device: vm-a, network: v100 }
  - { device: vm-b, network: v100 }
  - { device: vm-c, network: v100 }
  - { device: other, network: v200 }
";

/// The tags of a VLAN 100 frame at a port.
fn tags(port: &str) -> &'static Tags {
    if port == "wire" { &[(C, 100)] } else { &[] }
}

/// A frame in VLAN 100 from a port to all other ports of the VLAN.
fn floods(from: &'static str) -> Row {
    let others = PORTS[..4].iter().filter(|port| **port != from);
    others.fold(sends(from, tags(from)), |row, port| row.reaches(port, tags(port)))
}

/// A frame in VLAN 100 from a port to one other port only.
fn goes(from: &'static str, to: &'static str) -> Row {
    sends(from, tags(from)).reaches(to, tags(to))
}

/// Rows that reach all ports.
fn last() -> Vec<Row> {
    vec![sends("wire", &[(C, 200)]).reaches("other", &[]), floods("wire"), floods("vm-a")]
}

fn lab(filtering: &str) -> Lab {
    let lab = Lab::new(&PORTS);
    lab.apply(&CONFIG.replace("FILTERING", filtering));
    lab
}

/// 5.8: a frame to a known station goes to its port only, from any port. A frame to an unknown
/// station goes to all ports. A station whose frame arrives at another port has moved. A station of
/// another VLAN is not reached: a VLAN-aware bridge does not know it in this VLAN; a VLAN-unaware
/// bridge sends the frame to its port, which drops the frame.
fn addresses_are_learned(lab: &mut Lab, filtering: &str) {
    let [one, unknown, foreign] = [1, 2, 3].map(|number| station(1, number));
    let to_all = if filtering == "on" { floods("vm-a") } else { sends("vm-a", &[]) };
    let rows = vec![
        floods("wire").to(one),
        floods("vm-a").source(one),
        goes("wire", "vm-a").to(one),
        goes("vm-b", "vm-a").to(one),
        floods("vm-c").to(unknown),
        floods("vm-b").source(one),
        goes("wire", "vm-b").to(one),
        goes("vm-a", "vm-b").to(one),
        floods("wire").source(one),
        goes("vm-a", "wire").to(one),
        goes("vm-b", "wire").to(one),
        sends("other", &[]).source(foreign).reaches("wire", &[(C, 200)]),
        to_all.to(foreign),
    ];
    lab.prove("address learning", rows, last());
}

/// 5.7: many stations behind every port but the tester's. All are learned, and none is forgotten.
fn addresses_are_kept(lab: &mut Lab) {
    let tester = station(2, 0);
    let mut rows = vec![floods("vm-c").source(tester)];
    let stations = |kind: u8| (1..=STATIONS).map(move |number| station(kind, number));
    let ports = [("wire", 3), ("vm-a", 4), ("vm-b", 5)];
    for (port, kind) in ports {
        rows.extend(stations(kind).map(|station| goes(port, "vm-c").source(station).to(tester)));
    }
    for (port, kind) in ports {
        rows.extend(stations(kind).map(|station| goes("vm-c", port).to(station)));
    }
    lab.prove("address caching", rows, last());
}

/// 5.10: a broadcast frame reaches every port of its VLAN once, except its ingress port.
fn broadcast_reaches_every_port(lab: &mut Lab) {
    let rows = (0..20).flat_map(|_| {
        [
            floods("wire"),
            floods("vm-a"),
            floods("vm-b"),
            floods("vm-c"),
            sends("other", &[]).reaches("wire", &[(C, 200)]),
            sends("wire", &[(C, 200)]).reaches("other", &[]),
        ]
    });
    lab.prove("broadcast", rows.collect(), last());
}

/// 5.9: whether errored frames are filtered or forwarded. Wrong checksums, alignment errors and
/// dribble bits do not apply: the MAC of a NIC drops such frames, and a frame in Linux has neither
/// a checksum nor partial bytes. This leaves frames of a wrong length, and frames with a wrong
/// length field.
fn errored_frames(lab: &mut Lab) {
    // The peers send frames that the ports may not accept.
    for port in ["wire", "vm-a"] {
        lab.others.sh(&format!("ip link set {port} mtu 9000"));
    }
    let known = station(6, 1);
    let mut rows = vec![floods("vm-b").source(known)];
    // Undersize frames, below 60 bytes without checksum, pass: a veth or tap has no minimum, and a
    // VM need not pad. The kernel rejects a tagged frame with less than 2 bytes after its
    // Ethertype, both on the node and at the peer of the wire.
    for length in 14..60 {
        let payload = length - 14;
        let to_vms = |row: Row| row.reaches("vm-b", &[]).reaches("vm-c", &[]).payload(payload);
        let row = to_vms(sends("vm-a", &[]));
        rows.push(if payload < 2 { row } else { row.reaches("wire", &[(C, 100)]) });
        rows.push(goes("vm-a", "vm-b").to(known).payload(payload));
        let row = sends("wire", &[(C, 100)]);
        rows.push(if payload < 2 {
            row.payload(payload)
        } else {
            to_vms(row).reaches("vm-a", &[])
        });
    }
    // Frames truncated inside the tag or shortly after it are rejected too.
    for (port, payload) in
        ["wire", "vm-a"].into_iter().flat_map(|port| (0..6).map(move |n| (port, n)))
    {
        rows.push(sends(port, &[]).ethertype(C).payload(payload));
    }
    // Oversize frames, above an MTU of 1500. Frames of 1515 to 1518 bytes from a VM are omitted:
    // the kernel's ports have 4 spare bytes for a tag.
    for payload in [1499, 1500] {
        rows.push(floods("vm-a").payload(payload));
        rows.push(floods("wire").payload(payload));
    }
    for length in [1519, 1520, 2000, 9014] {
        rows.push(sends("vm-a", &[]).payload(length - 14));
        rows.push(sends("wire", &[(C, 100)]).payload(length - 18));
    }
    // Length fields that are right, too long, or zero; a value that is neither a length nor an
    // Ethertype; the first and the last Ethertype, and that of jumbo LLC.
    for ethertype in [46, 47, 1500, 0, 1501, 0x05ff, 0x0600, 0xffff, 0x8870, TEST] {
        rows.push(floods("vm-a").ethertype(ethertype));
        rows.push(floods("wire").ethertype(ethertype));
        rows.push(goes("vm-a", "vm-b").to(known).ethertype(ethertype));
    }
    lab.prove("errored frames", rows, last());
}

fn a_lan_switch(filtering: &str) {
    let mut lab = lab(filtering);
    addresses_are_learned(&mut lab, filtering);
    addresses_are_kept(&mut lab);
    broadcast_reaches_every_port(&mut lab);
    errored_frames(&mut lab);
}

#[test]
fn functions_of_a_lan_switch_in_rfc_2889_on_an_unaware_bridge() {
    once();
    a_lan_switch("off");
}

#[test]
fn functions_of_a_lan_switch_in_rfc_2889_on_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        a_lan_switch("on");
    }
}
