//! The journal: each step that was taken, in a bounded file that survives restarts (`netagent
//! history`).

use std::{
    fmt,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    regular_file,
    state::{Code, Finding, Outcome, Subject},
};

/// The size in bytes at which a new file is begun. One full file is kept beside it.
const MAX_BYTES: u64 = 1 << 20;

/// The journal of a state directory.
pub struct Journal {
    path: PathBuf,
    /// The open file, and its size in bytes.
    file: Option<(File, u64)>,
    /// Why the last step is missing.
    problem: Option<String>,
}

/// An entry: one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When the step began, in seconds of Unix time.
    pub time: f64,
    /// The unit.
    pub unit: String,
    /// The step.
    pub step: String,
    /// Whether it restored what somebody else had changed.
    pub repair: bool,
    /// How long it took, in seconds.
    pub took: f64,
    /// The error, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl fmt::Display for HistoryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UNIX_EPOCH + Duration::from_secs_f64(self.time.max(0.0));
        let word = if self.repair { "repair" } else { "apply" };
        write!(
            f,
            "{} {word} {}: {}",
            humantime::format_rfc3339_millis(time),
            self.unit,
            self.step
        )?;
        match &self.error {
            None => Ok(()),
            Some(error) => write!(f, " FAILED: {error}"),
        }
    }
}

impl Journal {
    /// The journal in this directory, which need not exist yet.
    pub fn new(directory: &Path) -> Self {
        Self { path: directory.join("history.jsonl"), file: None, problem: None }
    }

    /// Adds an outcome. A journal that cannot be written stops nothing.
    pub fn add(&mut self, outcome: &Outcome) {
        let entry = HistoryEntry {
            time: outcome.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            unit: outcome.unit.to_string(),
            step: outcome.step.clone(),
            repair: outcome.repair,
            took: outcome.took.as_secs_f64(),
            error: outcome.error.clone(),
        };
        let written = self.write(&entry);
        if written.is_err() {
            self.file = None;
        }
        self.problem = written.err().map(|error| error.to_string());
    }

    /// The finding that the last step is missing.
    pub fn finding(&self) -> Option<Finding> {
        let error = self.problem.as_ref()?;
        let text = format!("{}: steps are missing: {error}", self.path.display());
        let remedy = "make room, or make the directory writable";
        Some(Finding::new(Subject::Node, Code::StateNotWritten, text, remedy))
    }

    fn write(&mut self, entry: &HistoryEntry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if self.file.as_ref().is_some_and(|(_, size)| *size >= MAX_BYTES) {
            self.file = None;
            fs::rename(&self.path, older(&self.path))?;
        }
        let (file, size) = match &mut self.file {
            Some(open) => open,
            None => self.file.insert(open(&self.path)?),
        };
        file.write_all(&line)?;
        *size += line.len() as u64;
        Ok(())
    }

    /// The entries of a directory's journal, the oldest first. Damaged lines are left out.
    pub fn read(directory: &Path) -> io::Result<Vec<HistoryEntry>> {
        let path = directory.join("history.jsonl");
        let mut entries = Vec::new();
        for path in [older(&path), path] {
            let file = match regular_file::open_to_read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            for line in BufReader::new(file).split(b'\n') {
                entries.extend(serde_json::from_slice::<HistoryEntry>(&line?).ok());
            }
        }
        Ok(entries)
    }
}

fn older(path: &Path) -> PathBuf {
    path.with_extension("jsonl.1")
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut options = File::options();
    let options = options.create(true).append(true).read(true).mode(0o600);
    let mut file = regular_file::open(path, options)?;
    let mut size = file.metadata()?.len();
    // The last line may be cut off, if the power was.
    let mut last = *b"\n";
    if let Some(place) = size.checked_sub(1) {
        file.read_exact_at(&mut last, place)?;
    }
    if last != *b"\n" {
        file.write_all(b"\n")?;
        size += 1;
    }
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rustix::fs::{FileType, Mode};

    use super::*;
    use crate::state::{Part, UnitId};

    #[test]
    fn the_journal_survives_a_restart_and_is_bounded() {
        let directory =
            std::env::temp_dir().join(format!("netagent-journal-{}", std::process::id()));
        let _old = fs::remove_dir_all(&directory);
        let outcome = |number: u32| Outcome {
            unit: UnitId::new(Part::Port, &"tap7".parse().unwrap()),
            step: format!("{number} {}", "x".repeat(1000)),
            kind: "link",
            repair: false,
            error: None,
            optional: false,
            at: SystemTime::now(),
            took: Duration::from_millis(1),
        };
        for start in [0, 2000] {
            let mut journal = Journal::new(&directory);
            (start..start + 2000).for_each(|number| journal.add(&outcome(number)));
        }
        let entries = Journal::read(&directory).unwrap();
        let size = |path: &str| fs::metadata(directory.join(path)).unwrap().len();
        let bound = MAX_BYTES + 2000;
        assert!(size("history.jsonl") < bound && size("history.jsonl.1") < bound);
        assert!(entries.len() > 900 && entries.len() < 2100, "{}", entries.len());
        assert!(entries.last().unwrap().step.starts_with("3999 "));
        // A line that was cut off costs no other line, and a pipe does not stop the loop.
        fs::write(directory.join("history.jsonl"), "{\"time\": 1").unwrap();
        Journal::new(&directory).add(&outcome(4000));
        let entries = Journal::read(&directory).unwrap();
        assert!(entries.last().unwrap().step.starts_with("4000 "));
        fs::remove_file(directory.join("history.jsonl")).unwrap();
        let pipe = directory.join("history.jsonl");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let mut journal = Journal::new(&directory);
        journal.add(&outcome(4001));
        assert!(journal.finding().is_some());
        fs::remove_file(&pipe).unwrap();
        journal.add(&outcome(4002));
        assert_eq!(journal.finding(), None);
        fs::remove_dir_all(&directory).unwrap();
    }
}
