//! Ports that were added through the control socket. They survive a restart of the agent in a file
//! on `/run`, and end with their device.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{
    intent::PortIntent,
    names::IfName,
    state::{Finding, Observed},
    state_file::StateFile,
};

/// The ports in the order in which they were added: where there is no room for all, the last ones
/// are rejected.
#[derive(Clone, Debug, Default)]
pub struct RuntimePorts {
    file: StateFile,
    ports: Vec<RuntimePort>,
}

/// A port, and the device that it was added for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RuntimePort {
    port: PortIntent,
    /// The interface index; `None` until the device has appeared.
    ifindex: Option<u32>,
}

impl RuntimePorts {
    /// Reads the file.
    pub fn read(path: PathBuf) -> Self {
        let (file, ports) = StateFile::read(path);
        Self { file, ports }
    }

    /// Sets the file aside if it cannot be read.
    pub fn set_aside(&mut self) {
        self.file.try_to_set_aside();
    }

    /// Whether there may be ports that are not known, as the file was damaged.
    pub fn are_incomplete(&self) -> bool {
        self.file.is_damaged()
    }

    /// A finding for each file that could not be read.
    pub fn findings(&self) -> Vec<Finding> {
        self.file.findings(
            "it had the ports that were added at run time: ports that no source names stay plugged in",
            "add them again (`netagent port add`), or correct the file, restore its name, and restart \
             netagent",
        )
    }

    /// The ports.
    pub fn iter(&self) -> impl Iterator<Item = &PortIntent> {
        self.ports.iter().map(|port| &port.port)
    }

    /// Adds a port, or replaces it.
    pub fn insert(&mut self, port: PortIntent, ifindex: Option<u32>) {
        let new = RuntimePort { port, ifindex };
        match self.ports.iter_mut().find(|old| old.port.device == new.port.device) {
            Some(old) => *old = new,
            None => self.ports.push(new),
        }
    }

    /// Removes a port. Returns whether it was there.
    pub fn remove(&mut self, device: &IfName) -> bool {
        let before = self.ports.len();
        self.ports.retain(|port| port.port.device != *device);
        self.ports.len() < before
    }

    /// Forgets the ports whose device is gone, and notes the devices that have appeared, here and
    /// in the file.
    pub fn forget_gone(&mut self, links: &Observed) -> Vec<IfName> {
        let before = self.ports.clone();
        let gone = self.keep_present(links);
        if self.ports != before {
            // A failure is a finding of the file as long as it lasts.
            let _lasts = self.save();
        }
        gone
    }

    /// Forgets the ports whose device is gone, and notes the devices that have appeared.
    pub fn keep_present(&mut self, links: &Observed) -> Vec<IfName> {
        let mut gone = Vec::new();
        self.ports.retain_mut(|RuntimePort { port, ifindex }| {
            let now = links.link(&port.device).map(|link| link.index);
            if ifindex.is_some() && *ifindex != now {
                gone.push(port.device.clone());
                return false;
            }
            *ifindex = now;
            true
        });
        gone
    }

    /// Writes the file, in one step.
    pub fn save(&mut self) -> Result<()> {
        self.file.save(&self.ports).with_context(|| {
            format!("{}: keep the ports that were added", self.file.path().display())
        })
    }
}
