//! A fault on purpose: a patch in tests/mutations, with a few lines before it that say what it
//! breaks and which tests must notice it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const DIRECTORY: &str = "tests/mutations";

/// A patch.
#[derive(Debug, PartialEq, Eq)]
pub struct Mutation {
    /// Directory and file name, such as `programs/bytes-of-drops-are-zero`.
    pub name: String,
    pub path: PathBuf,
    /// The files that it changes.
    pub files: Vec<String>,
    pub expected: Expected,
}

/// What is expected of the tests.
#[derive(Debug, PartialEq, Eq)]
pub enum Expected {
    /// A test fails whose name contains one of these.
    Noticed {
        tests: Vec<String>,
        /// The kernel of the matrix, if this machine's kernel cannot run the tests.
        on: Option<String>,
        /// Environment variables of the tests: `NAME=value`.
        environment: Vec<String>,
    },
    /// No test can notice it, for this reason.
    Equivalent(String),
}

impl Mutation {
    /// All mutations, by name.
    pub fn all() -> Result<Vec<Self>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("find the workspace")?;
        let mut all = Vec::new();
        let sets = fs::read_dir(root.join(DIRECTORY)).context("list tests/mutations")?;
        for set in sets {
            let set = set?.path();
            for patch in fs::read_dir(&set).with_context(|| format!("list {}", set.display()))? {
                let path = patch?.path();
                let part = |path: &Path| path.file_stem()?.to_str().map(str::to_owned);
                let name = part(&set).zip(part(&path));
                let (set, name) = name.with_context(|| format!("name of {}", path.display()))?;
                let text = fs::read_to_string(&path)?;
                let mutation = Self::read(format!("{set}/{name}"), path, &text);
                all.push(mutation.with_context(|| format!("tests/mutations/{set}/{name}"))?);
            }
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    fn read(name: String, path: PathBuf, text: &str) -> Result<Self> {
        let (head, diff) = text.split_once("\ndiff --git ").context("the patch is missing")?;
        let mut lines = head.lines().filter(|line| !line.is_empty());
        lines.next().context("the first line must say what breaks")?;
        let (mut tests, mut environment) = (Vec::new(), Vec::new());
        let (mut on, mut equivalent) = (None, None);
        for line in lines {
            let (key, value) = line.split_once(": ").context("expected `Key: value`")?;
            let words = || value.split_whitespace().map(str::to_owned);
            match key {
                "Tests" => tests.extend(words()),
                "Environment" => environment.extend(words()),
                "On" => on = Some(value.to_owned()),
                "Equivalent" => equivalent = Some(value.to_owned()),
                _ => bail!("unknown key {key}"),
            }
        }
        let expected = match (tests.is_empty(), equivalent) {
            (false, None) => Expected::Noticed { tests, on, environment },
            (true, Some(why)) => Expected::Equivalent(why),
            _ => bail!("expected either `Tests` or `Equivalent`"),
        };
        let files = diff.lines().filter_map(|line| line.strip_prefix("+++ b/"));
        Ok(Self { name, path, files: files.map(str::to_owned).collect(), expected })
    }

    /// Whether this machine's kernel can run its tests.
    pub fn is_for_here(&self) -> bool {
        !matches!(self.expected, Expected::Noticed { on: Some(_), .. })
    }

    /// The directory: the row of the table.
    pub fn set(&self) -> &str {
        self.name.split_once('/').map_or("", |(set, _)| set)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn each_mutation_applies_and_names_its_tests() {
        let all = Mutation::all().unwrap();
        let count = |set| all.iter().filter(|mutation| mutation.set() == set).count();
        assert!(count("programs") >= 60 && count("agent") >= 30, "{}", all.len());
        for mutation in &all {
            assert!(!mutation.files.is_empty(), "{}", mutation.name);
            let mut check = Command::new("git");
            check.args(["apply", "--check"]).arg(&mutation.path);
            check.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
            let output = check.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", mutation.name);
        }
    }

    #[test]
    fn the_lines_before_the_patch_say_what_is_expected() {
        let patch = "diff --git a/x.rs b/x.rs\n--- a/x.rs\n+++ b/x.rs\n@@ -1 +1 @@\n-a\n+b\n";
        let read = |head: &str| {
            let text = format!("{head}\n{patch}");
            Mutation::read("a/b".to_owned(), PathBuf::new(), &text).map(|read| read.expected)
        };
        let environment = vec!["A=1".to_owned(), "B=2".to_owned()];
        let tests = vec!["one".to_owned(), "two".to_owned()];
        let noticed = Expected::Noticed { tests, on: Some("6.12".to_owned()), environment };
        let head = "Breaks it.\nTests: one two\nOn: 6.12\nEnvironment: A=1 B=2\n";
        assert_eq!(read(head).unwrap(), noticed);
        let equivalent = Expected::Equivalent("it is the same".to_owned());
        assert_eq!(read("Breaks it.\nEquivalent: it is the same\n").unwrap(), equivalent);
        for refused in ["Breaks it.\n", "Breaks it.\nTests: a\nEquivalent: b\n", "B.\nTest: a\n"] {
            assert!(read(refused).is_err(), "{refused}");
        }
    }
}
