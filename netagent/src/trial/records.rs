//! The records: which file was confirmed last, and which one is not confirmed. They are read at
//! the start of `netagent run`, so that a node boots into what was confirmed.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{names::IfName, state::Finding, state_file::StateFile};

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

/// The links that carry the node and that were altered in a boot for a file that is not confirmed
/// yet. The process that alters them may be killed, and another one completes the change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Touched {
    boot: String,
    links: BTreeSet<IfName>,
}

/// The records of a state directory.
#[derive(Clone, Debug)]
pub struct Records {
    /// The file that was confirmed last.
    pub confirmed: Option<Confirmed>,
    /// The file that was tried last, unless it was confirmed.
    pub unconfirmed: Option<Unconfirmed>,
    confirmed_file: StateFile,
    unconfirmed_file: StateFile,
    touched: PathBuf,
}

impl Records {
    /// Reads them. Without the record of what was confirmed, nothing is.
    pub fn read(directory: &Path) -> Self {
        let (confirmed_file, confirmed) = StateFile::read(directory.join("confirmed.json"));
        let (unconfirmed_file, unconfirmed) = StateFile::read(directory.join("unconfirmed.json"));
        let touched = touched(directory);
        Self { confirmed, unconfirmed, confirmed_file, unconfirmed_file, touched }
    }

    /// Notes links before they are altered.
    pub fn touch(directory: &Path, boot: &str, links: &BTreeSet<IfName>) -> Result<()> {
        let path = touched(directory);
        let (mut file, mut known) = StateFile::read::<Touched>(path.clone());
        if known.boot != boot {
            known = Touched { boot: boot.to_owned(), links: BTreeSet::new() };
        }
        if !links.is_subset(&known.links) {
            known.links.extend(links.iter().cloned());
            file.save(&known).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    /// Sets aside those that cannot be read.
    #[must_use]
    pub fn set_aside(mut self) -> Self {
        self.confirmed_file.try_to_set_aside();
        self.unconfirmed_file.try_to_set_aside();
        self
    }

    /// Whether this file was tried and not confirmed.
    pub fn is_unconfirmed(&self, text: &str) -> bool {
        self.unconfirmed.as_ref().is_some_and(|unconfirmed| unconfirmed.text == text)
    }

    /// Whether this file was confirmed.
    pub fn is_confirmed(&self, text: &str) -> bool {
        self.confirmed.as_ref().is_some_and(|confirmed| confirmed.text == text)
    }

    /// A finding for each record that could not be read.
    pub fn findings(&self) -> Vec<Finding> {
        let remedy = "look at `netagent plan`, and apply the file again";
        let confirmed =
            self.confirmed_file.findings("it had the file that was confirmed last", remedy);
        let unconfirmed =
            self.unconfirmed_file.findings("it had a file that was not confirmed", remedy);
        confirmed.into_iter().chain(unconfirmed).collect()
    }

    /// Notes a file before its trial begins.
    pub fn set_unconfirmed(&mut self, unconfirmed: Unconfirmed) -> Result<()> {
        self.unconfirmed = Some(unconfirmed);
        self.save_unconfirmed()
    }

    /// Notes why the file that was tried was rolled back.
    pub fn set_reason(&mut self, reason: String) -> Result<()> {
        match &mut self.unconfirmed {
            Some(unconfirmed) => unconfirmed.reason = Some(reason),
            None => return Ok(()),
        }
        self.save_unconfirmed()
    }

    /// The same, unless it is known.
    pub(super) fn set_reason_if_none(&mut self, reason: &str) -> Result<()> {
        match &self.unconfirmed {
            Some(Unconfirmed { reason: None, .. }) => self.set_reason(reason.to_owned()),
            Some(_) | None => Ok(()),
        }
    }

    /// Notes that the file that was tried is confirmed.
    pub fn promote(&mut self, boot: &str) -> Result<()> {
        match self.unconfirmed.clone() {
            Some(Unconfirmed { text, links, .. }) => self.confirm_with(boot, &text, links),
            // A process that ended has done it.
            None => Ok(()),
        }
    }

    /// Notes that a file is confirmed, for which the links were altered that were noted in this
    /// boot.
    pub fn confirm(&mut self, boot: &str, text: &str) -> Result<()> {
        self.confirm_with(boot, text, BTreeSet::new())
    }

    fn confirm_with(&mut self, boot: &str, text: &str, mut links: BTreeSet<IfName>) -> Result<()> {
        let (_, touched) = StateFile::read::<Touched>(self.touched.clone());
        if touched.boot == boot {
            links.extend(touched.links);
        }
        // Asked after each apply of the daemon: most have nothing new.
        let is_noted = self.confirmed.as_ref().is_some_and(|known| {
            known.boot == boot && known.text == text && links.is_subset(&known.links)
        });
        if !is_noted {
            let known = self.confirmed.iter().flat_map(|known| known.links.clone());
            let confirmed = Some(Confirmed {
                boot: boot.to_owned(),
                text: text.to_owned(),
                links: known.chain(links).collect(),
            });
            // What was not written is noted after the next apply.
            save(&mut self.confirmed_file, &confirmed)?;
            self.confirmed = confirmed;
        }
        match fs::remove_file(&self.touched) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", self.touched.display()));
            }
            _ => {}
        }
        if self.is_unconfirmed(text) {
            self.unconfirmed = None;
            self.save_unconfirmed()?;
        }
        Ok(())
    }

    fn save_unconfirmed(&mut self) -> Result<()> {
        save(&mut self.unconfirmed_file, &self.unconfirmed)
    }
}

fn touched(directory: &Path) -> PathBuf {
    directory.join("touched.json")
}

fn save(file: &mut StateFile, content: &impl Serialize) -> Result<()> {
    file.save(content).with_context(|| format!("write {}", file.path().display()))
}
