//! Files that keep what the agent knows from one start to the next. A file that cannot be read
//! never stops a start: it is set aside, and shows as a finding until the operator removes it.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Serialize, de::DeserializeOwned};
use tracing::{error, warn};

use crate::{
    regular_file,
    state::{Code, Finding, Subject},
};

/// A JSON file.
#[derive(Clone, Debug, Default)]
pub struct StateFile {
    path: PathBuf,
    /// Why the file cannot be read, while it is in its place.
    problem: Option<String>,
    /// Why it was not written, when it was to be written last.
    unwritten: Option<String>,
}

impl StateFile {
    /// Reads a file, which need not exist. What cannot be read has the default content, whatever
    /// the reason: it is empty, cut off, of another version, not a file, or its disk fails.
    pub fn read<T: DeserializeOwned + Default>(path: PathBuf) -> (Self, T) {
        let (problem, content) = match read(&path) {
            Ok(content) => (None, content.unwrap_or_default()),
            Err(problem) => (Some(problem), T::default()),
        };
        (Self { path, problem, unwritten: None }, content)
    }

    /// A file that others read, and that cannot be read if there is a problem.
    pub const fn of_others(path: PathBuf, problem: Option<String>) -> Self {
        Self { path, problem, unwritten: None }
    }

    /// Renames a file that cannot be read, so that nothing overwrites it.
    pub fn set_aside(&mut self) -> io::Result<()> {
        let Some(problem) = &self.problem else { return Ok(()) };
        let mut names = (1..).map(|number| match number {
            1 => extended(&self.path, ".damaged"),
            number => extended(&self.path, &format!(".damaged-{number}")),
        });
        let is_free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
        let Some(aside) = names.find(is_free) else { return Ok(()) };
        error!("{}: {problem}: setting it aside as {}", self.path.display(), aside.display());
        fs::rename(&self.path, aside)?;
        self.problem = None;
        Ok(())
    }

    /// The same, at a start, which a file that stays in its place does not stop.
    pub fn try_to_set_aside(&mut self) {
        if let Err(error) = self.set_aside() {
            warn!("{}: set it aside: {error}", self.path.display());
        }
    }

    /// Whether the content is not the whole truth: the file cannot be read, or the operator has not
    /// yet removed one that was set aside.
    pub fn is_damaged(&self) -> bool {
        self.problem.is_some() || !self.aside().is_empty()
    }

    /// A finding for each file that could not be read. `lost` says what it had.
    pub fn findings(&self, lost: &str, remedy: &str) -> Vec<Finding> {
        let finding = |path: &Path, problem: &str| {
            let text = format!("{}: {problem}; {lost}", path.display());
            let remedy = format!("{remedy}; then remove {}", path.display());
            Finding::new(Subject::Node, Code::StateDamaged, text, remedy)
        };
        let in_place = self.problem.iter().map(|problem| finding(&self.path, problem));
        let aside = self.aside();
        let aside = aside.iter().map(|path| finding(path, "was damaged, and is set aside"));
        let unwritten = self.unwritten.iter().map(|error| {
            let text = format!("{}: is not up to date: {error}", self.path.display());
            let remedy = "make room, or make the directory writable: it is written with the next \
                          change";
            Finding::new(Subject::Node, Code::StateNotWritten, text, remedy)
        });
        in_place.chain(aside).chain(unwritten).collect()
    }

    /// Writes the file in one step. An interrupted boot leaves the old content or the new one.
    pub fn save(&mut self, content: &impl Serialize) -> io::Result<()> {
        let result = self.set_aside().and_then(|()| self.write(content));
        self.unwritten = result.as_ref().err().map(ToString::to_string);
        result
    }

    fn write(&self, content: &impl Serialize) -> io::Result<()> {
        let directory = create_directory_of(&self.path)?;
        let temporary = self.path.with_extension(format!("new-{}", std::process::id()));
        let mut options = File::options();
        let options = options.create(true).write(true).truncate(true).mode(0o600);
        let bytes = serde_json::to_vec(content)?;
        let written = regular_file::open(&temporary, options)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_data()))
            .and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            let _none = fs::remove_file(&temporary);
        }
        written.and_then(|()| sync(directory))
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that were set aside.
    fn aside(&self) -> Vec<PathBuf> {
        let damaged = extended(&self.path, ".damaged");
        let entries = self.path.parent().and_then(|directory| fs::read_dir(directory).ok());
        let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        let mut paths: Vec<PathBuf> = paths
            .filter(|path| {
                path.as_os_str()
                    .as_encoded_bytes()
                    .starts_with(damaged.as_os_str().as_encoded_bytes())
            })
            .collect();
        paths.sort();
        paths
    }
}

/// The identity of this boot.
pub fn boot_id() -> anyhow::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the boot id")?;
    Ok(id.trim_end().to_owned())
}

/// Creates the directory of a file, for root only, and returns it.
pub fn create_directory_of(path: &Path) -> io::Result<&Path> {
    let directory = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    Ok(directory)
}

/// Makes the names in a directory survive a crash of the node.
pub fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The content of a file; `None` if there is no file.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    match regular_file::read(path) {
        Ok(bytes) if bytes.is_empty() => Err("is empty".to_owned()),
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("is damaged: {error}"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn extended(path: &Path, more: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(more);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_shows_and_leaves_nothing_behind() {
        let directory = std::env::temp_dir().join(format!("netagent-full-{}", std::process::id()));
        let _old = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        let path = directory.join("list.json");
        let (mut file, _) = StateFile::read::<Vec<u32>>(path.clone());
        // A file cannot take its place.
        fs::create_dir(&path).unwrap();
        file.save(&[1]).unwrap_err();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        let found = file.findings("lost", "way");
        assert!(found.len() == 1 && found[0].code == Code::StateNotWritten, "{found:?}");
        fs::remove_dir(&path).unwrap();
        file.save(&[1]).unwrap();
        assert_eq!(file.findings("lost", "way"), []);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_set_aside_and_shows_until_it_is_removed() {
        let directory = std::env::temp_dir().join(format!("netagent-state-{}", std::process::id()));
        let _old = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        let path = directory.join("list.json");
        let open = || StateFile::read::<Vec<u32>>(path.clone());
        let (mut file, content) = open();
        assert!(content.is_empty() && !file.is_damaged());
        file.save(&[1, 2]).unwrap();
        assert_eq!(open().1, [1, 2]);
        let texts = |file: &StateFile| -> Vec<String> {
            file.findings("lost", "way").iter().map(ToString::to_string).collect()
        };
        let damages: [(&dyn Fn(), &str); 5] = [
            (&|| fs::write(&path, "").unwrap(), "is empty"),
            (&|| fs::write(&path, "[1, 2").unwrap(), "is damaged: EOF"),
            (&|| fs::write(&path, "{\"a\": \"b\"}").unwrap(), "is damaged: invalid type"),
            (&|| fs::create_dir(&path).unwrap(), "is not a regular file"),
            (&|| std::os::unix::fs::symlink(&path, &path).unwrap(), "symbolic link"),
        ];
        for (number, (damage, problem)) in damages.into_iter().enumerate() {
            damage();
            let (mut file, content) = open();
            assert!(content.is_empty() && file.is_damaged(), "{problem}");
            let found = texts(&file);
            let first = format!("{}: ", path.display());
            assert!(found[0].starts_with(&first) && found[0].contains(problem), "{found:?}");
            file.set_aside().unwrap();
            assert!(fs::symlink_metadata(&path).is_err(), "{problem}");
            assert_eq!(texts(&file).len(), number + 1, "{problem}");
        }
        let aside = path.with_extension("json.damaged");
        let (mut file, _) = open();
        assert!(file.is_damaged());
        let text = format!(
            "{0}: was damaged, and is set aside; lost: way; then remove {0}",
            aside.display()
        );
        assert_eq!(texts(&file)[0], text);
        assert_eq!(fs::read(aside.with_extension("damaged-2")).unwrap(), b"[1, 2");
        // What was set aside is not overwritten.
        fs::write(&path, "[").unwrap();
        (file, _) = open();
        file.save(&[3]).unwrap();
        assert_eq!((open().1, texts(&file).len()), (vec![3], 6));
        for entry in fs::read_dir(&directory).unwrap().flatten() {
            let path = entry.path();
            fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
        }
        assert!(!file.is_damaged());
        fs::remove_dir(&directory).unwrap();
    }
}
