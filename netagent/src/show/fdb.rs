//! `show fdb`: the stations that the fast path uses.

use netagent_common::forward::FdbEntry;
use schemars::JsonSchema;
use serde::Serialize;

use super::table::{Column, Table};
use crate::{
    names::{IfName, Mac},
    state::Observed,
};

/// A station.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Row {
    bridge: String,
    /// The VID; `all` if the bridge has one FDB for all VLANs.
    vlan: String,
    mac: String,
    /// The port, or the bridge if the station is the node itself.
    device: String,
    /// Whether a frame of the station came in at another port. The bridge then forwards its frames
    /// until the agent knows the new port.
    moved: bool,
}

/// One row per station.
pub fn rows(stations: &[FdbEntry], links: &Observed) -> Vec<Row> {
    let name = |index| links.name(index).map_or_else(|| format!("if{index}"), IfName::to_string);
    let mut stations = stations.to_vec();
    stations.sort_by_key(FdbEntry::station);
    let row = |entry: FdbEntry| Row {
        bridge: name(entry.bridge),
        vlan: match entry.vid {
            0 => "all".to_owned(),
            vid => vid.to_string(),
        },
        mac: Mac(entry.mac).to_string(),
        device: name(entry.ifindex),
        moved: entry.moved != 0,
    };
    stations.into_iter().map(row).collect()
}

/// The table.
pub fn table(rows: &[Row]) -> String {
    use Column::{Number, Text};
    let mut table =
        Table::new(&[Text("BRIDGE"), Number("VLAN"), Text("MAC"), Text("PORT"), Text("STATE")]);
    for Row { bridge, vlan, mac, device, moved } in rows {
        let state = if *moved { "moved" } else { "known" };
        table.row([bridge.as_str(), vlan, mac, device, state].map(str::to_owned));
    }
    table.finish()
}
