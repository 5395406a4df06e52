//! The agent itself: its build, how full its maps are, and how reconciling goes.

use std::{fmt, time::UNIX_EPOCH};

use super::family::Families;
use crate::snapshot::Daemon;

/// Writes how full the maps are.
pub fn encode_maps(families: &mut Families<'_>, usage: &[(&'static str, u32, u32)]) -> fmt::Result {
    let label = |map: &'static str| [("map", map.into())];
    families.gauges(
        "netagent_map_entries",
        "Entries in use of a BPF map, by its name in bpftool",
        usage.iter().map(|(map, entries, _)| (label(map), u64::from(*entries))),
    )?;
    families.gauges(
        "netagent_map_capacity",
        "Most entries of a BPF map",
        usage.iter().map(|(map, _, capacity)| (label(map), u64::from(*capacity))),
    )
}

/// Writes which build this is.
pub fn encode_build(families: &mut Families<'_>) -> fmt::Result {
    let labels = [("version", env!("CARGO_PKG_VERSION").into())];
    families.infos("netagent_build", "The version of this agent", [labels])
}

/// Writes how the daemon fares.
pub fn encode(families: &mut Families<'_>, daemon: &Daemon) -> fmt::Result {
    let Daemon { not_ready, reconciles, failures, last_success, last_duration, repairs } = daemon;
    families.gauge(
        "netagent_ready",
        "Whether the node is as configured; /readyz gives the reasons if it is not",
        &u32::from(not_ready.is_empty()),
    )?;
    families.counter(
        "netagent_reconcile_success",
        "Reconciliations that ended well",
        *reconciles,
    )?;
    families.counter("netagent_reconcile_failures", "Reconciliations that failed", *failures)?;
    let last_success = last_success.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    families.gauge(
        "netagent_reconcile_last_success_timestamp_seconds",
        "When a reconciliation last ended well, in Unix time; 0 if none has",
        &last_success.unwrap_or_default().as_secs_f64(),
    )?;
    families.gauge(
        "netagent_reconcile_last_duration_seconds",
        "How long the last reconciliation took",
        &last_duration.as_secs_f64(),
    )?;
    families.counters(
        "netagent_drift_repairs",
        "What others changed on the node and the agent put right, by kind",
        repairs.iter().map(|(kind, count)| ([("kind", (*kind).into())], *count)),
    )
}
