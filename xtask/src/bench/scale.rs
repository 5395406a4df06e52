//! Whether a frame costs more where there are many ports and VLANs. Calls with ever other devices and VIDs, so that what one call
//! has brought into a cache is seldom what the next one needs. One call at a time: the ratio is of what a program does besides
//! what an empty one does, clock and cold code included in both.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};

use super::call::{self, Program};
use super::figure::{Figure, Ratio, median};
use super::host::{ROUNDS, TEST, frame};
use super::lab::Lab;

/// VMs with one VLAN each, besides two trunks and an uplink with all VLANs: as many as there are counters for.
const PORTS: u16 = 1000;
const VIDS: u16 = 4094;
/// In one measurement.
const CALLS: usize = 20_000;

/// A device, and a VID that it has.
type Pair = (u32, u16);

/// Measures.
pub fn measure(netagent: &Path) -> Result<Vec<Figure>> {
    let devices: Vec<_> = devices().collect();
    let names: Vec<_> = devices.iter().map(String::as_str).collect();
    let lab = Lab::build(netagent, &config(), &names)?;
    let indexes = lab.indexes()?;
    let index = |name: &str| indexes.get(name).copied().with_context(|| format!("find {name}"));
    let trunks = [index("trunk1")?, index("trunk2")?];
    let access = (1..=PORTS).map(|vid| index(&format!("vm{vid}")));
    let access = access.collect::<Result<Vec<_>>>()?;
    // Each with what takes the same way through the program where there are two ports with a VLAN each.
    let pairs: Vec<[Pair; 2]> = (1..=VIDS)
        .flat_map(|vid| trunks.map(|trunk| [(trunk, vid), (trunk, 1)]))
        // As many calls for VMs with one VLAN as for trunks.
        .chain((1..=2 * VIDS).map(|call| {
            let (port, few) = (call % PORTS, call % 2);
            let pair = |port: u16| (access[usize::from(port)], port + 1);
            [pair(port), pair(few)]
        }))
        .collect();
    // The calls are for devices of the lab's namespace.
    thread::scope(|scope| {
        let measured = scope.spawn(|| {
            call::enter(&lab.netns())?;
            compare(&lab, &pairs)
        });
        measured.join().unwrap_or_else(|_| anyhow::bail!("the measuring thread panicked"))
    })
}

fn devices() -> impl Iterator<Item = String> {
    let others = ["uplink", "trunk1", "trunk2"].map(str::to_owned);
    others.into_iter().chain((1..=PORTS).map(|vid| format!("vm{vid}")))
}

fn config() -> String {
    let mut networks =
        format!("  all: {{ clusterNetwork: oob, trunk: '1-{VIDS}', native: none }}\n");
    let mut ports = String::new();
    for trunk in ["trunk1", "trunk2"] {
        writeln!(ports, "  - {{ device: {trunk}, network: all }}").unwrap_or_default();
    }
    for vid in 1..=PORTS {
        writeln!(networks, "  n{vid}: {{ clusterNetwork: oob, vlan: {vid}, admit: all }}")
            .unwrap_or_default();
        writeln!(ports, "  - {{ device: vm{vid}, network: n{vid} }}").unwrap_or_default();
    }
    // No look-ups of stations, of which there are none here.
    format!(
        "clusterNetworks:\n  oob: {{ vlanFiltering: off, fastPath: off, uplink: {{ nics: [uplink], bond: {{ mode: none }}, \
         xdp: off, native: none }} }}\nnetworks:\n{networks}ports:\n{ports}"
    )
}

fn compare(lab: &Lab, pairs: &[[Pair; 2]]) -> Result<Vec<Figure>> {
    let empty = Program::open(&lab.pinned("empty/empty_tc")?)?;
    let full = Program::open(&lab.pinned("v1/programs/*/port_in")?)?;
    let mut costs = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        println!("bench: scale round {} of {ROUNDS}", round + 1);
        let cases = [(&full, 0), (&empty, 0), (&full, 1), (&empty, 1)];
        for ((program, which), costs) in cases.into_iter().zip(&mut costs) {
            costs.push(nanoseconds(program, pairs, which)?);
        }
    }
    let [many, empty_many, few, empty_few] = costs.map(|costs| median(&costs));
    let net = Figure {
        name: "scale".to_owned(),
        place: "host",
        netagent: many - empty_many,
        baseline: few - empty_few,
        baseline_name: "netagent, few ports and VLANs",
        unit: "ns per single call, without an empty program's",
        ratio: Ratio::OfRates,
        goal: Some(0.95),
    };
    let gross = Figure {
        name: "scale_gross".to_owned(),
        netagent: many,
        baseline: few,
        unit: "ns per single call, clock included",
        goal: None,
        ..net
    };
    Ok(vec![net, gross])
}

/// The mean of many calls, each for another pair, without the slowest hundredth: those were interrupted.
fn nanoseconds(program: &Program, pairs: &[[Pair; 2]], which: usize) -> Result<f64> {
    let mut durations = Vec::with_capacity(CALLS);
    let mut random = 1_u64;
    for _ in 0..CALLS {
        // Knuth's generator: the same pairs in each round.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let place = usize::try_from(random >> 33)? % pairs.len();
        let (ifindex, vid) = pairs[place][which];
        durations.push(program.call(ifindex, &frame(2, vid, TEST))?);
    }
    durations.sort_unstable();
    durations.truncate(CALLS - CALLS / 100);
    let count = u32::try_from(durations.len())?;
    let sum: f64 = durations.into_iter().map(f64::from).sum();
    Ok(sum / f64::from(count))
}
