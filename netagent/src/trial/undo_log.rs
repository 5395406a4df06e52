//! The undo log: a stack on disk. Before each step it gets the changes that undo the step. A change
//! that was undone is taken from it.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tracing::error;

use super::{reach::Target, records::Records};
use crate::{
    change::Change,
    clock::since_boot,
    names::IfName,
    regular_file,
    state::{Finding, UnitId},
    state_file::{self, StateFile},
};

const RUNNING: &str = "trial.jsonl";
const UNDONE: &str = "trial.undo";
const CONFIRMED: &str = "trial.confirmed";

/// The first line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The boot. After another one there is nothing to undo.
    pub boot: String,
    /// How long the change waits for its confirmation after it was carried out.
    pub time: Duration,
    /// The links that the change alters and that carry the node.
    pub links: BTreeSet<IfName>,
    /// What answered before the change.
    pub answered: BTreeSet<Target>,
    /// The text of the file that asks for the change.
    pub text: String,
}

/// A step that was begun, and what undoes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The unit of the step.
    pub unit: UnitId,
    /// The changes that undo it, in order.
    pub undo: Vec<Change>,
}

#[derive(Serialize, Deserialize)]
enum Line {
    Header(Header),
    Done(Done),
    /// Everything was carried out. The uptime at which the confirmation is too late.
    Complete(Duration),
}

/// What was decided about a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It is to be undone.
    Undo,
    /// It was confirmed.
    Confirmed,
}

/// What a state directory has of a trial, with the path of the log.
pub(super) enum Found {
    /// There was no trial.
    Nothing,
    /// A log without its first line: nothing was changed yet.
    Empty(PathBuf),
    /// A log that cannot be read.
    Damaged(PathBuf),
    /// A log, of this boot or of an earlier one.
    Log(PathBuf, Box<UndoLog>),
}

/// The log of the trial that runs, or that is undone.
pub struct UndoLog {
    directory: PathBuf,
    file: File,
    header: Header,
    /// The offset of each line after the header, with its content.
    done: Vec<(u64, Option<Done>)>,
    size: u64,
    deadline: Option<Duration>,
    /// The number of lines that cannot be read.
    damaged: usize,
}

impl UndoLog {
    /// Begins a trial.
    pub fn begin(directory: &Path, header: Header) -> Result<Self> {
        let path = directory.join(RUNNING);
        if directory.join(UNDONE).exists() || path.exists() {
            bail!("an earlier change is not rolled back completely: run `netagent rollback`");
        }
        // Others that look at the state directory never see a log without its first line.
        let new = path.with_extension("new");
        let begin = || {
            state_file::create_directory_of(&path)?;
            let mut options = File::options();
            let file = regular_file::open(&new, options.create(true).append(true).mode(0o600))?;
            file.set_len(0)?;
            Ok::<_, io::Error>(file)
        };
        let text = || format!("{}: begin a trial", path.display());
        let file = begin().with_context(text)?;
        let mut log = Self::empty(directory, file, header.clone());
        log.write(&Line::Header(header))?;
        fs::rename(&new, &path).with_context(text)?;
        Ok(log)
    }

    /// The log of a trial that another process began, in this boot. One that cannot be read is set
    /// aside, and one of an earlier boot is removed.
    pub fn open(directory: &Path, boot: &str) -> Result<Option<Self>> {
        match Self::read(directory)? {
            Found::Nothing => Ok(None),
            Found::Damaged(path) => set_aside(directory, path).map(|()| None),
            Found::Log(_, log) if log.header.boot == boot => Ok(Some(*log)),
            // The boot has ended what was changed.
            Found::Log(path, _) | Found::Empty(path) => remove(&path).map(|()| None),
        }
    }

    /// What there is of a trial. Changes nothing.
    pub(super) fn read(directory: &Path) -> Result<Found> {
        let undone = directory.join(UNDONE);
        let path = if undone.exists() { undone } else { directory.join(RUNNING) };
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            Ok(meta) if !meta.is_file() => return Ok(Found::Damaged(path)),
            Ok(_) | Err(_) => {}
        }
        let read = || -> io::Result<_> {
            let file = regular_file::open(&path, File::options().read(true).append(true))?;
            Ok((file, fs::read(&path)?))
        };
        let (file, text) = match read() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            read => read.with_context(|| format!("read {}", path.display()))?,
        };
        let mut lines = text.split_inclusive(|byte| *byte == b'\n');
        let Some(first) = lines.next() else { return Ok(Found::Empty(path)) };
        // The first line is never seen without its end.
        let header = first.ends_with(b"\n").then(|| serde_json::from_slice(first));
        let Some(Ok(Line::Header(header))) = header else { return Ok(Found::Damaged(path)) };
        let mut log = Self::empty(directory, file, header);
        log.size = first.len() as u64;
        // A line that is cut short was written before its step, which was not taken then.
        for line in lines.take_while(|line| line.ends_with(b"\n")) {
            match serde_json::from_slice(line) {
                Ok(Line::Done(done)) => log.done.push((log.size, Some(done))),
                Ok(Line::Complete(deadline)) => {
                    log.deadline = Some(deadline);
                    log.done.push((log.size, None));
                }
                // The steps before and after it can be undone all the same.
                Ok(Line::Header(_)) | Err(_) => {
                    error!("{}: a line is damaged, and its step is not undone", path.display());
                    log.damaged += 1;
                }
            }
            log.size += line.len() as u64;
        }
        Ok(Found::Log(path, Box::new(log)))
    }

    fn empty(directory: &Path, file: File, header: Header) -> Self {
        let directory = directory.to_owned();
        Self { directory, file, header, done: Vec::new(), size: 0, deadline: None, damaged: 0 }
    }

    /// The first line.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The uptime at which the change is undone; `None`: it was not carried out completely yet.
    pub const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Whether the change is being undone.
    pub fn is_undone(&self) -> bool {
        self.directory.join(UNDONE).exists()
    }

    /// How many steps cannot be undone, as their lines are damaged.
    pub const fn damaged(&self) -> usize {
        self.damaged
    }

    /// How many steps there are.
    pub const fn steps(&self) -> usize {
        self.done.len()
    }

    /// Notes a step before it is taken.
    pub fn push(&mut self, done: Done) -> Result<()> {
        let offset = self.size;
        self.write(&Line::Done(done.clone()))?;
        self.done.push((offset, Some(done)));
        Ok(())
    }

    /// Notes that everything was carried out: the time for the confirmation begins.
    pub fn complete(&mut self, deadline: Duration) -> Result<()> {
        let offset = self.size;
        self.write(&Line::Complete(deadline))?;
        self.done.push((offset, None));
        self.deadline = Some(deadline);
        Ok(())
    }

    /// The last step that is not undone yet.
    pub fn last(&mut self) -> Result<Option<Done>> {
        while let Some((_, done)) = self.done.last() {
            match done {
                Some(done) => return Ok(Some(done.clone())),
                None => self.truncate(self.done.len() - 1)?,
            }
        }
        Ok(None)
    }

    /// Forgets the steps after the first ones: they were undone.
    pub fn truncate(&mut self, len: usize) -> Result<()> {
        if let Some((offset, _)) = self.done.get(len) {
            self.file.set_len(*offset).context("write the undo log")?;
            self.size = *offset;
            self.done.truncate(len);
        }
        Ok(())
    }

    /// Decides that the change is undone, unless it was confirmed. A log that somebody has removed
    /// confirms nothing.
    pub fn decide(&self) -> Result<Decided> {
        if self.is_undone() {
            return Ok(Decided::Undo);
        }
        match fs::rename(self.directory.join(RUNNING), self.directory.join(UNDONE)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(if self.is_kept() { Decided::Confirmed } else { Decided::Undo })
            }
            renamed => {
                renamed.context("rename the undo log")?;
                state_file::sync(&self.directory).context("rename the undo log")?;
                Ok(Decided::Undo)
            }
        }
    }

    /// What another process has decided; `None`: nothing yet.
    pub fn decided(&self) -> Option<Decided> {
        if self.directory.join(RUNNING).exists() {
            return None;
        }
        Some(if self.is_kept() { Decided::Confirmed } else { Decided::Undo })
    }

    /// Whether the change was confirmed.
    fn is_kept(&self) -> bool {
        !self.is_undone()
            && (Self::is_confirmed(&self.directory)
                || Records::read(&self.directory).is_confirmed(&self.header.text))
    }

    /// Removes the log of a change that was undone.
    pub fn remove(self) -> Result<()> {
        remove(&self.directory.join(UNDONE))
    }

    /// Confirms the trial that runs. Whether there was one.
    pub(super) fn confirm(directory: &Path, boot: &str) -> Result<bool> {
        let Some(log) = Self::open(directory, boot)? else { return Ok(false) };
        if log.is_undone() {
            bail!("it is too late: the change is being rolled back");
        }
        if log.deadline.is_some_and(|deadline| since_boot() >= deadline) {
            bail!(
                "it is too late: the change is rolled back, by `netagent rollback` if nothing else"
            );
        }
        match fs::rename(directory.join(RUNNING), directory.join(CONFIRMED)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            renamed => {
                renamed.context("confirm the trial")?;
                state_file::sync(directory).context("confirm the trial")?;
                Ok(true)
            }
        }
    }

    /// Whether a confirmation is not in the records yet.
    pub(super) fn is_confirmed(directory: &Path) -> bool {
        directory.join(CONFIRMED).exists()
    }

    pub(super) fn forget_confirmed(directory: &Path) -> Result<()> {
        remove(&directory.join(CONFIRMED))
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        // A process before this one may have ended in the middle of a line.
        let written = self.file.set_len(self.size).and_then(|()| self.file.write_all(&text));
        if let Err(error) = written {
            // What was written of the line is cut off, so that the next one can be read.
            let _damaged = self.file.set_len(self.size);
            let path = self.directory.join(RUNNING);
            return Err(error)
                .with_context(|| format!("{}: keep what would undo a step", path.display()));
        }
        self.size += text.len() as u64;
        Ok(())
    }
}

/// Sets a log aside that cannot be read: nothing is undone. The reason is noted first: a process
/// that finds no log any more finds the reason.
fn set_aside(directory: &Path, path: PathBuf) -> Result<()> {
    let named = path.display().to_string();
    Records::read(directory).set_reason_if_none("its undo log is damaged")?;
    damaged(path).set_aside().with_context(|| format!("set {named} aside"))
}

fn damaged(path: PathBuf) -> StateFile {
    StateFile::of_others(path, Some("is damaged: nothing is undone".to_owned()))
}

/// A finding for each log that cannot be read, in its place or set aside.
pub fn findings(directory: &Path) -> Vec<Finding> {
    let in_place = match UndoLog::read(directory) {
        Ok(Found::Damaged(path)) => Some(path),
        Ok(_) | Err(_) => None,
    };
    let of = |name: &str| {
        let path = directory.join(name);
        let file = if in_place.as_ref() == Some(&path) {
            damaged(path)
        } else {
            StateFile::of_others(path, None)
        };
        file.findings(
            "it had what undoes a change on trial: nothing was undone by it",
            "look at `netagent plan` and `netagent history`",
        )
    };
    [RUNNING, UNDONE].into_iter().flat_map(of).collect()
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("remove {}", path.display())),
    }
}
