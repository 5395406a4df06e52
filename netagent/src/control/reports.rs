//! What the control socket says, as types: the source of both the answers and their description.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    change::Change,
    names::IfName,
    plan::Plan,
    show::{bonds, drops, fdb, ports, vlans},
    state::Finding,
    status::Status,
};

/// Everything that is known of the node.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Everything {
    /// The status.
    pub status: Status,
    /// The ports, as `netagent show ports -j` prints them.
    pub ports: Vec<ports::Row>,
    /// The VLANs, as `netagent show vlans -j` prints them.
    pub vlans: Vec<vlans::Row>,
    /// The bonds, as `netagent show bonds -j` prints them.
    pub bonds: Vec<bonds::Row>,
    /// The drops, as `netagent show drops -j` prints them.
    pub drops: Vec<drops::Row>,
    /// The stations, as `netagent show fdb -j` prints them.
    pub fdb: Vec<fdb::Row>,
}

/// What is left to do.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanReport {
    /// The units in order.
    pub units: Vec<UnitReport>,
    /// What an operator should know.
    pub findings: Vec<Finding>,
}

/// A unit of the plan.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UnitReport {
    /// The unit.
    pub unit: String,
    /// The steps in order, as `ip`, `bridge` and `ethtool` commands where there are such.
    pub steps: Vec<StepReport>,
    /// What the steps cost.
    pub impact: Vec<String>,
    /// Links that carry the node and need confirmation.
    pub unconfirmed: Vec<String>,
}

/// A step of a unit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StepReport {
    /// The step.
    pub step: String,
    /// The steps that restore what was there before.
    pub before: Vec<String>,
}

impl PlanReport {
    /// The report about a plan.
    pub fn of(plan: &Plan) -> Self {
        let text = |changes: &[Change]| changes.iter().map(ToString::to_string).collect();
        let units = plan.units.iter().filter(|unit| !unit.steps.is_empty());
        let units = units.map(|unit| UnitReport {
            unit: unit.id.to_string(),
            steps: unit
                .steps
                .iter()
                .map(|step| StepReport {
                    step: step.change.to_string(),
                    before: text(&step.before),
                })
                .collect(),
            impact: unit.impact.clone(),
            unconfirmed: unit.unconfirmed.iter().map(ToString::to_string).collect(),
        });
        Self { units: units.collect(), findings: plan.findings().cloned().collect() }
    }
}

/// Confirms a change of links that carry the node.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// The links, as the status names them.
    #[schemars(with = "Vec<String>")]
    pub links: Vec<IfName>,
}

/// A request that was not carried out.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The reason in one line.
    pub error: String,
}
