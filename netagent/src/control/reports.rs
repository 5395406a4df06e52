//! What the control socket says, as types: the source of both the answers and their description.

use std::time::UNIX_EPOCH;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    health::Health,
    names::IfName,
    plan::Plan,
    show::{bonds, drops, fdb, ports, vlans},
    snapshot::Snapshot,
    state::{Finding, State},
};

/// The status of the node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The version of the agent.
    pub version: String,
    /// Whether `/readyz` says that the node is ready.
    pub ready: bool,
    /// Whether the file could be used when it was read last.
    pub last_reload_successful: bool,
    /// The end of the last apply after which every part was as desired, in seconds of Unix time.
    pub last_success: Option<f64>,
    /// The health of each part.
    #[serde(flatten)]
    pub health: Health,
}

impl Status {
    /// The status at the moment of a snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        let activity = snapshot.activity.clone().unwrap_or_default();
        let last_success = activity.last_success;
        let last_success = last_success.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: snapshot.health.is_ready(),
            last_reload_successful: activity.reload.error.is_none(),
            last_success: last_success.map(|time| time.as_secs_f64()),
            health: snapshot.health.clone(),
        }
    }
}

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

/// A port and its state.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Port {
    /// The device.
    pub device: String,
    /// The network.
    pub network: String,
    /// The source that names the port: a place in the file, or the control socket.
    pub origin: String,
    /// The state.
    pub state: State,
    /// What an operator should know about it.
    pub findings: Vec<Finding>,
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
        let text =
            |changes: &[crate::change::Change]| changes.iter().map(ToString::to_string).collect();
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
