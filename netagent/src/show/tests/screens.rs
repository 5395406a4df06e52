//! The status of the node, and the stations of the fast path.

use netagent_common::forward::FdbEntry;

use super::*;
use crate::{
    health::{Health, PortHealth, SegmentHealth},
    state::{Code, Finding, Observed, State, Subject},
    status::{PortStatus, Status},
};

/// The lines, with one space between words.
fn words(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect()
}

fn status(ready: bool, health: Health) -> Status {
    let mut status = Status::of(&Snapshot::default());
    (status.version, status.ready, status.health) = ("1.2".to_owned(), ready, health);
    status
}

fn health() -> Health {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let port = |device: &str, state| PortHealth {
        device: device.to_owned(),
        network: "corp-net".to_owned(),
        origin: "node.yaml:4:3".to_owned(),
        pod: None,
        state,
        rejected: None,
    };
    let finding = |subject, text: &str| Finding::new(subject, Code::MemberDown, text, "");
    let segment = Subject::Segment("oob".to_owned());
    Health {
        findings: vec![
            finding(Subject::Node, "old"),
            finding(segment.clone(), "one"),
            finding(segment, "two"),
            finding(Subject::Port(name("tap8")), "three"),
        ],
        segments: vec![SegmentHealth {
            name: "oob".to_owned(),
            state: State::Degraded,
            bridge: "oob-br".to_owned(),
            uplink: Some("oob-bo".to_owned()),
            nics: names(&["eth2", "eth3", "eth4", "eth5"]),
            nics_missing: names(&["eth4"]),
            nics_present: names(&["eth2", "eth3"]),
            nics_up: names(&["eth2"]),
        }],
        ports: vec![port("tap7", State::Ready), port("tap8", State::Degraded)],
    }
}

#[test]
fn the_status_has_a_verdict_and_a_row_for_each_reason() {
    let well = |ready| words(&status::text(&status(ready, Health::default())));
    assert_eq!(well(true), ["netagent 1.2: ready"]);
    assert_eq!(well(false), ["netagent 1.2: not ready"]);
    assert_eq!(
        words(&status::text(&status(true, health()))),
        [
            "netagent 1.2: ready, but not everything is as desired",
            "warning: old",
            "",
            "SEGMENT STATE BRIDGE UPLINK NICS WHY",
            "oob Degraded oob-br oob-bo eth2 up, eth3 no link, eth4 missing, eth5 not in use one",
            "two",
            "",
            "PORT STATE NETWORK SOURCE WHY",
            "tap8 Degraded corp-net node.yaml:4:3 three",
            "tap7 Ready corp-net node.yaml:4:3 -",
        ]
    );
}

#[test]
fn ports_are_listed_with_their_reasons_in_one_row() {
    assert_eq!(status::list(&[]), "No ports.\n");
    let mut health = health();
    let again = Finding { text: "four".to_owned(), ..health.findings[3].clone() };
    health.findings.push(again);
    assert_eq!(
        words(&status::list(&PortStatus::all(&health))),
        [
            "PORT STATE NETWORK SOURCE WHY",
            "tap7 Ready corp-net node.yaml:4:3 -",
            "tap8 Degraded corp-net node.yaml:4:3 three; four",
        ]
    );
}

#[test]
fn stations_have_the_names_of_their_devices() {
    let mut links = Observed::default();
    for (index, device) in [(8, "oob-br"), (9, "tap7")] {
        let link = link(Kind::Other("tun".to_owned()), None);
        links.links.insert(name(device), crate::state::Link { index, ..link });
    }
    let entry = |vid, ifindex, moved| FdbEntry {
        mac: [2, 0, 0, 0, 0, 7],
        vid,
        bridge: 8,
        ifindex,
        moved,
        epoch: 0,
    };
    let rows = fdb::rows(&[entry(100, 77, 1), entry(0, 9, 0)], &links);
    assert_eq!(
        words(&print_fdb(&rows, false).unwrap()),
        [
            "BRIDGE VLAN MAC PORT STATE",
            "oob-br all 02:00:00:00:00:07 tap7 known",
            "oob-br 100 02:00:00:00:00:07 if77 moved",
        ]
    );
    assert!(print_fdb(&[], false).unwrap().starts_with("No stations"));
    assert!(render(What::Fdb, &Snapshot::default(), false).unwrap().starts_with("No stations"));
}

#[test]
fn each_table_has_a_name_by_which_it_is_found() {
    let names = ["ports", "vlans", "bonds", "drops", "fdb"];
    assert!(What::value_variants().iter().map(|what| what.name()).eq(names));
    for what in What::value_variants() {
        assert_eq!(what.name().parse(), Ok(*what));
    }
    assert_eq!("port".parse::<What>(), Err("unknown table \"port\"".to_owned()));
}

#[test]
fn the_link_of_a_port_is_missing_down_without_carrier_or_up() {
    for (up, carrier, expected) in [
        (true, true, "up"),
        (true, false, "no-carrier"),
        (false, true, "down"),
        (false, false, "down"),
    ] {
        let mut node = node();
        let link = node.links.links.get_mut(&name("tap7")).unwrap();
        (link.up, link.carrier) = (up, carrier);
        assert_eq!(json(What::Ports, &node)[1]["link"], expected);
    }
}

#[test]
fn drops_explain_other_where_it_occurs() {
    let mut node = node();
    node.counters.elsewhere.clear();
    for port in node.counters.ports.values_mut() {
        port.drops.retain(|kind, _| kind.vid.is_some());
    }
    assert!(!text(What::Drops, &node).contains("other:"), "{}", text(What::Drops, &node));
    let (device, kind) = (name("tap7"), |port: &crate::state::PortCounters| {
        port.drops.keys().next().copied().unwrap()
    });
    let kind = kind(&node.counters.ports[&device]);
    let count = crate::state::Count { packets: 1, bytes: 60 };
    let mut elsewhere = node.clone();
    elsewhere.counters.elsewhere.insert(kind, count);
    assert!(text(What::Drops, &elsewhere).contains("\nother:"));
    let any = crate::state::DropKind { vid: None, ..kind };
    node.counters.ports.get_mut(&device).unwrap().drops.insert(any, count);
    assert!(text(What::Drops, &node).contains("\nother:"));
    let empty = text(What::Drops, &Snapshot::default());
    assert!(empty.starts_with("No port has a policy"), "{empty}");
}
