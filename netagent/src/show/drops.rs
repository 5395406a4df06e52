//! `show drops`: drops by kind, largest count first, and the meanings of their reasons.

use std::{cmp::Reverse, collections::BTreeMap};

use netagent_common::counters::{Direction, Reason};
use schemars::JsonSchema;
use serde::Serialize;

use super::table::{Column, Table};
use crate::{
    reason::explain,
    snapshot::Snapshot,
    state::{Count, DropKind},
};

/// The drops of one kind at one port.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Row {
    /// The device; `other` for frames that belong to no port or exceeded the size of the map.
    device: String,
    direction: &'static str,
    /// The VID; `none` for untagged frames, `other` for VIDs without a counter of their own.
    vlan: String,
    reason: &'static str,
    packets: u64,
    bytes: u64,
    #[serde(skip)]
    kind: Reason,
}

/// Returns a row for each kind of drop that occurred, largest count first.
pub fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let ports = snapshot.counters.ports.iter();
    let mut rows: Vec<Row> = ports
        .flat_map(|(device, port)| of(device.as_str(), &port.drops))
        .chain(of("other", &snapshot.counters.elsewhere))
        .collect();
    // The sort is stable: rows with equal counts stay in the order of devices.
    rows.sort_by_key(|row| Reverse(row.packets));
    rows
}

/// The drops of one port.
fn of(device: &str, drops: &BTreeMap<DropKind, Count>) -> impl Iterator<Item = Row> {
    drops.iter().filter(|(_, count)| count.packets > 0).map(move |(kind, count)| Row {
        device: device.to_owned(),
        direction: match kind.direction {
            Direction::Receive => "receive",
            Direction::Transmit => "transmit",
        },
        vlan: kind.vlan().into_owned(),
        reason: kind.reason.name(),
        packets: count.packets,
        bytes: count.bytes,
        kind: kind.reason,
    })
}

/// The table, followed by the meaning of each reason in the table.
pub fn table(rows: &[Row]) -> String {
    use Column::{Number, Text};
    let mut table = Table::new(&[
        Text("PORT"),
        Text("DIRECTION"),
        Text("VLAN"),
        Text("REASON"),
        Number("PACKETS"),
        Number("BYTES"),
    ]);
    for Row { device, direction, vlan, reason, packets, bytes, kind: _ } in rows {
        table.row([
            device.clone(),
            (*direction).to_owned(),
            vlan.clone(),
            (*reason).to_owned(),
            packets.to_string(),
            bytes.to_string(),
        ]);
    }
    let mut text = table.finish();
    text += "\nreceive: from the VM or the wire into the node; transmit: from the node to the VM or the wire\n";
    if rows.iter().any(|row| row.device == "other" || row.vlan == "other") {
        text += "other: no port with a policy, or a VLAN without a drop counter of its own\n";
    }
    for reason in Reason::ALL {
        if rows.iter().any(|row| row.kind == reason) {
            text.extend([reason.name(), ": ", explain(reason).meaning, "\n"]);
        }
    }
    text + "netagent explain REASON prints the cause and the remedy\n"
}

/// The drops of one port as one line: "12 vlan-not-allowed(200,300), 3 untagged".
pub fn summary(rows: &[Row]) -> String {
    const VLANS: usize = 3;
    // Rows are ordered by packets, and so are the reasons, by their largest row.
    let mut reasons: Vec<(&str, u64, Vec<&str>)> = Vec::new();
    for row in rows {
        let index = reasons.iter().position(|(reason, ..)| *reason == row.reason);
        let index = index.unwrap_or_else(|| {
            reasons.push((row.reason, 0, Vec::new()));
            reasons.len() - 1
        });
        reasons[index].1 += row.packets;
        if row.vlan != "none" && !reasons[index].2.contains(&row.vlan.as_str()) {
            reasons[index].2.push(&row.vlan);
        }
    }
    let parts = reasons.into_iter().map(|(reason, packets, vlans)| match vlans.len() {
        0 => format!("{packets} {reason}"),
        len if len <= VLANS => format!("{packets} {reason}({})", vlans.join(",")),
        _ => format!("{packets} {reason}({},...)", vlans[..VLANS].join(",")),
    });
    parts.collect::<Vec<_>>().join(", ")
}

impl Row {
    /// The port.
    pub fn device(&self) -> &str {
        &self.device
    }
}
