//! `show bonds`: members, the switch configuration that the mode needs, and a verdict.

use schemars::JsonSchema;
use serde::Serialize;

use super::table::{Column, Table, or_dash};
use crate::{
    bond::Mode,
    health,
    names::IfName,
    snapshot::Snapshot,
    state::{self, BondState, Link, Subject},
};

/// A bond.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Row {
    bond: String,
    mode: Option<&'static str>,
    /// The configuration that the mode needs on the switch.
    switch_side: Option<&'static str>,
    members: Vec<Member>,
    /// Desired NICs that are not members; known only while the daemon runs.
    missing: Vec<String>,
    /// The system MAC address of the switch in an 802.3ad bond, if the switch answers LACP.
    lacp_partner: Option<String>,
    ok: bool,
    verdict: String,
}

/// A NIC in a bond.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Member {
    device: String,
    up: bool,
    /// Whether the NIC carries traffic; otherwise it is on standby.
    active: bool,
    failures: u32,
}

/// One row per bond.
pub fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let bonds = snapshot.links.bonds();
    bonds.map(|(name, link, bond)| row(snapshot, name, link, bond)).collect()
}

fn row(snapshot: &Snapshot, name: &IfName, link: &Link, bond: &BondState) -> Row {
    let mode = bond.mode();
    let found: Vec<(&IfName, &state::Member)> = snapshot
        .links
        .ports_of(name)
        .filter_map(|(nic, link)| Some((nic, link.member.as_ref()?)))
        .collect();
    let segments = &snapshot.health.segments;
    let segment = segments.iter().find(|segment| segment.uplink.as_deref() == Some(name.as_str()));
    let missing: Vec<String> =
        segment.map(|segment| segment.nics_missing.iter().cloned().collect()).unwrap_or_default();
    let members = found.iter().map(|(device, member)| Member {
        device: device.to_string(),
        up: member.mii_up,
        active: member.active,
        failures: member.failures,
    });
    let mut findings = health::of_bond(&Subject::Node, name, (link, bond), &found).into_iter();
    let complaint = match (findings.next(), missing.as_slice()) {
        (Some(finding), _) => Some(finding.to_string()),
        (None, []) => None,
        (None, missing) => {
            let missing = missing.join(", ");
            Some(format!("{name}: {missing} missing: less redundancy and bandwidth"))
        }
    };
    let prefix = format!("{name}: ");
    let complaint = complaint.map(|text| text.strip_prefix(&prefix).unwrap_or(&text).to_owned());
    Row {
        bond: name.to_string(),
        mode: mode.map(Mode::name),
        switch_side: mode.map(Mode::switch_side),
        lacp_partner: bond.lacp_partner().map(|mac| mac.to_string()),
        ok: complaint.is_none(),
        verdict: complaint.unwrap_or_else(|| praise(mode).to_owned()),
        members: members.collect(),
        missing,
    }
}

/// The verdict without findings. Only LACP shows the node the configuration of the switch.
const fn praise(mode: Option<Mode>) -> &'static str {
    match mode {
        Some(Mode::BalanceRr | Mode::BalanceXor | Mode::Broadcast) => {
            "ok; the node cannot see whether the switch aggregates the links"
        }
        Some(Mode::Lacp | Mode::ActiveBackup | Mode::BalanceTlb | Mode::BalanceAlb) | None => "ok",
    }
}

/// The table.
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new(&[
        Column::Text("BOND"),
        Column::Text("MODE"),
        Column::Text("SWITCH-SIDE"),
        Column::Text("MEMBERS"),
        Column::Text("LACP-PARTNER"),
        Column::Text("VERDICT"),
    ]);
    for Row { bond, mode, switch_side, members, missing, lacp_partner, ok: _, verdict } in rows {
        let lacp = *mode == Some(Mode::Lacp.name());
        let silent = || lacp.then(|| "none: the switch does not answer LACP".to_owned());
        let missing = missing.iter().map(|nic| format!("{nic} missing"));
        let described = members.iter().map(describe).chain(missing);
        table.row([
            bond.clone(),
            or_dash(mode.map(str::to_owned)),
            or_dash(switch_side.map(str::to_owned)),
            or_dash(Some(described.collect::<Vec<_>>().join(", "))),
            or_dash(lacp_partner.clone().or_else(silent)),
            verdict.clone(),
        ]);
    }
    table.finish()
}

/// A member as text: "eth2 up active (failures 3)".
fn describe(Member { device, up, active, failures }: &Member) -> String {
    let link = if *up { "up" } else { "down" };
    let role = match (up, active) {
        (true, true) => " active",
        (true, false) => " standby",
        (false, _) => "",
    };
    match failures {
        0 => format!("{device} {link}{role}"),
        failures => format!("{device} {link}{role} (failures {failures})"),
    }
}
