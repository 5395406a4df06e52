//! Transparency: a service carries a customer's tags unchanged, or counts a drop with a reason. The
//! VIDs, the outer TPIDs and the pairs of tags are those of acceptance tests for Ethernet services
//! (MEF). Every frame is sent with every PCP, with and without DEI, as broadcast and as known
//! unicast.

use super::{Lab, Row, Tags, sends, station};
use crate::{
    Feature,
    frame::{C, S},
    lab::kernel_is_at_least,
    needs, once, qinq,
};

/// Former TPIDs of QinQ. To an 802.1Q bridge they are Ethertypes, and deliberately so to netagent:
/// the frame is untagged, and the tag is payload.
const Q1: u16 = 0x9100;
const Q2: u16 = 0x9200;

const ALL: [u16; 11] = [0, 12, 99, 150, 517, 1033, 1434, 1800, 2047, 4094, 4095];
/// The VIDs that name a VLAN.
const VIDS: &[u16] = ALL.split_at(1).1.split_at(9).0;

/// The outcome of a frame.
#[derive(Clone, Copy)]
enum Fate {
    /// The frame passes unchanged.
    Same,
    /// The frame passes without its tag.
    Untagged,
    /// The ingress port drops the frame for this reason.
    In(&'static str),
    /// Every egress port drops the frame for this reason.
    Out(&'static str),
    /// Like `Out`. Before Linux 6.12, where no tag can be pushed over another, like `In`.
    OutSince612(&'static str),
}
use Fate::{In, Out, OutSince612, Same, Untagged};

/// TPIDs and VIDs of the outer tag, and the outcomes of frames with only this tag and with an inner
/// C-tag.
type Kind<'a> = (&'a [u16], &'a [u16], [Fate; 2]);

/// Between an uplink and a trunk port with VLANs 1 to 4094. Untagged frames have no VLAN.
const NO_NATIVE: &[Kind<'_>] = &[
    (&[C], VIDS, [Same, Same]),
    (&[C], &[0], [In("untagged"), In("untagged")]),
    (&[C], &[4095], [In("reserved-vid"), In("reserved-vid")]),
    (&[S, Q1, Q2], &ALL, [In("untagged"), In("untagged")]),
];

/// Between these ports if VLAN 1 is native: untagged at both ports.
const NATIVE_1: &[Kind<'_>] = &[
    (&[C], VIDS, [Same, Same]),
    // A priority tag is removed here. An inner tag is not permitted (VU#855201).
    (&[C], &[0], [Untagged, In("stacked-tag")]),
    (&[C], &[4095], [In("reserved-vid"), In("reserved-vid")]),
    // Admitted as payload. Without the native tag the frame would leave with its S-tag visible.
    (&[S], &ALL, [OutSince612("stacked-tag"), OutSince612("stacked-tag")]),
    (&[Q1, Q2], &ALL, [Same, Same]),
];

/// From a port of a service VLAN to another port, and to the wire with the service tag.
const CUSTOMER_TO_SERVICE: &[Kind<'_>] = &[
    (&[C], VIDS, [Same, Same]),
    (&[C], &[0], [Same, Same]),
    (&[C], &[4095], [In("reserved-vid"), In("reserved-vid")]),
    (&[S, Q1, Q2], &ALL, [Same, Same]),
];

/// From the wire with the service tag, to the ports of both customers without it.
const SERVICE_TO_CUSTOMER: &[Kind<'_>] = &[
    (&[C], VIDS, [Same, Same]),
    (&[C], &[0], [Same, Same]),
    // No customer has VID 4095.
    (&[C], &[4095], [Out("egress-filtered"), Out("egress-filtered")]),
    (&[S, Q1, Q2], &ALL, [Same, Same]),
];

const SERVICE: u16 = 3000;

/// The tags and outcomes of all frames of a table.
fn frames(table: &[Kind<'_>]) -> Vec<(Vec<(u16, u16)>, Fate)> {
    let mut frames = Vec::new();
    for (tpids, vids, [alone, over_another]) in table {
        let outer = tpids.iter().flat_map(|tpid| vids.iter().map(move |vid| (tpid, vid)));
        for ((tpid, vid), priority) in outer.flat_map(|tag| (0..16).map(move |bits| (tag, bits))) {
            let outer = (*tpid, priority << 12 | vid);
            // The inner VID is the next one in `ALL`, with another priority.
            let next = ALL.iter().position(|other| other == vid).unwrap() + 1;
            let inner = (C, (15 - priority) << 12 | ALL[next % ALL.len()]);
            frames.push((vec![outer], *alone));
            frames.push((vec![outer, inner], *over_another));
        }
    }
    frames
}

/// A frame from a port, its outcome, and the tags with which it leaves the other ports unchanged.
fn row(from: &'static str, sent: &Tags, fate: Fate, to: &[(&'static str, &Tags)]) -> Row {
    let row = sends(from, sent);
    match fate {
        In(reason) => row.dropped_at(from, reason),
        OutSince612(reason) if !kernel_is_at_least(6, 12) => row.dropped_at(from, reason),
        _ => to.iter().fold(row, |row, (port, tags)| match fate {
            Untagged => row.reaches(port, &[]),
            Out(reason) | OutSince612(reason) => row.dropped_at(port, reason),
            _ => row.reaches(port, tags),
        }),
    }
}

fn a_trunk(filtering: &str, xdp: &str) {
    let mut lab = Lab::new(&["wire", "vm"]);
    for (native, table) in [("none", NO_NATIVE), ("1", NATIVE_1)] {
        lab.apply(&format!(
            "
clusterNetworks:
  oob: {{ vlanFiltering: {filtering}, uplink: {{ nics: [wire], bond: {{ mode: none }}, native: {native}, xdp: {xdp} }} }}
networks:
  every: {{ clusterNetwork: oob, trunk: 1-4094, native: {native} }}
ports: [{{ device: vm, network: every }}]
"
        ));
        let [wire, vm] = [("wire", station(0, 1)), ("vm", station(0, 2))];
        let ways = [(wire, vm), (vm, wire), (wire, vm), (vm, wire), (wire, vm)];
        for (turn, (from, to)) in ways.into_iter().enumerate() {
            let rows = frames(table).into_iter().map(|(tags, fate)| {
                let row = row(from.0, &tags, fate, &[(to.0, &tags)]);
                // First broadcast, which makes both stations known in every VLAN, then known
                // unicast.
                if turn < 2 { row } else { row.source(from.1).to(to.1) }
            });
            let last = ways[..2].iter();
            let last = last.map(|(from, to)| sends(from.0, &[(C, 12)]).reaches(to.0, &[(C, 12)]));
            let what = format!("native {native}, XDP {xdp}, turn {turn}");
            lab.prove(&what, rows.collect(), last.collect());
        }
    }
}

/// The tags on the wire: the service tag, with the priority of the customer's C-tag, and the
/// customer's tags.
fn in_service(tags: &Tags) -> Vec<(u16, u16)> {
    let priority = tags.first().filter(|(tpid, _)| *tpid == C).map_or(0, |(_, tci)| tci & 0xf000);
    [&[(S, priority | SERVICE)], tags].concat()
}

fn a_service(filtering: &str, xdp: &str) {
    let mut lab = Lab::new(&["wire", "here", "there"]);
    lab.apply(&format!(
        "
clusterNetworks:
  oob: {{ vlanFiltering: {filtering}, uplink: {{ nics: [wire], bond: {{ mode: none }}, xdp: {xdp} }} }}
networks:
  customer: {{ clusterNetwork: oob, qinq: {SERVICE} }}
ports: [{{ device: here, network: customer }}, {{ device: there, network: customer }}]
"
    ));
    let mut rows = Vec::new();
    for (tags, fate) in &frames(CUSTOMER_TO_SERVICE) {
        let to: [(_, &Tags); 2] = [("there", tags), ("wire", &in_service(tags))];
        rows.push(row("here", tags, *fate, &to));
    }
    for (tags, fate) in &frames(SERVICE_TO_CUSTOMER) {
        let to: [(_, &Tags); 2] = [("here", tags), ("there", tags)];
        rows.push(row("wire", &in_service(tags), *fate, &to));
    }
    let last = vec![
        sends("wire", &in_service(&[])).reaches("here", &[]).reaches("there", &[]),
        sends("here", &[]).reaches("there", &[]).reaches("wire", &in_service(&[])),
    ];
    lab.prove(&format!("XDP {xdp}"), rows, last);
}

#[test]
fn trunk_is_transparent_on_an_unaware_bridge() {
    once();
    a_trunk("off", "off");
    a_trunk("off", "auto");
}

#[test]
fn trunk_is_transparent_on_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        a_trunk("on", "off");
        a_trunk("on", "auto");
    }
}

#[test]
fn service_vlan_is_transparent_on_an_unaware_bridge() {
    once();
    if qinq::modern() {
        a_service("off", "off");
        a_service("off", "auto");
    }
}

#[test]
fn service_vlan_is_transparent_on_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) && qinq::modern() {
        a_service("on", "auto");
    }
}
