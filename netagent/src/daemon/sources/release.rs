//! What the operator releases, and takes back.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{Sources, released_in};
use crate::{intent::Released, request::Refusal, state_file::StateFile};

impl Sources {
    /// Releases a cluster network or the device of a port, or takes it back.
    pub fn release(&mut self, name: &str, undo: bool) -> Result<(), Refusal> {
        let mut released = self.released.clone();
        let is_known = if undo { released.remove(name) } else { self.has(name) };
        if !is_known {
            return Err(Refusal::NotFound(if undo {
                format!("{name} is not released; released are: {}", self.released)
            } else {
                format!("there is no cluster network and no port {name}: see `netagent status`")
            }));
        }
        if !undo {
            released.insert(name.to_owned());
        }
        let before = std::mem::replace(&mut self.released, released);
        if let Err(refusal) = self.save_released() {
            self.released = before;
            return Err(refusal);
        }
        self.released_before.get_or_insert(before);
        self.recompile();
        Ok(())
    }

    /// Whether a source has a cluster network or a port of this name, or a pattern a device.
    fn has(&self, name: &str) -> bool {
        if self.devices.iter().any(|(device, _)| device.as_str() == name) {
            return true;
        }
        self.intents().iter().any(|intent| {
            intent.segments.iter().any(|segment| segment.value.name == name)
                || intent.ports.iter().any(|port| port.value.device.as_str() == name)
        })
    }

    /// The trial of a release has ended.
    pub fn end_trial(&mut self, undone: bool) {
        if let Some(before) = self.released_before.take()
            && undone
        {
            self.released = before;
            if let Err(refusal) = self.save_released() {
                tracing::error!("{}", refusal.text());
            }
            self.recompile();
        }
    }

    fn save_released(&mut self) -> Result<(), Refusal> {
        let path = self.released_file.path().display().to_string();
        let saved = self.released_file.save(&self.released);
        saved.map_err(|error| Refusal::Failed(format!("{path}: keep what is released: {error}")))
    }
}

/// Releases something where no daemon runs: the next apply, or the start of the daemon, gives it
/// back.
pub fn release(state: &Path, name: &str, undo: bool) -> Result<()> {
    let (mut file, mut released) = StateFile::read::<Released>(released_in(state));
    let changed = if undo { released.remove(name) } else { released.insert(name.to_owned()) };
    if !changed && undo {
        bail!("{name} is not released; released are: {released}");
    }
    file.save(&released)
        .with_context(|| format!("{}: keep what is released", file.path().display()))
}
