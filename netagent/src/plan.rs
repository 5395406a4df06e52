//! From what is to what should be: the changes, in their order, and what they cost. Pure; knows only [`crate::state`].

mod bonds;
mod bridges;
mod guard;
mod policy;
mod ports;
mod removals;
#[cfg(test)]
mod tests;
mod xdp;

use std::collections::BTreeSet;

use anyhow::Result;

use crate::{
    change::{Change, DatapathChange, LinkChange},
    names::IfName,
    state::{Desired, Observed, ObservedDatapath},
};

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps, in order.
    pub changes: Vec<Change>,
    /// What the steps cost: which links go down meanwhile.
    pub impact: Vec<String>,
    /// Devices that the file names and the node does not have (yet).
    pub waiting: BTreeSet<IfName>,
    /// Things an operator should know, that no step mends.
    pub warnings: Vec<String>,
    /// Protected links that some steps would change: those steps need the operator's word.
    pub guarded: BTreeSet<IfName>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn link(&mut self, change: LinkChange) {
        self.changes.push(Change::Link(change));
    }

    fn datapath(&mut self, change: DatapathChange) {
        self.changes.push(Change::Datapath(change));
    }
}

/// Everything that a plan is made from.
#[derive(Clone, Copy)]
struct View<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    datapath: &'a ObservedDatapath,
}

/// Makes the plan. An error is a file that this node cannot have; nothing is to be changed then.
pub fn plan(desired: &Desired, observed: &Observed, datapath: &ObservedDatapath) -> Result<Plan> {
    let view = View { desired, observed, datapath };
    let mut plan = Plan::default();
    removals::ports(&view, &mut plan);
    removals::links(&view, &mut plan);
    bonds::plan(&view, &mut plan)?;
    bridges::plan(&view, &mut plan)?;
    ports::plan(&view, &mut plan)?;
    bridges::hosts(&view, &mut plan)?;
    guard::check(&view, &mut plan);
    Ok(plan)
}
