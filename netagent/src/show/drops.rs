//! `show drops`: what was dropped where, most first, and what the reasons mean.

use std::{cmp::Reverse, collections::BTreeMap};

use netagent_common::counters::{Direction, Reason};
use serde::Serialize;

use super::table::{Column, Table};
use crate::{
    datapath::counters::{Count, DropKind},
    snapshot::Snapshot,
};

/// Drops of one kind at one port.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `other`: frames that belong to no port, or found no room in the map.
    device: String,
    direction: &'static str,
    /// The VID, `none` (untagged), or `other` (VIDs that are not kept apart).
    vlan: String,
    reason: &'static str,
    packets: u64,
    bytes: u64,
    #[serde(skip)]
    kind: Reason,
}

/// One row per kind of drop that occurred, most packets first.
pub fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let ports = snapshot.counters.ports.iter();
    let mut rows: Vec<Row> = ports
        .flat_map(|(device, port)| of(device.as_str(), &port.drops))
        .chain(of("other", &snapshot.counters.elsewhere))
        .collect();
    // Stable: equal counts stay in the order of devices.
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

/// The table, then a line for each reason in it.
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
        text += "other: no port with a policy, or more ports and VLANs with drops than are counted apart\n";
    }
    for reason in Reason::ALL {
        if rows.iter().any(|row| row.kind == reason) {
            text.extend([reason.name(), ": ", meaning(reason), "\n"]);
        }
    }
    text
}

/// The drops of one port in one line: "12 vlan-not-allowed(200,300), 3 untagged".
pub fn summary(rows: &[Row]) -> String {
    const VLANS: usize = 3;
    // In the order of first appearance, which is by packets.
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

/// What a reason means, and what usually causes it.
const fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::Untagged => {
            "untagged, and the port has no native VLAN for it; give it one (native), or let the peer tag its frames"
        }
        Reason::VlanNotAllowed => {
            "tagged with a VID outside the port's allow-list; on an uplink, the switch sends VLANs that no network of \
             this node uses (prune them there); on a port, the guest uses a VLAN that its network lacks"
        }
        Reason::TaggedOnAccess => {
            "the guest tags frames on a port of one VLAN; remove the VLAN in the guest, or use a trunk network"
        }
        Reason::ReservedVid => {
            "tagged with VID 4095, which must never be sent; a faulty or hostile sender"
        }
        Reason::Malformed => "too short for its headers; a faulty or hostile sender",
        Reason::LinkLocal => {
            "STP, LACP, LLDP and the like (01:80:C2:00:00:0X) stop at the port of a VM; harmless, the guest runs such a \
             protocol"
        }
        Reason::StackedTag => {
            "a second tag beneath the one that would be removed; QinQ that this port is not for, or VLAN hopping"
        }
        Reason::EgressFiltered => {
            "the bridge flooded it here, and its VLAN is not on this port; expected where the bridge does not filter \
             VLANs itself, else the bridge's VLANs differ from the policy"
        }
        Reason::NoPolicy => {
            "a program runs on a device that has no policy; a port that was just removed, else run netagent apply"
        }
        Reason::TagFailed => {
            "the kernel could not push or pop the tag; short of memory, else please report it"
        }
        Reason::MacSpoofed | Reason::ArpSpoofed | Reason::NdSpoofed => {
            "the guest uses a MAC address that is not one of its port's (macs)"
        }
        Reason::MacLimit => "the guest uses more MAC addresses than its port may have (maxMacs)",
        Reason::DhcpServer => "the guest answers DHCP, which its port forbids (dhcpGuard)",
        Reason::RouterAdvertisement => {
            "the guest plays an IPv6 router, which its port forbids (raGuard)"
        }
        Reason::Isolated => "from or to an isolated port, which talks to the uplink only (isolated)",
        Reason::BroadcastStorm | Reason::MulticastStorm | Reason::UnknownStorm => {
            "above the port's limit (storm)"
        }
    }
}
