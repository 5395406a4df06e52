//! `show vlans`: the VLANs of each port, with the flags of `bridge vlan show` and the counters.

use netagent_common::{policy::PVID_TAGGED, vlan::Vid};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    LEGEND, drops,
    table::{Column, Table, or_dash},
};
use crate::{
    snapshot::Snapshot,
    state::{PortCounters, PortPolicy, Traffic},
};

/// A port with its VLANs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Row {
    device: String,
    network: String,
    mode: &'static str,
    pvid: Option<u16>,
    vlans: Vec<Vlan>,
    drops: Vec<drops::Row>,
}

/// A VLAN at a port.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Vlan {
    /// The VID; `link-local` for link-local frames, which belong to no VLAN.
    #[serde(rename = "vlan")]
    name: String,
    /// Whether received untagged frames belong to this VLAN.
    pvid: bool,
    /// Whether frames of this VLAN leave untagged.
    untagged: bool,
    rx_packets: u64,
    rx_bytes: u64,
    tx_packets: u64,
    tx_bytes: u64,
    #[serde(skip)]
    vid: u16,
}

/// One row per port.
pub fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let none = PortCounters::default();
    let all_drops = drops::rows(snapshot);
    let ports = snapshot.datapath.ports.iter();
    ports
        .map(|(device, port)| {
            let counters = snapshot.counters.ports.get(device).unwrap_or(&none);
            let drops = all_drops.iter().filter(|drop| drop.device() == device.as_str());
            Row {
                device: device.to_string(),
                network: port.policy.network.clone(),
                mode: port.policy.mode(),
                pvid: port.policy.pvid.map(Vid::get),
                vlans: vlans(&port.policy, counters),
                drops: drops.cloned().collect(),
            }
        })
        .collect()
}

/// The VLANs of the allow-list, then link-local frames if there were any.
fn vlans(policy: &PortPolicy, counters: &PortCounters) -> Vec<Vlan> {
    let traffic = |vid: u16| counters.vlans.get(&vid).copied().unwrap_or_default();
    let vlan = |vid: u16, name: String| {
        let pvid = policy.pvid.is_some_and(|pvid| pvid.get() == vid);
        let Traffic { receive, transmit } = traffic(vid);
        Vlan {
            name,
            pvid,
            untagged: pvid && !policy.has(PVID_TAGGED),
            rx_packets: receive.packets,
            rx_bytes: receive.bytes,
            tx_packets: transmit.packets,
            tx_bytes: transmit.bytes,
            vid,
        }
    };
    let link_local = vlan(0, "link-local".to_owned());
    let vids = policy.bridge_vids();
    let vids = vids.iter().map(|vid| vlan(vid.get(), vid.to_string()));
    vids.chain((!link_local.is_idle()).then_some(link_local)).collect()
}

impl Vlan {
    fn is_idle(&self) -> bool {
        self.rx_packets == 0 && self.tx_packets == 0
    }

    /// Whether two VLANs share a row: both idle, neither the PVID, VIDs adjacent.
    fn folds_with(&self, next: &Self) -> bool {
        let folds = |vlan: &Self| vlan.is_idle() && !vlan.pvid;
        folds(self) && folds(next) && self.vid + 1 == next.vid
    }

    fn marks(&self) -> String {
        let pvid = if self.pvid { " PVID" } else { "" };
        let untagged = if self.untagged { " untagged" } else { "" };
        format!("{}{pvid}{untagged}", self.name)
    }
}

/// The table. Adjacent VIDs without traffic share a row. The first row of a port has the drops of
/// the whole port.
pub fn table(rows: &[Row]) -> String {
    use Column::{Number, Text};
    let mut table = Table::new(&[
        Text("PORT"),
        Text("NETWORK"),
        Text("MODE"),
        Text("VLAN"),
        Number("RX-PACKETS"),
        Number("RX-BYTES"),
        Number("TX-PACKETS"),
        Number("TX-BYTES"),
        Text("DROPS"),
    ]);
    for row in rows {
        let mut drops = or_dash(Some(drops::summary(&row.drops)));
        let mut add = |vlan: String, counts: [u64; 4]| {
            let names = [row.device.clone(), row.network.clone(), row.mode.to_owned(), vlan];
            let counts = counts.map(|count| count.to_string());
            table.row(names.into_iter().chain(counts).chain([std::mem::take(&mut drops)]));
        };
        for run in row.vlans.chunk_by(Vlan::folds_with) {
            match run {
                [first, .., last] => add(format!("{}-{} (idle)", first.name, last.name), [0; 4]),
                vlans => vlans.iter().for_each(|vlan| {
                    let Vlan { rx_packets, rx_bytes, tx_packets, tx_bytes, .. } = vlan;
                    add(vlan.marks(), [*rx_packets, *rx_bytes, *tx_packets, *tx_bytes]);
                }),
            }
        }
        if row.vlans.is_empty() {
            add("none".to_owned(), [0; 4]);
        }
    }
    table.finish() + "\n" + LEGEND
}
