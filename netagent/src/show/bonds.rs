//! `show bonds`: members, what the switch must have configured, and whether what is seen of it fits.

use serde::Serialize;

use super::table::{Column, Table, or_dash};
use crate::{
    bond::Mode,
    names::IfName,
    snapshot::Snapshot,
    state::{BondState, Link},
};

/// A bond.
#[derive(Debug, Serialize)]
pub struct Row {
    bond: String,
    mode: Option<&'static str>,
    /// What the switch must have configured.
    switch_side: Option<&'static str>,
    members: Vec<Member>,
    /// 802.3ad: the switch's system MAC, if it answers.
    lacp_partner: Option<String>,
    ok: bool,
    verdict: String,
}

/// A NIC in a bond.
#[derive(Debug, Serialize)]
pub struct Member {
    device: String,
    up: bool,
    /// Carries traffic, rather than standing by.
    active: bool,
    failures: u32,
}

/// One row per bond.
pub fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let bonds = snapshot.links.bonds();
    bonds
        .map(|(name, link, bond)| {
            let mode = bond.mode();
            let members = members(snapshot, name);
            let complaint = complaint(link, bond, &members);
            Row {
                bond: name.to_string(),
                mode: mode.map(Mode::name),
                switch_side: mode.map(Mode::switch_side),
                lacp_partner: bond.lacp_partner().map(|mac| mac.to_string()),
                ok: complaint.is_none(),
                verdict: complaint.unwrap_or_else(|| praise(mode).to_owned()),
                members,
            }
        })
        .collect()
}

fn members(snapshot: &Snapshot, bond: &IfName) -> Vec<Member> {
    let members = snapshot.links.ports_of(bond).filter_map(|(name, link)| {
        let member = link.member.as_ref()?;
        Some(Member {
            device: name.to_string(),
            up: member.mii_up,
            active: member.active,
            failures: member.failures,
        })
    });
    members.collect()
}

/// What is wrong, the worst first.
fn complaint(link: &Link, bond: &BondState, members: &[Member]) -> Option<String> {
    let names = |members: Vec<&Member>| {
        members.iter().map(|member| member.device.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (up, down): (Vec<&Member>, Vec<&Member>) = members.iter().partition(|member| member.up);
    let lacp = bond.mode() == Some(Mode::Lacp);
    let aggregated = bond.aggregated.map_or(up.len(), usize::from);
    if !link.up {
        Some("the bond is set down".to_owned())
    } else if members.is_empty() {
        Some("no members".to_owned())
    } else if up.is_empty() {
        Some("no member is up: check cables and switch ports".to_owned())
    } else if lacp && bond.lacp_partner().is_none() {
        Some("configure LACP on the switch's ports, or use active-backup".to_owned())
    } else if lacp && aggregated < up.len() {
        Some(format!(
            "only {aggregated} of {} members that are up aggregate: their switch ports are not in one LACP group",
            up.len()
        ))
    } else if !up.iter().any(|member| member.active) {
        Some("no member is active".to_owned())
    } else if !down.is_empty() {
        Some(format!("{} down: less redundancy and bandwidth", names(down)))
    } else {
        None
    }
}

/// What can be said when nothing is wrong. Only LACP lets the node see how the switch is configured.
const fn praise(mode: Option<Mode>) -> &'static str {
    match mode {
        Some(Mode::BalanceRr | Mode::BalanceXor | Mode::Broadcast) => {
            "ok; that the switch aggregates cannot be seen from here"
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
    for Row { bond, mode, switch_side, members, lacp_partner, ok: _, verdict } in rows {
        let lacp = *mode == Some(Mode::Lacp.name());
        let silent = || lacp.then(|| "none: the switch does not answer LACP".to_owned());
        table.row([
            bond.clone(),
            or_dash(mode.map(str::to_owned)),
            or_dash(switch_side.map(str::to_owned)),
            or_dash(Some(members.iter().map(state).collect::<Vec<_>>().join(", "))),
            or_dash(lacp_partner.clone().or_else(silent)),
            verdict.clone(),
        ]);
    }
    table.finish()
}

/// "eth2 up active (failures 3)"
fn state(Member { device, up, active, failures }: &Member) -> String {
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
