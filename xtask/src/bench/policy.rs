//! What knowing, checking and counting a VLAN costs by itself: policy records with bitmaps and
//! numbered counters, against two hash maps with (port, VID) as their key.

use std::path::Path;

use anyhow::Result;

use super::figure::{Figure, Ratio, median};
use super::host::{ROUNDS, TEST, frame};
use super::lab::Lab;

/// Frames that bypass the bridge would add the look-ups of stations, which are not policy.
const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: off, fastPath: off, uplink: { nics: [eth2], bond: { mode: none } } }
networks:
  trunk: { clusterNetwork: oob, trunk: '100,200-299' }
ports:
  - { device: vm, network: trunk }
";

/// What the frames have, and the hash maps.
const VID: u16 = 100;

/// Measures.
pub fn measure(netagent: &Path) -> Result<Vec<Figure>> {
    let lab = Lab::build(netagent, &["eth2", "vm"], CONFIG, &["empty", "hashed"])?;
    let key = [lab.index("eth2")?, u32::from(VID)].map(u32::to_ne_bytes).concat();
    let key: Vec<_> = key.iter().map(u8::to_string).collect();
    // Of the counters one value, which bpftool gives every processor.
    for (map, value) in [("ALLOWED", vec!["0"; 4]), ("COUNTED", vec!["0"; 16])] {
        lab.sh(&format!(
            "bpftool map update pinned {}/hashed/{map} key {} value {}",
            lab.pins(),
            key.join(" "),
            value.join(" ")
        ))?;
    }
    let pins = ["empty/empty_tc", "hashed/hashed_tc", "v1/programs/*/uplink_in"];
    let frame = frame(2, VID, TEST);
    let mut costs = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        println!("bench: policy round {} of {ROUNDS}", round + 1);
        for (pin, costs) in pins.iter().zip(&mut costs) {
            costs.push(lab.nanoseconds(pin, "eth2", &frame)?);
        }
    }
    let [empty, hashed, full] = costs.map(|costs| median(&costs));
    let net = Figure {
        name: "policy_cost".to_owned(),
        place: "host",
        netagent: full - empty,
        baseline: hashed - empty,
        baseline_name: "two hash maps of (port, VID)",
        unit: "ns per call, without an empty program's",
        ratio: Ratio::OfCosts,
        goal: Some(0.26),
    };
    let gross = Figure {
        name: "policy_cost_gross".to_owned(),
        netagent: full,
        baseline: hashed,
        unit: "ns per call",
        goal: None,
        ..net
    };
    Ok(vec![net, gross])
}
