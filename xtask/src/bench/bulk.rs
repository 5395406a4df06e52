//! What bulk TCP costs from a VM to another and to the wire, in instructions.

use std::path::Path;

use anyhow::Result;

use super::figure::{Figure, Ratio};
use super::vm;
use crate::vm::Spec;

const SCRIPT: &str = include_str!("bulk.sh");

const UNIT: &str = "million instructions for 32 MiB, both ends included";

/// Measures.
pub fn measure(netagent: &Path) -> Result<Vec<Figure>> {
    let costs = vm::run(SCRIPT, netagent, Spec::default())?;
    let figure =
        |name: &str, figure, (contender, baseline, baseline_name), goal| -> Result<Figure> {
            Ok(Figure {
                name: name.to_owned(),
                place: "vm",
                netagent: costs.of(figure, contender)? / 1e6,
                baseline: costs.of(figure, baseline)? / 1e6,
                baseline_name,
                unit: UNIT,
                ratio: Ratio::OfRates,
                goal,
            })
        };
    let kernel = ("tc", "kernel", "bridge, VLAN-aware");
    let off = ("tc", "off", "netagent, fastPath: off");
    Ok(vec![
        figure("bulk_tcp", "bulk_tcp", kernel, Some(1.0))?,
        figure("bulk_tcp_uplink", "bulk_tcp_uplink", kernel, Some(1.0))?,
        figure("bulk_tcp_against_off", "bulk_tcp", off, None)?,
        figure("bulk_tcp_uplink_against_off", "bulk_tcp_uplink", off, None)?,
    ])
}
