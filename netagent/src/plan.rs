//! From what is to what should be: units of changes, in their order, and what they cost. Pure;
//! knows only [`crate::state`].

mod bond_warnings;
mod bonds;
mod bridges;
mod give_back;
mod guard;
mod hand_back;
mod hosts;
mod leases;
mod link_local;
mod lived_on;
mod mtu;
mod policy;
mod ports;
mod removals;
mod rules;
mod strangers;
mod takeover;
mod teardown;
#[cfg(test)]
mod tests;
mod unit;
mod up;
mod xdp;

use std::collections::BTreeSet;

use netagent_common::fnv;

pub use self::give_back::waits as waits_for_its_bridge;
#[cfg(test)]
pub use self::unit::unit;
pub use self::unit::{Step, Unit};
use crate::{
    names::IfName,
    state::{Code, Desired, Finding, Observed, ObservedDatapath, Subject, UnitId},
};

/// What to do, and what is known without doing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The units that have steps or findings, in order.
    pub units: Vec<Unit>,
    /// Findings about parts of the node that have no unit: devices that do not exist yet.
    pub findings: Vec<Finding>,
}

/// What may be done to links that carry the node itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// These links may be altered: the operator has confirmed it.
    pub confirmed: BTreeSet<IfName>,
    /// These units need no confirmation: they were as desired before, so that somebody else made
    /// the difference, or their change has begun.
    pub allowed: BTreeSet<UnitId>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.units.iter().all(|unit| unit.steps.is_empty())
    }

    /// Every finding of the plan.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().chain(self.units.iter().flat_map(|unit| &unit.findings))
    }

    /// The links that carry the node and that nobody has confirmed.
    pub fn unconfirmed(&self) -> BTreeSet<IfName> {
        self.units.iter().flat_map(|unit| unit.unconfirmed.clone()).collect()
    }

    /// The ID of the change that a part of the node waits for: other steps have another one.
    pub fn change_id(&self, subject: &Subject) -> String {
        let units = self.units.iter().filter(|unit| {
            unit.subject == *subject && !unit.unconfirmed.is_empty() && !unit.steps.is_empty()
        });
        let steps = units.flat_map(|unit| &unit.steps).map(|step| format!("{}\n", step.change));
        let hash = fnv::hash(steps.flat_map(String::into_bytes));
        format!("{:08x}", hash >> 32)
    }

    /// The links of the change with this ID that need confirmation.
    pub fn links_of_change(&self, id: &str) -> Option<BTreeSet<IfName>> {
        let waiting = self.units.iter().filter(|unit| !unit.unconfirmed.is_empty());
        let subjects: BTreeSet<&Subject> = waiting.map(|unit| &unit.subject).collect();
        let subject = subjects.into_iter().find(|subject| self.change_id(subject) == id)?;
        let units = self.units.iter().filter(|unit| unit.subject == *subject);
        Some(units.flat_map(|unit| unit.unconfirmed.clone()).collect())
    }

    /// The links that carry the node and that the plan alters, as far as it may be carried out.
    pub fn touches(&self) -> BTreeSet<IfName> {
        let runnable = self.units.iter().filter(|unit| unit.is_runnable());
        runnable.flat_map(|unit| unit.touches.clone()).collect()
    }

    /// Adds a unit, unless it is empty.
    fn push(&mut self, unit: Unit) {
        if !unit.steps.is_empty() || !unit.findings.is_empty() {
            self.units.push(unit);
        }
    }
}

/// Everything that a plan is made from.
#[derive(Clone, Copy)]
struct View<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    datapath: &'a ObservedDatapath,
}

/// Makes the plan.
pub fn plan(
    desired: &Desired,
    observed: &Observed,
    datapath: &ObservedDatapath,
    permission: &Permission,
) -> Plan {
    let view = View { desired, observed, datapath };
    let mut plan = Plan::default();
    give_back::bridges(&view, &mut plan);
    removals::ports(&view, &mut plan);
    removals::links(&view, &mut plan);
    give_back::devices(&view, &mut plan);
    bonds::plan(&view, &mut plan);
    bridges::plan(&view, &mut plan);
    hosts::plan(&view, &mut plan);
    ports::plan(&view, &mut plan);
    takeover::plan(&view, &mut plan);
    leases::plan(&view, &mut plan);
    bridges::switch(&view, &mut plan);
    hosts::former_vids(&view, &mut plan);
    guard::check(&view, permission, &mut plan);
    plan
}

/// The finding about a device that does not exist. The kernel takes an alternative name for the
/// device, but a device has one name in everything that it reports.
fn missing(view: &View<'_>, subject: Subject, code: Code, device: &IfName) -> Finding {
    if let Some(name) = view.observed.of_altname(device) {
        return Finding::new(
            subject,
            Code::AlternativeName,
            format!("{device} is an alternative name of {name}"),
            format!("write {name}"),
        );
    }
    let remedy = match code {
        Code::DeviceMissing => "`netagent run` takes it when it appears",
        _ => "check the name (`ip link`), the driver and the slot",
    };
    Finding::new(subject, code, format!("{device}: no such device"), remedy)
}
