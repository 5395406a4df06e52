//! Metrics of the agent: build, usage of the maps, reconciliations.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::family::Families;
use crate::snapshot::{Activity, Repairs};

/// Writes the usage of the maps.
pub fn encode_maps(families: &mut Families<'_>, usage: &[(&'static str, u32, u32)]) -> fmt::Result {
    let label = |map: &'static str| [("map", map.into())];
    families.gauges(
        "netagent_map_entries",
        "Used entries of a BPF map, by its name in bpftool",
        usage.iter().map(|(map, entries, _)| (label(map), u64::from(*entries))),
    )?;
    families.gauges(
        "netagent_map_capacity",
        "Maximum number of entries of a BPF map",
        usage.iter().map(|(map, _, capacity)| (label(map), u64::from(*capacity))),
    )
}

/// Writes the version of the build.
pub fn encode_build(families: &mut Families<'_>) -> fmt::Result {
    let labels = [("version", env!("CARGO_PKG_VERSION").into())];
    families.infos("netagent_build", "The version of this agent", [labels])
}

/// Writes how old all the other values are.
pub fn encode_age(families: &mut Families<'_>, age: Duration) -> fmt::Result {
    families.gauge(
        "netagent_snapshot_age_seconds",
        "Age of all values of this scrape: not 0 while the agent's loop waits for the kernel",
        &age.as_secs_f64(),
    )
}

/// Writes the reconciliations, reloads and repairs.
pub fn encode(families: &mut Families<'_>, activity: &Activity) -> fmt::Result {
    let Activity { successes, failures, last_success, last_duration, repairs, reload } = activity;
    families.counter(
        "netagent_reconcile_success",
        "Applies after which every part of the node was as desired",
        *successes,
    )?;
    families.counter(
        "netagent_reconcile_failures",
        "Applies after which a part of the node was not as desired",
        *failures,
    )?;
    families.gauge(
        "netagent_reconcile_last_success_timestamp_seconds",
        "Unix time of the end of the last apply after which every part was as desired; 0 if none",
        &unix_time(*last_success),
    )?;
    families.gauge(
        "netagent_reconcile_last_duration_seconds",
        "Duration of the last apply",
        &last_duration.as_secs_f64(),
    )?;
    families.gauge(
        "netagent_config_last_reload_successful",
        "Whether the last reload of the configuration file succeeded",
        &u32::from(reload.error.is_none()),
    )?;
    families.gauge(
        "netagent_config_last_reload_success_timestamp_seconds",
        "Unix time of the last successful reload of the configuration file",
        &unix_time(reload.last_success),
    )?;
    let by_kind = |count: fn(&Repairs) -> u64| {
        KINDS.iter().map(move |kind| {
            let count = repairs.get(kind).map(count).unwrap_or_default();
            ([("kind", (*kind).into())], count)
        })
    };
    families.counters(
        "netagent_drift_repair_attempts",
        "Attempted steps to restore what others changed on the node, by kind",
        by_kind(|repairs| repairs.attempts),
    )?;
    families.counters(
        "netagent_drift_repairs",
        "Successful steps to restore what others changed on the node, by kind",
        by_kind(|repairs| repairs.successes),
    )?;
    families.counters(
        "netagent_drift_repair_failures",
        "Failed steps to restore what others changed on the node, by kind",
        by_kind(|repairs| repairs.failures),
    )
}

/// The kinds of steps: the values of `Change::kind`.
const KINDS: [&str; 7] =
    ["address", "attribute", "link", "membership", "policy", "program", "vlan"];

fn unix_time(time: Option<SystemTime>) -> f64 {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.unwrap_or_default().as_secs_f64()
}
