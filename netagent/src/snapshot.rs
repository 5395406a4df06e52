//! Everything that is known of the node at one moment: what `show` prints and a scrape exports.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::state::{Counters, Observed, ObservedDatapath};

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
    /// How the daemon fares; `None` outside of `netagent run`.
    pub daemon: Option<Daemon>,
}

/// How the daemon fares.
#[derive(Clone, Debug, Default)]
pub struct Daemon {
    /// What keeps the node from being as configured; empty: ready.
    pub not_ready: Vec<String>,
    /// Reconciliations that ended well.
    pub reconciles: u64,
    /// Reconciliations that failed.
    pub failures: u64,
    /// When the last one ended well.
    pub last_success: Option<SystemTime>,
    /// How long the last one took.
    pub last_duration: Duration,
    /// Repaired drift, by kind.
    pub repairs: BTreeMap<&'static str, u64>,
}
