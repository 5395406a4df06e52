//! The records: which file was confirmed last, and which one is not confirmed. They are read at
//! the start of `netagent run`, so that a node boots into what was confirmed.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracing::warn;

use crate::{names::IfName, store};

/// The file that was confirmed last: by the operator, or as it altered nothing that carries the
/// node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The boot in which it was applied last.
    pub boot: String,
    /// The text.
    pub text: String,
    /// The links that carry the node and that may be altered to apply it on a node that has just
    /// booted.
    pub links: BTreeSet<IfName>,
}

/// A file that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The text.
    pub text: String,
    /// The links that carry the node and that it alters.
    pub links: BTreeSet<IfName>,
    /// Why it was rolled back; `None`: the trial has not ended, or a reboot ended it.
    pub reason: Option<String>,
}

/// The records of a state directory.
#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
    /// The file that was confirmed last.
    pub confirmed: Option<Confirmed>,
    /// The file that was tried last, unless it was confirmed.
    pub unconfirmed: Option<Unconfirmed>,
}

impl Records {
    /// Reads them. A record that is damaged is not there: it says what was allowed.
    pub fn read(directory: &Path) -> Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            confirmed: read(&directory.join("confirmed.json"))?,
            unconfirmed: read(&directory.join("unconfirmed.json"))?,
        })
    }

    /// Whether this file was tried and not confirmed.
    pub fn is_unconfirmed(&self, text: &str) -> bool {
        self.unconfirmed.as_ref().is_some_and(|unconfirmed| unconfirmed.text == text)
    }

    /// Whether this file was confirmed.
    pub fn is_confirmed(&self, text: &str) -> bool {
        self.confirmed.as_ref().is_some_and(|confirmed| confirmed.text == text)
    }

    /// Notes a file before its trial begins, or the reason why it ended.
    pub fn set_unconfirmed(&mut self, unconfirmed: Unconfirmed) -> Result<()> {
        self.save("unconfirmed.json", &unconfirmed)?;
        self.unconfirmed = Some(unconfirmed);
        Ok(())
    }

    /// Notes why the file that was tried was rolled back.
    pub fn set_reason(&mut self, reason: String) -> Result<()> {
        match self.unconfirmed.clone() {
            Some(unconfirmed) => {
                self.set_unconfirmed(Unconfirmed { reason: Some(reason), ..unconfirmed })
            }
            None => Ok(()),
        }
    }

    /// Notes that the file that was tried is confirmed.
    pub fn promote(&mut self, boot: &str) -> Result<()> {
        match self.unconfirmed.clone() {
            Some(Unconfirmed { text, links, .. }) => self.confirm(boot, &text, links),
            // A process that ended has done it.
            None => Ok(()),
        }
    }

    /// Notes that a file is confirmed. `links` were altered for it.
    pub fn confirm(&mut self, boot: &str, text: &str, links: BTreeSet<IfName>) -> Result<()> {
        let known = self.confirmed.as_ref().map(|known| known.links.clone());
        let confirmed = Confirmed {
            boot: boot.to_owned(),
            text: text.to_owned(),
            links: known.into_iter().flatten().chain(links).collect(),
        };
        if self.confirmed.as_ref() != Some(&confirmed) {
            self.save("confirmed.json", &confirmed)?;
            self.confirmed = Some(confirmed);
        }
        self.end_unconfirmed(text)
    }

    fn end_unconfirmed(&mut self, text: &str) -> Result<()> {
        if !self.is_unconfirmed(text) {
            return Ok(());
        }
        self.unconfirmed = None;
        let path = self.directory.join("unconfirmed.json");
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("remove {}", path.display())),
        }
    }

    fn save(&self, name: &str, content: &impl Serialize) -> Result<()> {
        let path = self.directory.join(name);
        store::replace(&path, content).with_context(|| format!("write {}", path.display()))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.with_context(|| format!("read {}", path.display()))?,
    };
    let content = serde_json::from_slice(&bytes);
    if let Err(error) = &content {
        warn!("{}: {error}: ignored", path.display());
    }
    Ok(content.ok())
}
