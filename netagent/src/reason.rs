//! Why frames are dropped, in words: the one table behind `netagent explain`, `show drops` and docs/drops.md.

mod render;
mod text;

use anyhow::{Context as _, Result};
use netagent_common::counters::{Direction, Reason};
use serde::Serialize;

pub use self::render::{list, one};

/// A reason, explained.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Explanation {
    /// Its name in metrics and tables.
    pub reason: &'static str,
    /// Where it occurs: "receive", "transmit", or both.
    pub directions: &'static [&'static str],
    /// What it means, in a few words.
    pub meaning: &'static str,
    /// What usually causes it.
    pub cause: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Explains a reason.
pub fn explain(reason: Reason) -> Explanation {
    let [meaning, cause, remedy] = text::of(reason);
    let directions: &[&str] =
        match [Direction::Receive, Direction::Transmit].map(|side| reason.applies_to(side)) {
            [true, false] => &["receive"],
            [false, true] => &["transmit"],
            _ => &["receive", "transmit"],
        };
    Explanation { reason: reason.name(), directions, meaning, cause, remedy }
}

/// The reason of this name.
pub fn named(name: &str) -> Result<Reason> {
    Reason::ALL.into_iter().find(|reason| reason.name() == name).with_context(|| {
        let names = Reason::ALL.map(Reason::name).join(", ");
        format!("{name:?} is no reason for a drop; those are {names}")
    })
}

#[cfg(test)]
mod tests;
