//! `netagent status`: one screen that says what is Ready, Waiting, Degraded or Refused, and why.

use super::table::{Column, Table, or_dash};
use crate::{
    health::{Health, SegmentHealth},
    state::{Finding, Subject},
    status::{PortStatus, Status},
};

/// The screen.
pub fn text(status: &Status) -> String {
    let Status { version, ready, health, .. } = status;
    let verdict = match (ready, health.is_well()) {
        (true, true) => "ready",
        (true, false) => "ready, but not everything is as desired",
        (false, _) => "not ready",
    };
    let node = health.of(&Subject::Node);
    let node = node.map(|finding| format!("{}: {finding}", finding.code.severity().name()));
    let first = format!("netagent {version}: {verdict}");
    let lines: Vec<String> = [first].into_iter().chain(node).collect();
    let mut text = lines.join("\n") + "\n";
    if !health.segments.is_empty() {
        text.push('\n');
        text.push_str(&segments(health));
    }
    if !health.ports.is_empty() {
        text.push('\n');
        text.push_str(&ports(health));
    }
    text
}

fn segments(health: &Health) -> String {
    let mut table = Table::new(&[
        Column::Text("SEGMENT"),
        Column::Text("STATE"),
        Column::Text("BRIDGE"),
        Column::Text("UPLINK"),
        Column::Text("NICS"),
        Column::Text("WHY"),
    ]);
    for segment in &health.segments {
        let subject = Subject::Segment(segment.name.clone());
        let first = [
            segment.name.clone(),
            segment.state.to_string(),
            segment.bridge.clone(),
            or_dash(segment.uplink.clone()),
            or_dash(Some(nics(segment))),
        ];
        rows(&mut table, first, health.of(&subject));
    }
    table.finish()
}

/// "eth2 up, eth3 missing"
fn nics(segment: &SegmentHealth) -> String {
    let state = |nic: &String| {
        if segment.nics_up.contains(nic) {
            "up"
        } else if segment.nics_present.contains(nic) {
            "no link"
        } else if segment.nics_missing.contains(nic) {
            "missing"
        } else {
            "not in use"
        }
    };
    let nics = segment.nics.iter().map(|nic| format!("{nic} {}", state(nic)));
    nics.collect::<Vec<_>>().join(", ")
}

fn ports(health: &Health) -> String {
    let mut table = port_table();
    let mut ports = PortStatus::all(health);
    // Stable: those that need attention come first.
    ports.sort_by_key(|port| std::cmp::Reverse(port.state));
    for port in &ports {
        rows(&mut table, port_cells(port), port.findings.iter());
    }
    table.finish()
}

fn port_table() -> Table {
    Table::new(&[
        Column::Text("PORT"),
        Column::Text("STATE"),
        Column::Text("NETWORK"),
        Column::Text("SOURCE"),
        Column::Text("WHY"),
    ])
}

/// The cells of a port in front of the findings.
fn port_cells(port: &PortStatus) -> [String; 4] {
    [
        port.device.clone(),
        port.state.to_string(),
        or_dash(Some(port.network.clone())),
        or_dash(Some(port.origin.clone())),
    ]
}

/// A row for each finding; the first has the subject's columns.
fn rows<'a, const N: usize>(
    table: &mut Table,
    first: [String; N],
    findings: impl Iterator<Item = &'a Finding>,
) {
    let mut columns = first;
    let mut reasons: Vec<String> = findings.map(ToString::to_string).collect();
    if reasons.is_empty() {
        reasons.push("-".to_owned());
    }
    for reason in reasons {
        table.row(columns.into_iter().chain([reason]));
        columns = std::array::from_fn(|_| String::new());
    }
}

/// The ports as `netagent port list` prints them.
pub fn list(ports: &[PortStatus]) -> String {
    if ports.is_empty() {
        return "No ports.\n".to_owned();
    }
    let mut table = port_table();
    for port in ports {
        let reasons: Vec<_> = port.findings.iter().map(ToString::to_string).collect();
        let reasons = or_dash(Some(reasons.join("; ")));
        table.row(port_cells(port).into_iter().chain([reasons]));
    }
    table.finish()
}
