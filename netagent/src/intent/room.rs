//! The programs' maps have a fixed size: items that need more are rejected.

use std::fmt::Display;

use netagent_common::{MAX_IPS, MAX_MACS, MAX_PAIRS, MAX_PORTS};

use super::problem::Problem;
use crate::state::Security;

/// Map entries: those of one item, or of all accepted items.
#[derive(Clone, Copy, Default)]
pub struct Room {
    /// Ports.
    pub ports: usize,
    /// Pairs of a port and a VID. Each has a counter.
    pub pairs: usize,
    /// MAC addresses of allow-lists.
    pub macs: usize,
    /// IP addresses and prefixes of allow-lists.
    pub addresses: usize,
}

impl Room {
    /// The room of a port, whether or not its device exists. Its link-local frames have a counter
    /// of their own.
    pub fn of_port(vids: usize, security: &Security) -> Self {
        let Security { macs, addresses, .. } = security;
        Self { ports: 1, pairs: vids + 1, macs: macs.len(), addresses: addresses.len() }
    }

    /// The room of additional VIDs of a port.
    pub fn of_vids(vids: usize) -> Self {
        Self { pairs: vids, ..Self::default() }
    }

    /// The room of all accepted items and one more. `subject` is its name for messages, and
    /// `key` the key to blame.
    pub fn with(self, need: Self, subject: impl Display, key: &str) -> Result<Self, Problem> {
        let sum = Self {
            ports: self.ports + need.ports,
            pairs: self.pairs + need.pairs,
            macs: self.macs + need.macs,
            addresses: self.addresses + need.addresses,
        };
        let limits = [
            (sum.ports, MAX_PORTS as usize, "ports (uplinks included)", "remove some"),
            (
                sum.pairs,
                // Number 0 is not a pair.
                MAX_PAIRS as usize - 1,
                "counters: one for each VLAN of each port, and one for its link-local frames",
                "allow fewer VLANs",
            ),
            // While one list replaces another, the map has both.
            (sum.macs, MAX_MACS as usize / 2, "addresses", "list fewer"),
            (sum.addresses, MAX_IPS as usize / 2, "IP addresses and prefixes", "list fewer"),
        ];
        for (needed, most, noun, remedy) in limits {
            if needed > most {
                let text = format!(
                    "with {subject} the ports so far need {needed} {noun}; a node has room for \
                     {most}: {remedy}"
                );
                return Err(Problem::new(key, text));
            }
        }
        Ok(sum)
    }
}
