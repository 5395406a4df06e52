//! Command line options. Names are resolved here, so that a wrong name is a one-line error.

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_common::sample::{ALL, SampleFilter};

use crate::{datapath::samples::Samples, names::IfName, reason};

/// The options of `netagent monitor`.
#[derive(Debug, Default, clap::Args)]
pub struct Options {
    /// Only drops of this port (a device that `netagent show ports` lists).
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Only drops of this VLAN: a VID, or `none` for untagged frames (see `netagent show drops`).
    #[arg(long, value_name = "VLAN")]
    vlan: Option<String>,
    /// Only drops for this reason (`netagent explain` lists them).
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Also write the frames (their first 128 bytes) to a new file for Wireshark.
    #[arg(long, value_name = "FILE.pcapng")]
    pub write: Option<PathBuf>,
    /// Stop after N frames.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Print JSON, one object per line.
    #[arg(short, long)]
    pub json: bool,
}

impl Options {
    /// The filter that the programs apply.
    pub fn filter(&self, samples: &Samples) -> Result<SampleFilter> {
        let reason = self.reason.as_deref().map(reason::named).transpose()?;
        let vlan = self.vlan.as_deref().map(vlan).transpose()?;
        let port = self.port.as_deref().map(|name| port(name, samples)).transpose()?;
        Ok(SampleFilter {
            port: port.map_or(ALL, u32::from),
            vid: vlan.map_or(ALL, u32::from),
            reason: reason.map_or(ALL, |reason| reason as u32),
            ..SampleFilter::NOTHING
        })
    }
}

fn port(name: &str, samples: &Samples) -> Result<u16> {
    let device: IfName = name.parse().map_err(|error| anyhow!("--port: {error}"))?;
    samples.port(&device).with_context(|| {
        format!("{name} is not a port with a policy: `netagent show ports` lists the ports")
    })
}

/// Accepts 4095 too: it is not a VLAN, but drops of reserved-vid have it.
pub(super) fn vlan(text: &str) -> Result<u16> {
    if text == "none" {
        return Ok(0);
    }
    match text.parse() {
        Ok(vid @ 1..=4095) => Ok(vid),
        _ => bail!("VLAN {text:?} is not in 1 to 4095 and is not `none` (untagged)"),
    }
}
