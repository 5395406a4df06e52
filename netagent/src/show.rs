//! Renders a snapshot for `netagent show`: tables for people and JSON for programs. All functions
//! are pure. Each module has `rows`, the JSON objects, and `table`, the table of these rows.

pub mod bonds;
pub mod drops;
pub mod fdb;
pub mod ports;
#[cfg(test)]
pub(crate) mod sample;
pub mod status;
mod table;
#[cfg(test)]
mod tests;
pub mod vlans;

use std::str::FromStr;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::snapshot::Snapshot;

/// A table of `netagent show`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Each port: network, mode, VIDs, programs.
    Ports,
    /// Each VLAN of each port: packets and bytes received and transmitted, drops by reason.
    Vlans,
    /// Bonds: mode, members, switch configuration that the mode needs, verdict.
    Bonds,
    /// Drops by port, direction, VLAN and reason.
    Drops,
    /// Stations that the fast path uses.
    Fdb,
}

impl What {
    /// The argument of `netagent show`, and the last part of the path on the control socket.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ports => "ports",
            Self::Vlans => "vlans",
            Self::Bonds => "bonds",
            Self::Drops => "drops",
            Self::Fdb => "fdb",
        }
    }
}

impl FromStr for What {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::value_variants().iter().copied().find(|what| what.name() == name);
        known.ok_or_else(|| format!("unknown table {name:?}"))
    }
}

/// The point of view of the directions.
const LEGEND: &str =
    "RX: from the VM or the wire into the node. TX: from the node to the VM or the wire.\n";

const NO_PORTS: &str = "No port has a policy: the configuration has no ports, or neither netagent run nor netagent apply has run.\n";

/// Renders a table of a snapshot, with a final newline. [`print_fdb`] renders the stations, which
/// are not in a snapshot.
pub fn render(what: What, snapshot: &Snapshot, json: bool) -> Result<String> {
    match what {
        What::Ports => print(&ports::rows(snapshot), ports::table, json, NO_PORTS),
        What::Vlans => print(&vlans::rows(snapshot), vlans::table, json, NO_PORTS),
        What::Bonds => print(&bonds::rows(snapshot), bonds::table, json, "No bonds.\n"),
        What::Drops if snapshot.datapath.ports.is_empty() => {
            print(&drops::rows(snapshot), drops::table, json, NO_PORTS)
        }
        What::Drops => print(&drops::rows(snapshot), drops::table, json, "No frame was dropped.\n"),
        What::Fdb => print_fdb(&[], json),
    }
}

/// Renders the stations that the fast path uses.
pub fn print_fdb(rows: &[fdb::Row], json: bool) -> Result<String> {
    const NONE: &str =
        "No stations: netagent run is not running, has just started, or fastPath is off.\n";
    print(rows, fdb::table, json, NONE)
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
