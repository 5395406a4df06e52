//! A place on this machine where programs can be called: by BPF_PROG_TEST_RUN, with the true
//! compiler and caches.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, id};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use serde_json::Value;

use super::object;
use crate::command::output;

/// Calls in one measurement.
const REPEAT: &str = "500000";

/// A namespace with links and their policy. The programs are pinned, and those that are compared
/// with them.
pub struct Lab {
    netns: String,
    pins: String,
    directory: PathBuf,
    netagent: PathBuf,
}

impl Lab {
    /// With these devices, the policy of this file for them, and the programs of these objects.
    pub fn build(
        netagent: &Path,
        devices: &[&str],
        config: &str,
        objects: &[&str],
    ) -> Result<Self> {
        let lab = Self::with(netagent, devices)?;
        lab.configure(config)?;
        lab.sh(&format!("{} apply -c {}", lab.agent(), lab.config().display()))?;
        for name in objects {
            lab.load(name)?;
        }
        Ok(lab)
    }

    /// With these devices, each of them an end of a veth pair.
    pub fn with(netagent: &Path, devices: &[&str]) -> Result<Self> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let netns = format!("na-bench-{}-{}", id(), LABS.fetch_add(1, Ordering::Relaxed));
        let lab = Self {
            pins: format!("/sys/fs/bpf/{netns}"),
            directory: std::env::temp_dir().join(&netns),
            netagent: netagent.to_owned(),
            netns,
        };
        fs::create_dir_all(&lab.directory).context("make a directory")?;
        output(Command::new("ip").args(["netns", "add", &lab.netns]))?;
        // Each device would tell all others of itself, for minutes.
        lab.sh("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")?;
        let link = |device| format!("link add {device} type veth peer name {device}-peer\n");
        lab.batch("ip", &devices.iter().map(link).collect::<String>())?;
        Ok(lab)
    }

    /// Writes the agent's file.
    pub fn configure(&self, config: &str) -> Result<()> {
        fs::write(self.config(), config).context("write the configuration")
    }

    /// The agent's file.
    pub fn config(&self) -> PathBuf {
        self.directory.join("config.yaml")
    }

    /// `netagent`, with its pins, control socket and state directory.
    pub fn agent(&self) -> String {
        let directory = self.directory.display();
        format!(
            "{} --pins {} --socket {directory}/netagent.sock --state {directory}/state",
            self.netagent.display(),
            self.pins
        )
    }

    /// Loads the programs of an object.
    pub fn load(&self, name: &str) -> Result<()> {
        let program = object(name)?;
        self.sh(&format!(
            "mkdir -m 0700 -p {0}; mkdir {0}/{name}; bpftool prog loadall {1} {0}/{name} pinmaps {0}/{name}",
            self.pins,
            program.display()
        ))
        .map(drop)
    }

    /// Where the pins are.
    pub fn pins(&self) -> &str {
        &self.pins
    }

    /// Runs a shell line in the namespace.
    pub fn sh(&self, line: &str) -> Result<String> {
        output(&mut self.command(line))
    }

    /// Gives a program of iproute2 many lines at once.
    pub fn batch(&self, program: &str, lines: &str) -> Result<()> {
        let file = self.directory.join("batch");
        fs::write(&file, lines).context("write a batch")?;
        self.sh(&format!("{program} -batch {}", file.display())).map(drop)
    }

    /// A shell line, to be run in the namespace.
    // bpffs is visible in there, as it would not be by `ip netns exec`.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.netns)).args(["sh", "-ec", line]);
        command
    }

    /// The namespace's file.
    pub fn netns(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.netns)
    }

    /// The file of a pinned program.
    pub fn pinned(&self, pattern: &str) -> Result<PathBuf> {
        let path = self.sh(&format!("ls {}/{pattern} | head -n 1", self.pins))?;
        Ok(PathBuf::from(path.trim()))
    }

    /// The interface index of a device.
    pub fn index(&self, device: &str) -> Result<u32> {
        self.indexes()?.get(device).copied().with_context(|| format!("find {device}"))
    }

    /// Those of all.
    pub fn indexes(&self) -> Result<HashMap<String, u32>> {
        // Not from /sys, which belongs to the namespace that mounted it.
        let links = self.sh("ip -o link show")?;
        let parse = |line: &str| {
            let (index, rest) = line.split_once(": ")?;
            Some((rest.split([':', '@']).next()?.to_owned(), index.parse().ok()?))
        };
        let all: Option<HashMap<_, _>> = links.lines().map(parse).collect();
        all.context("read the list of links")
    }

    /// Of one call, by BPF_PROG_TEST_RUN.
    pub fn nanoseconds(&self, pin: &str, device: &str, frame: &[u8]) -> Result<f64> {
        let index = self.index(device)?;
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
        let _gone = self.sh(&format!("rm -rf {0}/empty {0}/hashed {0}/wire", self.pins));
        let _gone = self.sh(&format!("{} detach; rmdir {}", self.agent(), self.pins));
        let _gone = output(Command::new("ip").args(["netns", "delete", &self.netns]));
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

/// The agent, which ends with the measurement.
pub struct Daemon(pub Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}
