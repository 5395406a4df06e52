//! What it takes to give ports all VLANs and to read their counters, in instructions: by netagent,
//! and by the kernel's bridge.

use std::path::Path;

use anyhow::Result;

use super::figure::{Figure, Ratio};
use super::vm;
use crate::vm::Spec;

const SCRIPT: &str = include_str!("control.sh");

const UNIT: &str = "million instructions for 3 x 4094 VLANs";

/// Measures.
pub fn measure(netagent: &Path) -> Result<Vec<Figure>> {
    let costs = vm::run(SCRIPT, netagent, Spec::default())?;
    let figure = |name: &str, steps: &[&str], goal| -> Result<Figure> {
        let cost = |contender| -> Result<f64> {
            steps.iter().map(|step| Ok(costs.of(step, contender)? / 1e6)).sum()
        };
        Ok(Figure {
            name: name.to_owned(),
            place: "vm",
            netagent: cost("netagent")?,
            baseline: cost("bridge")?,
            baseline_name: "bridge vlan add, bridge -s vlan",
            unit: UNIT,
            ratio: Ratio::OfCosts,
            goal,
        })
    };
    Ok(vec![
        figure("control_plane", &["off_apply", "off_show"], Some(0.1))?,
        // Over a VLAN-aware bridge netagent has all of the bridge's own work done as well.
        figure("control_plane_aware", &["on_apply", "on_show"], Some(1.2))?,
        figure("control_plane_apply", &["off_apply"], None)?,
        figure("control_plane_show", &["off_show"], None)?,
        figure("control_plane_aware_apply", &["on_apply"], None)?,
        figure("control_plane_aware_show", &["on_show"], None)?,
    ])
}
