//! Everything that is known of the node at one moment: what `show` prints and a scrape exports.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use crate::{
    health::Health,
    state::{Counters, Observed, ObservedDatapath},
};

/// One moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Links, from netlink.
    pub links: Observed,
    /// Ports with a policy, and what is attached.
    pub datapath: ObservedDatapath,
    /// Traffic and drops.
    pub counters: Counters,
    /// Maps that can fill up: name, entries in use, capacity.
    pub usage: Vec<(&'static str, u32, u32)>,
    /// The health of each part, as far as it is known what is desired.
    pub health: Health,
    /// What the daemon has done; `None` outside of `netagent run`.
    pub activity: Option<Activity>,
}

/// What the daemon has done since it was started.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// Applies after which every unit was as desired.
    pub successes: u64,
    /// Applies after which a unit was not.
    pub failures: u64,
    /// The end of the last apply after which every unit was as desired.
    pub last_success: Option<SystemTime>,
    /// The duration of the last apply.
    pub last_duration: Duration,
    /// Repairs of drift, by kind.
    pub repairs: BTreeMap<&'static str, Repairs>,
    /// Whether the file could be used when it was read last.
    pub reload: Reload,
}

/// Repairs of one kind of drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repairs {
    /// Steps that were taken.
    pub attempts: u64,
    /// Those that succeeded.
    pub successes: u64,
    /// Those that failed.
    pub failures: u64,
}

/// The last reading of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// The error in one line, if the file could not be used.
    pub error: Option<String>,
    /// When a file was read last that could be used.
    pub last_success: Option<SystemTime>,
}
