//! What `netagent show` prints: a snapshot as tables for people and as JSON for programs. Pure functions; each of the
//! modules has `rows`, what JSON holds, and `table`, the same for the eye.

pub mod bonds;
pub mod drops;
pub mod fdb;
pub mod ports;
#[cfg(test)]
pub(crate) mod sample;
mod table;
#[cfg(test)]
mod tests;
pub mod vlans;

use anyhow::{Context as _, Result};
use netagent_common::forward::FdbEntry;
use serde::Serialize;

use crate::{snapshot::Snapshot, state::Observed};

/// What to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Ports and what is attached to them.
    Ports,
    /// Traffic and drops by VLAN.
    Vlans,
    /// Bonds, their members, and whether the switch fits.
    Bonds,
    /// Drops, and what their reasons mean.
    Drops,
}

/// Which side the directions are seen from.
const LEGEND: &str =
    "RX: from the VM or the wire into the node. TX: from the node to the VM or the wire.\n";

const NO_PORTS: &str = "No port has a policy: the configuration has no ports, or neither netagent run nor netagent apply has run.\n";

/// Prints a snapshot, ending in a newline.
pub fn render(what: What, snapshot: &Snapshot, json: bool) -> Result<String> {
    match what {
        What::Ports => print(&ports::rows(snapshot), ports::table, json, NO_PORTS),
        What::Vlans => print(&vlans::rows(snapshot), vlans::table, json, NO_PORTS),
        What::Bonds => print(&bonds::rows(snapshot), bonds::table, json, "No bonds.\n"),
        What::Drops if snapshot.datapath.ports.is_empty() => {
            print(&drops::rows(snapshot), drops::table, json, NO_PORTS)
        }
        What::Drops => print(&drops::rows(snapshot), drops::table, json, "No frame was dropped.\n"),
    }
}

/// Prints the stations that frames reach past the bridge.
pub fn render_fdb(stations: &[FdbEntry], links: &Observed, json: bool) -> Result<String> {
    const NOBODY: &str =
        "No station: netagent run is not there to learn of any, or fastPath is off.\n";
    print(&fdb::rows(stations, links), fdb::table, json, NOBODY)
}

fn print<R: Serialize>(
    rows: &[R],
    table: fn(&[R]) -> String,
    json: bool,
    nothing: &str,
) -> Result<String> {
    if json {
        Ok(serde_json::to_string(rows).context("write JSON")? + "\n")
    } else if rows.is_empty() {
        Ok(nothing.to_owned())
    } else {
        Ok(table(rows))
    }
}
