//! What is wrong with a file, and where: always one line.

use std::fmt;

use serde_saphyr::Location;

/// Longest message, in characters: values of the file are quoted in it, and may be of any length.
const MAX_CHARS: usize = 400;

/// A line and column of the file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

impl Place {
    /// Where a file starts.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// What is wrong at a place.
#[derive(Debug)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// Which node of those that start there.
    pub node: Node,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// A block mapping starts where its first key does, so a place alone does not say which is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// The mapping.
    Outer,
    /// Its first key or value.
    Inner,
}

impl Fault {
    /// A fault of the value or key at a place.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, node: Node::Inner, message: message.into() }
    }
}

/// Why a configuration file was refused: `FILE:LINE:COLUMN: path.to.key: what is wrong, and what would be right`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// An error at a place; `path` is empty where no key is to blame.
    pub(super) fn new(file: &str, path: &str, fault: Fault) -> Self {
        let Fault { place: Place { line, column }, node: _, message } = fault;
        let colon = if path.is_empty() { "" } else { ": " };
        Self(format!("{file}:{line}:{column}: {}{colon}{}", OneLine(path), OneLine(&message)))
    }

    /// An error of the file as a whole, which has no place.
    pub(super) fn of_file(file: &str, message: &str) -> Self {
        Self(format!("{file}: {}", OneLine(message)))
    }
}

/// Text without what would end the line or move the terminal's cursor.
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
