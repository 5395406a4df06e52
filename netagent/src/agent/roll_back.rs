//! Undoing the steps of a unit that must not end half way.

use anyhow::Error;
use tracing::{info, warn};

use super::Agent;
use crate::plan::Step;

impl Agent {
    /// Undoes steps, the last one first, and returns the error that made it necessary. A step that
    /// cannot be undone does not keep the others from being undone.
    pub(super) async fn roll_back(&mut self, steps: &[Step], error: Error) -> Error {
        let mut failed = Vec::new();
        for change in steps.iter().rev().flat_map(|step| &step.before) {
            match self.take(change).await {
                Ok(()) => info!("roll back: {change}"),
                Err(error) => {
                    warn!("roll back: {change}: {error:#}");
                    failed.push(change.to_string());
                }
            }
        }
        match failed.as_slice() {
            [] => error.context("rolled back"),
            failed => error.context(format!("rolled back, except for: {}", failed.join("; "))),
        }
    }
}
