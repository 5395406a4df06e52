//! Whether the programs' maps have room for what a file wants: a file that wants more changes nothing.

use netagent_common::{MAX_MACS, MAX_PAIRS, MAX_PORTS};

use super::error::{Fault, Place};
use crate::{names::IfName, state::Port};

/// What the ports so far take.
#[derive(Default)]
pub struct Room {
    ports: usize,
    pairs: usize,
    macs: usize,
}

impl Room {
    /// Takes what a port needs, whether or not its device is there yet.
    pub fn take(&mut self, device: &IfName, place: Place, port: &Port) -> Result<(), Fault> {
        self.ports += 1;
        // Link-local frames are counted apart.
        self.pairs += port.vids.len() + 1;
        self.macs += port.security.macs.len();
        let limits = [
            (self.ports, MAX_PORTS as usize, "ports (uplinks included)", "remove some"),
            (
                self.pairs,
                // Number 0 is no pair.
                MAX_PAIRS as usize - 1,
                "counters: one for each VLAN of each port, and one for its link-local frames",
                "allow fewer VLANs",
            ),
            // When a file takes another's place there is room for both lists.
            (self.macs, MAX_MACS as usize / 2, "addresses", "list fewer"),
        ];
        for (needed, most, what, remedy) in limits {
            if needed > most {
                let complaint = format!(
                    "with {device} the ports so far need {needed} {what}; a node has room for {most}: {remedy}"
                );
                return Err(Fault::new(place, complaint));
            }
        }
        Ok(())
    }
}
