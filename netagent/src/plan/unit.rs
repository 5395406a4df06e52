//! A unit of the plan: its steps, what they cost, and what keeps them from being carried out.

use std::collections::BTreeSet;

use super::View;
use crate::{
    change::{Change, DatapathChange, LinkChange, before},
    names::IfName,
    state::{Code, Finding, Subject, UnitId},
};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The change.
    pub change: Change,
    /// The changes that restore what was there before; empty where there is nothing to restore.
    pub before: Vec<Change>,
}

impl Step {
    /// Whether units that need this step's unit cannot do without the step.
    pub fn is_needed(&self) -> bool {
        matches!(
            self.change,
            Change::Link(
                LinkChange::AddBridge(..)
                    | LinkChange::SetDefaultPvid(..)
                    | LinkChange::AddVids(..)
            ) | Change::Datapath(DatapathChange::SetPolicy(..))
        )
    }
}

/// A part of the node that is changed, fails and recovers independently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Which one.
    pub id: UnitId,
    /// The part of the node that its findings are about.
    pub subject: Subject,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Whether the steps are undone if one fails: half of them would cut the node off.
    pub is_whole: bool,
    /// Units that must have been carried out completely, if they have steps.
    pub needs: BTreeSet<UnitId>,
    /// What the steps cost: the links that go down meanwhile.
    pub impact: Vec<String>,
    /// Links that carry the node and that the steps alter.
    pub touches: BTreeSet<IfName>,
    /// Links that need confirmation, and that nobody has confirmed.
    pub unconfirmed: BTreeSet<IfName>,
    /// Findings about the unit that are known from the plan alone.
    pub findings: Vec<Finding>,
}

impl Unit {
    /// A unit without steps.
    pub(super) fn new(id: UnitId, subject: Subject) -> Self {
        Self {
            id,
            subject,
            steps: Vec::new(),
            is_whole: false,
            needs: BTreeSet::new(),
            impact: Vec::new(),
            touches: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            findings: Vec::new(),
        }
    }

    /// Whether the steps may be carried out.
    pub fn is_runnable(&self) -> bool {
        !self.steps.is_empty() && self.unconfirmed.is_empty()
    }

    pub(super) fn link(&mut self, view: &View<'_>, change: LinkChange) {
        let before = before::of_link(&change, view.observed);
        self.steps.push(Step { change: Change::Link(change), before });
    }

    pub(super) fn datapath(&mut self, view: &View<'_>, change: DatapathChange) {
        let before = match self.policy_before(&change) {
            Some(before) => vec![Change::Datapath(before.clone())],
            None => before::of_datapath(&change, view.datapath),
        };
        self.steps.push(Step { change: Change::Datapath(change), before });
    }

    /// The policy that the unit itself has set before another one of the port: its programs are
    /// attached, so that it must not go before them.
    fn policy_before(&self, change: &DatapathChange) -> Option<&DatapathChange> {
        let DatapathChange::SetPolicy(name, _) = change else { return None };
        self.steps.iter().rev().find_map(|step| match &step.change {
            Change::Datapath(before @ DatapathChange::SetPolicy(other, _)) if other == name => {
                Some(before)
            }
            _ => None,
        })
    }

    pub(super) fn finding(
        &mut self,
        code: Code,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.push(Finding::new(self.subject.clone(), code, text, remedy));
    }

    /// Refuses a unit whose link cannot be created: a device has its name as an alternative one.
    pub(super) fn refuse_altname(&mut self, name: &IfName, device: &IfName) {
        self.refuse(
            format!("{name} is an alternative name of {device}"),
            format!("choose another name, or ip link property del dev {device} altname {name}"),
        );
    }

    /// Refuses the unit: this node cannot have it.
    pub(super) fn refuse(&mut self, text: impl Into<String>, remedy: impl Into<String>) {
        self.steps.clear();
        self.impact.clear();
        self.finding(Code::Refused, text, remedy);
    }
}

/// A unit without steps, for tests.
#[cfg(test)]
pub fn unit(part: crate::state::Part, device: &str, subject: Subject) -> Unit {
    Unit::new(UnitId::new(part, &device.parse().unwrap()), subject)
}
