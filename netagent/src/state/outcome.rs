//! Outcomes: the result of each step that was carried out.

use std::time::{Duration, SystemTime};

use super::UnitId;

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The unit that the step belongs to.
    pub unit: UnitId,
    /// The step, as it is printed.
    pub step: String,
    /// The kind of thing that the step changes: a value of the label `kind`.
    pub kind: &'static str,
    /// Whether the step restores what somebody else changed.
    pub repair: bool,
    /// The error in one line, if it failed.
    pub error: Option<String>,
    /// Whether the unit continues without the step.
    pub optional: bool,
    /// When the step began.
    pub at: SystemTime,
    /// How long the step took.
    pub took: Duration,
}
