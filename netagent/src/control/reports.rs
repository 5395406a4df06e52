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
    /// The ID by which the change can be confirmed, if it needs that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
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
            change: (!unit.unconfirmed.is_empty()).then(|| plan.change_id(&unit.subject)),
        });
        Self { units: units.collect(), findings: plan.findings().cloned().collect() }
    }
}

/// What is confirmed: a change that waits, by its links or its ID; without both, the change that is
/// on trial.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// The links, as the status names them.
    #[schemars(with = "Option<Vec<String>>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Vec<IfName>>,
    /// The ID, as the status and the plan name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

/// The network that the device of a running VM is plugged into.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The network, as the file names it.
    pub network: String,
}

/// What is released.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The cluster network, or the device of the port.
    pub name: String,
    /// Lets the agent manage it again.
    #[serde(default)]
    pub undo: bool,
}

/// How the file is read again.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Whatever changes is on trial for this many seconds: it is rolled back unless it is
    /// confirmed.
    #[serde(default, rename = "try", skip_serializing_if = "Option::is_none")]
    pub try_for: Option<u32>,
}

/// A request that was not carried out.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The reason in one line.
    pub error: String,
}
