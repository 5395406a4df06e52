//! Everything that is known of the node at one moment: what `show` prints and a scrape exports.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use crate::{
    health::Health,
    state::{Code, Counters, Finding, Observed, ObservedDatapath, Subject},
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
    /// How old it is: not zero where the daemon's loop did not answer.
    pub age: Duration,
}

impl Snapshot {
    /// The snapshot for a reader that the loop did not answer.
    #[must_use]
    pub fn aged(self, age: Duration) -> Self {
        let text = format!(
            "as of {} s ago: the agent's loop does not answer (it waits for the kernel, or for a \
             long step)",
            age.as_secs()
        );
        let finding = Finding::new(Subject::Node, Code::NoAnswer, text, "");
        let mut health = self.health;
        health.findings.insert(0, finding);
        Self { health, age, ..self }
    }
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
