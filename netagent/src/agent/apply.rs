//! Applying a desired state: plan, carry out unit by unit, look again, until nothing is left to do.

use std::{collections::BTreeSet, ops::ControlFlow};

use super::{Agent, Ledger, course::Course};
use crate::{
    plan::{Plan, Step, Unit},
    state::{Code, Desired, Outcome},
};

/// How often the node is planned again before a difference that remains counts as a failure: a step
/// may cause another one (a bond takes the address of its first member).
const ROUNDS: usize = 4;

/// Hears of what is done, and decides whether to continue.
pub trait Progress {
    /// A step was taken.
    fn outcome(&mut self, outcome: Outcome);

    /// A unit has ended. `Break` stops the apply between two units, once every segment that has
    /// begun is complete.
    fn between(
        &mut self,
        agent: &mut Agent,
        ledger: &Ledger,
    ) -> impl Future<Output = ControlFlow<()>>;
}

/// The result of an apply.
pub struct Applied {
    /// The plan for what is left.
    pub plan: Plan,
    /// Whether the apply stopped between two units because it was asked to.
    pub interrupted: bool,
}

impl Agent {
    /// Makes the node as desired, as far as it can be, from the node as it was seen last. A unit
    /// that fails stops no other; `ledger` remembers it.
    pub async fn apply(
        &mut self,
        desired: &Desired,
        ledger: &mut Ledger,
        progress: &mut impl Progress,
    ) -> Applied {
        let mut course = Course::default();
        for _ in 0..ROUNDS {
            let plan = self.plan(desired, ledger.permission());
            let on_trial = self.begin_trial(&plan).await;
            let noted = on_trial.and_then(|()| self.note_touched(&plan));
            if let Err(error) = noted.and_then(|()| self.remember(&plan)) {
                // What cannot be undone, or given back, is not done.
                for unit in plan.units.iter().filter(|unit| unit.is_runnable()) {
                    ledger.failed(unit, Code::StepFailed, format!("{}: {error:#}", unit.id));
                }
                return self.end(desired, ledger, false);
            }
            ledger.begin(&plan);
            let unfit = self.prepare_plan(&plan);
            let (mut incomplete, mut unfinished) = (BTreeSet::new(), BTreeSet::new());
            let mut worked = false;
            for unit in in_order(&plan, ledger) {
                if unit.steps.is_empty() || !course.includes(unit) {
                    continue;
                }
                if let Some(error) = unfit.get(&unit.subject) {
                    if unit.is_runnable() && ledger.may_try(unit) {
                        ledger.failed(unit, Code::StepFailed, format!("{}: {error}", unit.id));
                    }
                    incomplete.insert(unit.id.clone());
                    unfinished.insert(unit.id.clone());
                    continue;
                }
                // What must not be done by half waits for every step of what it needs.
                let lacks = if unit.is_whole { &unfinished } else { &incomplete };
                let blocked = !unit.needs.is_disjoint(lacks);
                let mut left = 0;
                if unit.is_runnable() && !blocked && ledger.may_try(unit) {
                    course.begin(unit);
                    let repair = ledger.is_settled(&unit.id);
                    let (taken, error) =
                        self.carry_out(unit, repair, |outcome| progress.outcome(outcome)).await;
                    left = taken;
                    match error {
                        None => worked = true,
                        Some(error) => {
                            let text = format!("{}: {error:#}", unit.id);
                            ledger.failed(unit, Code::StepFailed, text);
                        }
                    }
                    if progress.between(self, ledger).await.is_break() {
                        course.stop();
                    }
                }
                if left < unit.steps.len() {
                    unfinished.insert(unit.id.clone());
                }
                if unit.steps[left..].iter().any(Step::is_needed) {
                    incomplete.insert(unit.id.clone());
                }
            }
            if !worked {
                return self.end(desired, ledger, course.is_stopping());
            }
        }
        if course.is_stopping() {
            return self.end(desired, ledger, true);
        }
        let plan = self.plan(desired, ledger.permission());
        for unit in plan.units.iter().filter(|unit| unit.is_runnable()) {
            if !ledger.may_try(unit) {
                continue;
            }
            let steps: Vec<_> = unit.steps.iter().map(|step| step.change.to_string()).collect();
            let text =
                format!("{}: applied, but does not stay as desired: {}", unit.id, steps.join("; "));
            ledger.failed(unit, Code::Unsettled, text);
        }
        self.end(desired, ledger, false)
    }

    fn end(&mut self, desired: &Desired, ledger: &mut Ledger, interrupted: bool) -> Applied {
        let plan = self.plan(desired, ledger.permission());
        if !interrupted {
            self.forget_given_back(desired, &plan);
            ledger.settle(desired, &plan);
            if ledger.has_confirmations() {
                ledger.end_confirmations(&self.plan(desired, &ledger.lasting_permission()));
            }
            if plan.is_empty() {
                self.datapath.retire_others();
            }
        }
        Applied { plan, interrupted }
    }
}

/// The units in the order in which they are carried out: ports that somebody waits for before other
/// ports.
fn in_order<'a>(plan: &'a Plan, ledger: &Ledger) -> Vec<&'a Unit> {
    let mut units: Vec<&Unit> = plan.units.iter().collect();
    // Stable: the order of the plan is that of the parts.
    units.sort_by_key(|unit| (unit.id.part, !ledger.urgent.contains(&unit.id)));
    units
}
