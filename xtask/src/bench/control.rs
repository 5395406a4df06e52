//! What it takes to give ports all VLANs and to read their counters, in instructions: by netagent, and by the kernel's bridge.

use std::path::Path;

use anyhow::Result;

use super::figure::{Figure, Ratio};
use super::vm;

const SCRIPT: &str = include_str!("control.sh");

const UNIT: &str = "million instructions for 3 x 4094 VLANs";

/// Measures.
pub fn measure(netagent: &Path) -> Result<Vec<Figure>> {
    let costs = vm::run(SCRIPT, netagent, &[])?;
    // Over a VLAN-aware bridge netagent has all of the bridge's own work done as well.
    let figures = [("control_plane", "control_off", 0.1), ("control_plane_aware", "control_on", 1.2)];
    let figures = figures.into_iter().map(|(name, measured, goal)| {
        Ok(Figure {
            name: name.to_owned(),
            place: "vm",
            netagent: costs.of(measured, "netagent")? / 1e6,
            baseline: costs.of(measured, "bridge")? / 1e6,
            baseline_name: "bridge vlan add, bridge -s vlan",
            unit: UNIT,
            ratio: Ratio::OfCosts,
            goal: Some(goal),
        })
    });
    figures.collect()
}
