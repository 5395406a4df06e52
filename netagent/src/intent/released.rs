//! What the operator has taken from the agent: it is given back as it was found, and left alone,
//! though a source names it.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::{Intent, Sourced};
use crate::names::IfName;

/// Names of cluster networks, and of devices of ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released(BTreeSet<String>);

impl Released {
    /// Releases a cluster network or a port. Whether it was not released before.
    pub fn insert(&mut self, name: String) -> bool {
        self.0.insert(name)
    }

    /// Takes one back. Whether it was released.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name)
    }

    /// Whether this name is released.
    pub fn contains(&self, name: &IfName) -> bool {
        self.0.contains(name.as_str())
    }

    /// Leaves out what is released: a cluster network with its networks, ports and interfaces of
    /// the node; a port. Returns the names that a source has.
    pub fn leave_out(&self, intents: &mut [Intent]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut has = |name: &str| {
            let is_released = self.0.contains(name);
            if is_released {
                found.insert(name.to_owned());
            }
            is_released
        };
        let mut networks = BTreeSet::new();
        for intent in &mut *intents {
            intent.segments.retain(|segment| !has(&segment.value.name));
            intent.hosts.retain(|host| !self.0.contains(&host.value.segment));
            intent.promiscuous.retain(|segment| !self.0.contains(&segment.value));
            intent.networks.retain(|network: &Sourced<_>| {
                let is_released = self.0.contains(&network.value.segment);
                if is_released {
                    networks.insert(network.value.name.clone());
                }
                !is_released
            });
        }
        for intent in intents {
            intent.ports.retain(|port| {
                !has(port.value.device.as_str()) && !networks.contains(&port.value.network)
            });
            let patterns = std::mem::take(&mut intent.patterns).into_iter();
            let (out, left): (Vec<_>, Vec<_>) =
                patterns.partition(|pattern| networks.contains(&pattern.value.network));
            intent.patterns = left;
            intent.released_patterns.extend(out.into_iter().map(|pattern| pattern.value));
        }
        found
    }
}

impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        f.write_str(&names.join(", "))
    }
}
