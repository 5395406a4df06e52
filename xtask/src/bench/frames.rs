//! What a frame costs on its way through a node, in instructions: forwarded, flooded, dropped.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::figure::{Figure, Ratio};
use super::{object, vm};
use crate::vm::Spec;

const SCRIPT: &str = include_str!("frames.sh");

/// What Open vSwitch is made of.
const OVS: [&str; 5] = ["ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-appctl"];
const OVS_SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

const NET: &str = "instructions per frame, without the generator's";
const GROSS: &str = "instructions per frame, with the generator's";

/// A figure, and what of the script it is made of.
struct Row {
    name: &'static str,
    /// What was sent.
    sent: &'static str,
    netagent: &'static str,
    baseline: &'static str,
    /// What the generator costs alone.
    generator: &'static str,
    ratio: Ratio,
    goal: Option<f64>,
}

const fn row(
    name: &'static str,
    sent: &'static str,
    [netagent, baseline, generator]: [&'static str; 3],
    ratio: Ratio,
    goal: Option<f64>,
) -> Row {
    Row { name, sent, netagent, baseline, generator, ratio, goal }
}

const fn against_ovs(name: &'static str, sent: &'static str, baseline: &'static str) -> Row {
    row(name, sent, ["tc", baseline, "none"], Ratio::OfRates, None)
}

const ROWS: [Row; 22] = [
    row("forward_xdp", "forward_xdp", ["xdp", "kernel", "wire"], Ratio::OfRates, Some(5.0)),
    row("forward_tc", "forward", ["tc", "kernel", "none"], Ratio::OfRates, Some(1.5)),
    row("vm_to_vm_tc", "vm_to_vm", ["tc", "kernel", "none"], Ratio::OfRates, Some(1.5)),
    row("miss", "miss", ["tc", "kernel", "none"], Ratio::OfRates, Some(0.95)),
    row("drop_denied", "drop", ["xdp", "kernel", "wire"], Ratio::OfRates, Some(5.0)),
    row("first_packet", "first", ["tc", "kernel", "none"], Ratio::OfCosts, Some(1.1)),
    row("forward_xdp_skb", "forward_xdp_skb", ["xdp", "kernel", "wire"], Ratio::OfRates, None),
    // What no program of that kind could do without.
    row(
        "forward_xdp_against_bare",
        "forward_xdp",
        ["xdp", "bare_xdp", "wire"],
        Ratio::OfRates,
        None,
    ),
    row("forward_tc_against_bare", "forward", ["tc", "bare_tc", "none"], Ratio::OfRates, None),
    row("miss_against_empty", "miss", ["tc", "hooks", "none"], Ratio::OfRates, None),
    row("first_packet_against_empty", "first", ["tc", "hooks", "none"], Ratio::OfCosts, None),
    // Other contenders: by the bridge in both of its kinds, and against a bridge that knows no
    // VLANs.
    row("forward_by_bridge", "forward", ["aware", "kernel", "none"], Ratio::OfRates, None),
    row("forward_by_unaware_bridge", "forward", ["flat", "kernel", "none"], Ratio::OfRates, None),
    row("forward_tc_against_plain", "forward", ["tc", "plain", "none"], Ratio::OfRates, None),
    row("vm_to_vm_tc_against_plain", "vm_to_vm", ["tc", "plain", "none"], Ratio::OfRates, None),
    row("miss_by_unaware_bridge", "miss", ["flat", "kernel", "none"], Ratio::OfRates, None),
    against_ovs("forward_tc_against_ovs_kernel", "forward", "ovskern"),
    against_ovs("vm_to_vm_tc_against_ovs_kernel", "vm_to_vm", "ovskern"),
    against_ovs("miss_against_ovs_kernel", "miss", "ovskern"),
    against_ovs("forward_tc_against_ovs_userspace", "forward", "ovsuser"),
    against_ovs("vm_to_vm_tc_against_ovs_userspace", "vm_to_vm", "ovsuser"),
    against_ovs("miss_against_ovs_userspace", "miss", "ovsuser"),
];

/// Measures: each figure with a goal also with the generator's cost, as the subtraction flatters
/// differences.
pub fn measure(netagent: &Path) -> Result<Vec<Figure>> {
    let spec = Spec {
        binaries: OVS.map(PathBuf::from).to_vec(),
        files: vec![
            (object("wire")?, "wire".into()),
            (object("empty")?, "empty".into()),
            (OVS_SCHEMA.into(), OVS_SCHEMA.into()),
        ],
        modules: vec!["openvswitch"],
        ..Spec::default()
    };
    let costs = vm::run(SCRIPT, netagent, spec)?;
    let mut figures = Vec::new();
    for Row { name, sent, netagent, baseline, generator, ratio, goal } in ROWS {
        let cost = |contender| costs.of(sent, contender).context(name);
        let generator = cost(generator)?;
        let (netagent, base) = (cost(netagent)?, cost(baseline)?);
        let baseline_name = match baseline {
            "plain" => "bridge without VLANs",
            "bare_xdp" | "bare_tc" => "no bridge, a program that redirects",
            "hooks" => "bridge, programs that are empty",
            "ovskern" => "Open vSwitch, kernel datapath",
            "ovsuser" => "Open vSwitch, userspace datapath",
            _ => "bridge, VLAN-aware",
        };
        let net = Figure {
            name: name.to_owned(),
            place: "vm",
            netagent: netagent - generator,
            baseline: base - generator,
            baseline_name,
            unit: NET,
            ratio,
            goal,
        };
        if goal.is_some() {
            let name = format!("{name}_gross");
            figures.push(Figure { name, netagent, baseline: base, unit: GROSS, goal: None, ..net });
        }
        figures.push(net);
    }
    Ok(figures)
}
