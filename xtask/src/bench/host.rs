//! Nanoseconds per call of each program, by BPF_PROG_TEST_RUN on this machine: the true compiler and caches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, id};

use anyhow::{Context, Result};
use serde_json::Value;

use super::figure::{Figure, Ratio, median};
use super::object;
use crate::command::output;

/// How often each is measured; all of them in turn, so that what disturbs one disturbs all.
const ROUNDS: usize = 11;
/// Calls in one measurement.
const REPEAT: &str = "500000";

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
const ND: &[u8] = &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255];
const TEST: &[u8] = &[0x88, 0xb5];

/// Tagged: a program that adds a tag would find it there at its next call.
fn frame(destination: u8, vid: u16, rest: &[u8]) -> Vec<u8> {
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
    let lab = Lab::build(netagent)?;
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

/// A namespace with two links and their policy.
struct Lab {
    netns: String,
    pins: String,
    directory: PathBuf,
    netagent: PathBuf,
}

impl Lab {
    fn build(netagent: &Path) -> Result<Self> {
        let netns = format!("na-bench-{}", id());
        let lab = Self {
            pins: format!("/sys/fs/bpf/{netns}"),
            directory: std::env::temp_dir().join(&netns),
            netagent: netagent.to_owned(),
            netns,
        };
        fs::create_dir_all(&lab.directory).context("make a directory")?;
        fs::write(lab.directory.join("config.yaml"), CONFIG).context("write the configuration")?;
        output(Command::new("ip").args(["netns", "add", &lab.netns]))?;
        for device in DEVICES {
            lab.sh(&format!("ip link add {device} type veth peer name {device}-peer"))?;
        }
        lab.sh(&format!(
            "{} --pins {} apply -c {}/config.yaml",
            lab.netagent.display(),
            lab.pins,
            lab.directory.display()
        ))?;
        let empty = object("empty")?;
        lab.sh(&format!(
            "mkdir {0}/empty; bpftool prog loadall {1} {0}/empty",
            lab.pins,
            empty.display()
        ))?;
        Ok(lab)
    }

    /// bpffs is visible in there, as it would not be by `ip netns exec`.
    fn sh(&self, line: &str) -> Result<String> {
        let netns = format!("--net=/run/netns/{}", self.netns);
        output(Command::new("nsenter").arg(netns).args(["sh", "-ec", line]))
    }

    fn nanoseconds(&self, pin: &str, device: &str, frame: &[u8]) -> Result<f64> {
        // Not from /sys, which belongs to the namespace that mounted it.
        let link = self.sh(&format!("ip -o link show {device}"))?;
        let index = link.split(':').next().context("find the interface's index")?;
        let index: u32 = index.parse().context("read the interface's index")?;
        let xdp = pin.ends_with("xdp");
        let context = if xdp {
            [0, u32::try_from(frame.len())?, 0, index, 0, 0].map(u32::to_ne_bytes).concat()
        } else {
            let mut context = vec![0; 192];
            context.splice(40..44, index.to_ne_bytes());
            context
        };
        let (data, ctx) = (self.directory.join("frame"), self.directory.join("context"));
        fs::write(&data, frame).context("write a frame")?;
        fs::write(&ctx, context).context("write a context")?;
        let run = self.sh(&format!(
            "bpftool -j prog run pinned {}/{pin} data_in {} ctx_in {} repeat {REPEAT}",
            self.pins,
            data.display(),
            ctx.display()
        ))?;
        let run: Value = serde_json::from_str(&run).context("read what bpftool prints")?;
        run["duration"].as_f64().context("find the duration")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Whatever is left must not keep the rest.
        let _gone = self.sh(&format!("rm -rf {}/empty", self.pins));
        let _gone = self.sh(&format!("{} --pins {} detach", self.netagent.display(), self.pins));
        let _gone = output(Command::new("ip").args(["netns", "delete", &self.netns]));
        let _gone = fs::remove_dir_all(&self.directory);
    }
}
