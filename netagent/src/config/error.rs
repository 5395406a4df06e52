//! Errors of a file. An error is one line.

use std::fmt;

use serde_saphyr::Location;

/// Maximum length of a message in characters. It quotes values, which may have any length.
const MAX_CHARS: usize = 400;

/// A line and column of the file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column in characters.
    pub column: u64,
}

impl Place {
    /// The start of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// An error at a place.
#[derive(Debug)]
pub struct Fault {
    /// The place.
    pub place: Place,
    /// The node at that place.
    pub blame: Blame,
    /// The error and the remedy.
    pub message: String,
}

/// A block mapping starts at its first key, so a place alone does not identify the wrong node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The mapping.
    Mapping,
    /// The innermost key or value.
    Key,
}

impl Fault {
    /// An error of the key or value at a place.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, blame: Blame::Key, message: message.into() }
    }
}

/// The reason why a file is refused: `FILE:LINE:COLUMN: path.to.key: error; remedy`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// An error at a place; `path` is that of the wrong key, or empty.
    pub(super) fn new(file: &str, path: &str, fault: Fault) -> Self {
        let Fault { place: Place { line, column }, blame: _, message } = fault;
        let colon = if path.is_empty() { "" } else { ": " };
        Self(format!("{file}:{line}:{column}: {}{colon}{}", OneLine(path), OneLine(&message)))
    }

    /// An error of the file as a whole, without a place.
    pub(super) fn of_file(file: &str, message: &str) -> Self {
        Self(format!("{file}: {}", OneLine(message)))
    }
}

/// Text without characters that end the line or move the terminal's cursor.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, character) in self.0.chars().enumerate() {
            if position == MAX_CHARS {
                return f.write_str("...");
            }
            if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}
