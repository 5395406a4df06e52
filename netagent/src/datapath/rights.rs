//! The rights that changing the node needs, checked before anything is made: what somebody without
//! them leaves in bpffs would stop the next agent.

use anyhow::{Context as _, Result, bail};
use rustix::thread::{CapabilitySet, capabilities};

/// How to get the rights.
const REMEDY: &str = "run netagent as root, or in a unit with AmbientCapabilities=CAP_NET_ADMIN \
                      CAP_BPF CAP_PERFMON";

/// Refuses a process that lacks a right.
pub fn check() -> Result<()> {
    let missing = missing(effective()?);
    if missing.is_empty() {
        return Ok(());
    }
    bail!("nothing was done: no {}: {REMEDY}", missing.join(" and no "));
}

/// What explains why this kernel has refused a program or a map.
pub fn remark() -> &'static str {
    let has_perfmon = CapabilitySet::PERFMON | CapabilitySet::SYS_ADMIN;
    match effective() {
        Ok(effective) if !effective.intersects(has_perfmon) => {
            " (there is no CAP_PERFMON, which some kernels need for it)"
        }
        _ => "",
    }
}

fn effective() -> Result<CapabilitySet> {
    Ok(capabilities(None).context("read the capabilities of the process")?.effective)
}

/// The missing capabilities. CAP_SYS_ADMIN includes CAP_BPF (capabilities(7)).
fn missing(effective: CapabilitySet) -> Vec<&'static str> {
    let needed = [
        ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
        ("CAP_BPF", CapabilitySet::BPF | CapabilitySet::SYS_ADMIN),
    ];
    let missing = needed.iter().filter(|(_, any)| !effective.intersects(*any));
    missing.map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_capability_is_named() {
        let (net, bpf, admin) =
            (CapabilitySet::NET_ADMIN, CapabilitySet::BPF, CapabilitySet::SYS_ADMIN);
        for (effective, expected) in [
            (net | bpf, &[][..]),
            (net | admin, &[]),
            (net, &["CAP_BPF"]),
            (bpf, &["CAP_NET_ADMIN"]),
            (CapabilitySet::empty(), &["CAP_NET_ADMIN", "CAP_BPF"]),
        ] {
            assert_eq!(missing(effective), expected, "{effective:?}");
        }
    }
}
