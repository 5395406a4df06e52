//! Nanoseconds per call of each program on this machine, and of each check that a port may have.

use std::path::Path;

use anyhow::Result;

use super::figure::{Figure, Ratio, median};
use super::lab::Lab;

/// How often each is measured; all of them in turn, so that what disturbs one disturbs all.
pub const ROUNDS: usize = 11;

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: off, uplink: { nics: [eth2], bond: { mode: none } } }
networks:
  trunk: { clusterNetwork: oob, trunk: '100,200-299' }
ports:
  - { device: vm, network: trunk }
  - { device: plain, network: trunk }
  - { device: macs, network: trunk, security: { macs: ['02:02:02:02:02:02'] } }
  - { device: few, network: trunk, security: { maxMacs: 4 } }
  - { device: dhcp, network: trunk, security: { dhcpGuard: true } }
  - { device: ra, network: trunk, security: { raGuard: true } }
  - { device: storm, network: trunk, security: { storm: { broadcast: 10000000 } } }
";

const DEVICES: [&str; 8] = ["eth2", "vm", "plain", "macs", "few", "dhcp", "ra", "storm"];

/// What is measured against what, with which frame.
struct Case {
    name: String,
    /// Pinned program and device.
    measured: (String, &'static str),
    base: (String, &'static str),
    base_name: &'static str,
    frame: Vec<u8>,
}

/// Behind the tag: what a guard looks into.
const ARP: &[u8] = &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 2, 2, 2, 2, 2];
const UDP: &[u8] = &[8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17];
const ND: &[u8] = &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 6, 58, 255];
pub const TEST: &[u8] = &[0x88, 0xb5];

/// Tagged: a program that adds a tag would find it there at its next call.
pub fn frame(destination: u8, vid: u16, rest: &[u8]) -> Vec<u8> {
    let tag = [0x8100, vid].map(u16::to_be_bytes).concat();
    let mut frame = [vec![destination; 6], vec![2; 6], tag, rest.to_vec()].concat();
    frame.resize(64, 0);
    frame
}

fn cases() -> Vec<Case> {
    let pin = |program: &str| format!("v1/programs/*/{program}");
    let against_nothing = |program: &'static str, device, vid: u16, what: &str| {
        let empty = if program == "uplink_xdp" { "empty_xdp" } else { "empty_tc" };
        Case {
            name: format!("{program}: {what}"),
            measured: (pin(program), device),
            base: (format!("empty/{empty}"), device),
            base_name: "a program that is empty",
            frame: frame(2, vid, TEST),
        }
    };
    // The programs have the code of one check; see Hook::optional for the flags in their names.
    let check = |program, device, frame, what: &str| Case {
        name: format!("port_in with {what}"),
        measured: (pin(program), device),
        base: (pin("port_in"), "plain"),
        base_name: "port_in without",
        frame,
    };
    vec![
        against_nothing("uplink_in", "eth2", 100, "count, check, pass"),
        against_nothing("uplink_in", "eth2", 500, "denied VLAN"),
        against_nothing("port_in", "vm", 100, "count, check, pass"),
        against_nothing("port_in", "vm", 500, "denied VLAN"),
        against_nothing("uplink_xdp", "eth2", 100, "pass"),
        against_nothing("uplink_xdp", "eth2", 500, "denied VLAN"),
        check("port_in-800", "macs", frame(2, 100, TEST), "macs"),
        check("port_in-800", "macs", frame(2, 100, ARP), "macs, ARP"),
        check("port_in-1000", "few", frame(2, 100, TEST), "maxMacs"),
        check("port_in-2000", "dhcp", frame(2, 100, TEST), "dhcpGuard"),
        check("port_in-2000", "dhcp", frame(2, 100, UDP), "dhcpGuard, UDP"),
        check("port_in-4000", "ra", frame(2, 100, TEST), "raGuard"),
        check("port_in-4000", "ra", frame(2, 100, ND), "raGuard, ICMPv6"),
        check("port_in-8000", "storm", frame(2, 100, TEST), "storm, unicast"),
        check("port_in-8000", "storm", frame(0xff, 100, TEST), "storm, broadcast"),
    ]
}

/// Measures every case against its base.
pub fn measure(netagent: &Path) -> Result<Vec<Figure>> {
    let lab = Lab::build(netagent, &DEVICES, CONFIG, &["empty"])?;
    let cases = cases();
    let mut figures = vec![(Vec::new(), Vec::new()); cases.len()];
    for round in 0..ROUNDS {
        println!("bench: host round {} of {ROUNDS}", round + 1);
        for (case, (measured, base)) in cases.iter().zip(&mut figures) {
            for ((pin, device), values) in [(&case.base, base), (&case.measured, measured)] {
                values.push(lab.nanoseconds(pin, device, &case.frame)?);
            }
        }
    }
    let figures = cases.into_iter().zip(&mut figures).map(|(case, (measured, base))| Figure {
        name: case.name,
        place: "host",
        netagent: median(measured),
        baseline: median(base),
        baseline_name: case.base_name,
        unit: "ns per call",
        ratio: Ratio::OfCosts,
        goal: None,
    });
    Ok(figures.collect())
}
