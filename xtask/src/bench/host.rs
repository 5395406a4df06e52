//! Nanoseconds per call of each program, by BPF_PROG_TEST_RUN on this machine: the true compiler and caches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, id};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Figure, median, object};
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
";

/// Programs, devices, the VID of the frame, what the case is.
const CASES: [(&str, &str, u16, &str); 6] = [
    ("uplink_in", "eth2", 100, "uplink_in: count, check, pass"),
    ("uplink_in", "eth2", 500, "uplink_in: denied VLAN"),
    ("port_in", "vm", 100, "port_in: count, check, pass"),
    ("port_in", "vm", 500, "port_in: denied VLAN"),
    ("uplink_xdp", "eth2", 100, "uplink_xdp: pass"),
    ("uplink_xdp", "eth2", 500, "uplink_xdp: denied VLAN"),
];

/// Measures every case against a program that does nothing.
pub fn measure(netagent: &Path) -> Result<Vec<Figure>> {
    let lab = Lab::build(netagent)?;
    let mut full = vec![Vec::new(); CASES.len()];
    let mut empty = vec![Vec::new(); CASES.len()];
    for round in 0..ROUNDS {
        println!("bench: host round {} of {ROUNDS}", round + 1);
        for (case, (program, device, vid, _)) in CASES.iter().enumerate() {
            let base = if *program == "uplink_xdp" { "empty_xdp" } else { "empty_tc" };
            empty[case].push(lab.nanoseconds(
                &format!("{}/empty/{base}", lab.pins),
                device,
                *vid,
            )?);
            let pin = format!("{}/v1/programs/*/{program}", lab.pins);
            full[case].push(lab.nanoseconds(&pin, device, *vid)?);
        }
    }
    let figures =
        CASES.iter().zip(full.iter_mut().zip(&mut empty)).map(|(case, (full, empty))| Figure {
            name: case.3.to_owned(),
            place: "host",
            netagent: median(full),
            baseline: median(empty),
            baseline_name: "a program that is empty",
            unit: "ns per call",
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
        lab.sh(
            "ip link add eth2 type veth peer name wire; ip link add vm type veth peer name guest",
        )?;
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

    fn nanoseconds(&self, pin: &str, device: &str, vid: u16) -> Result<f64> {
        // Not from /sys, which belongs to the namespace that mounted it.
        let link = self.sh(&format!("ip -o link show {device}"))?;
        let index = link.split(':').next().context("find the interface's index")?;
        let index: u32 = index.parse().context("read the interface's index")?;
        let mut frame = vec![2; 12];
        frame.extend([0x81, 0x00]);
        frame.extend(vid.to_be_bytes());
        frame.extend([0x88, 0xb5]);
        frame.resize(64, 0);
        let xdp = pin.ends_with("xdp");
        let context = if xdp {
            [0, 64, 0, index, 0, 0].map(u32::to_ne_bytes).concat()
        } else {
            let mut context = vec![0; 192];
            context.splice(40..44, index.to_ne_bytes());
            context
        };
        let (data, ctx) = (self.directory.join("frame"), self.directory.join("context"));
        fs::write(&data, frame).context("write a frame")?;
        fs::write(&ctx, context).context("write a context")?;
        let run = self.sh(&format!(
            "bpftool -j prog run pinned {pin} data_in {} ctx_in {} repeat {REPEAT}",
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
