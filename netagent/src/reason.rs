//! Explanations of the drop reasons: the one table behind `netagent explain`, `show drops` and
//! docs/drops.md.

mod render;
mod text;

use anyhow::{Context as _, Result};
use netagent_common::counters::{Direction, Reason};
use serde::Serialize;

pub use self::render::{list, one};

/// The explanation of a reason.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Explanation {
    /// The reason's name in metrics and tables.
    pub reason: &'static str,
    /// The directions in which the reason occurs: "receive", "transmit", or both.
    pub directions: &'static [&'static str],
    /// The meaning in a few words.
    pub meaning: &'static str,
    /// The usual cause.
    pub cause: &'static str,
    /// The remedy.
    pub remedy: &'static str,
}

/// Returns the explanation of a reason.
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

/// Finds a reason by name.
pub fn named(name: &str) -> Result<Reason> {
    Reason::ALL.into_iter().find(|reason| reason.name() == name).with_context(|| {
        let names = Reason::ALL.map(Reason::name).join(", ");
        format!("unknown drop reason {name:?}: use one of {names}")
    })
}

#[cfg(test)]
mod tests;
