//! Ports that were added through the control socket. They survive a restart of the agent in a file on `/run`, and end
//! with their device.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{intent::PortIntent, names::IfName, state::Observed};

/// The ports by device.
#[derive(Clone, Debug, Default)]
pub struct RuntimePorts {
    path: PathBuf,
    ports: BTreeMap<IfName, RuntimePort>,
}

/// A port, and the device that it was added for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RuntimePort {
    port: PortIntent,
    /// The interface index; `None` until the device has appeared.
    ifindex: Option<u32>,
}

impl RuntimePorts {
    /// Reads the file; one that cannot be used counts as empty.
    pub fn read(path: PathBuf) -> Self {
        let list: Vec<RuntimePort> = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                warn!("{}: {error}: ports that were added before are forgotten", path.display());
                Vec::new()
            }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    warn!("{}: {error}", path.display());
                }
                Vec::new()
            }
        };
        let ports = list.into_iter().map(|port| (port.port.device.clone(), port)).collect();
        Self { path, ports }
    }

    /// The ports.
    pub fn iter(&self) -> impl Iterator<Item = &PortIntent> {
        self.ports.values().map(|port| &port.port)
    }

    /// Adds a port, or replaces it.
    pub fn insert(&mut self, port: PortIntent, ifindex: Option<u32>) {
        self.ports.insert(port.device.clone(), RuntimePort { port, ifindex });
    }

    /// Removes a port. Returns whether it was there.
    pub fn remove(&mut self, device: &IfName) -> bool {
        self.ports.remove(device).is_some()
    }

    /// Forgets the ports whose device is gone, and notes the devices that have appeared.
    pub fn forget_gone(&mut self, links: &Observed) -> Vec<IfName> {
        let mut gone = Vec::new();
        let mut appeared = false;
        for (device, port) in &mut self.ports {
            let now = links.link(device).map(|link| link.index);
            match port.ifindex {
                Some(index) if now != Some(index) => gone.push(device.clone()),
                None if now.is_some() => {
                    port.ifindex = now;
                    appeared = true;
                }
                Some(_) | None => {}
            }
        }
        for device in &gone {
            self.ports.remove(device);
        }
        if appeared || !gone.is_empty() {
            self.save();
        }
        gone
    }

    /// Writes the file, in one step.
    pub fn save(&self) {
        let list: Vec<&RuntimePort> = self.ports.values().collect();
        let temporary = self.path.with_extension("new");
        let written = serde_json::to_vec(&list)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&temporary, bytes))
            .and_then(|()| fs::rename(&temporary, &self.path));
        if let Err(error) = written {
            warn!("{}: {error}: added ports do not survive a restart", self.path.display());
        }
    }
}
