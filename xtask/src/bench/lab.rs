//! A place on this machine where programs can be called: by BPF_PROG_TEST_RUN, with the true compiler and caches.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, id};

use anyhow::{Context, Result};
use serde_json::Value;

use super::object;
use crate::command::output;

/// Calls in one measurement.
const REPEAT: &str = "500000";

/// A namespace with links and their policy. The programs are pinned, and those that are compared with them.
pub struct Lab {
    netns: String,
    pins: String,
    directory: PathBuf,
    netagent: PathBuf,
}

impl Lab {
    pub fn build(netagent: &Path, config: &str, devices: &[&str]) -> Result<Self> {
        let netns = format!("na-bench-{}", id());
        let lab = Self {
            pins: format!("/sys/fs/bpf/{netns}"),
            directory: std::env::temp_dir().join(&netns),
            netagent: netagent.to_owned(),
            netns,
        };
        fs::create_dir_all(&lab.directory).context("make a directory")?;
        fs::write(lab.directory.join("config.yaml"), config).context("write the configuration")?;
        output(Command::new("ip").args(["netns", "add", &lab.netns]))?;
        let links: Vec<_> = devices
            .iter()
            .map(|device| format!("link add {device} type veth peer name {device}-peer"))
            .collect();
        fs::write(lab.directory.join("links"), links.join("\n") + "\n")
            .context("write the list of links")?;
        lab.sh(&format!("ip -batch {}/links", lab.directory.display()))?;
        lab.sh(&format!(
            "{} --pins {} apply -c {}/config.yaml",
            lab.netagent.display(),
            lab.pins,
            lab.directory.display()
        ))?;
        for name in ["empty", "hashed"] {
            let program = object(name)?;
            lab.sh(&format!(
                "mkdir {0}/{name}; bpftool prog loadall {1} {0}/{name} pinmaps {0}/{name}",
                lab.pins,
                program.display()
            ))?;
        }
        Ok(lab)
    }

    /// Where the pins are.
    pub fn pins(&self) -> &str {
        &self.pins
    }

    /// Runs a shell line in the namespace.
    // bpffs is visible in there, as it would not be by `ip netns exec`.
    pub fn sh(&self, line: &str) -> Result<String> {
        let netns = format!("--net=/run/netns/{}", self.netns);
        output(Command::new("nsenter").arg(netns).args(["sh", "-ec", line]))
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
        let _gone = self.sh(&format!("rm -rf {0}/empty {0}/hashed", self.pins));
        let _gone = self.sh(&format!("{} --pins {} detach", self.netagent.display(), self.pins));
        let _gone = output(Command::new("ip").args(["netns", "delete", &self.netns]));
        let _gone = fs::remove_dir_all(&self.directory);
    }
}
