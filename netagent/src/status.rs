//! The status of the node: what `netagent status` prints and the control socket answers.

use std::time::UNIX_EPOCH;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    health::{Health, PortHealth},
    snapshot::Snapshot,
    state::{Finding, PodInterface, State, Subject},
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

/// A port and its state.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PortStatus {
    /// The device.
    pub device: String,
    /// The network.
    pub network: String,
    /// The source that names the port: a place in the file, or the control socket.
    pub origin: String,
    /// The pod, if a container runtime asks for the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodInterface>,
    /// The state.
    pub state: State,
    /// What an operator should know about it.
    pub findings: Vec<Finding>,
}

impl PortStatus {
    /// The ports of VMs.
    pub fn all(health: &Health) -> Vec<Self> {
        let findings = |port: &PortHealth| match (&port.rejected, port.device.parse()) {
            (Some(text), _) => {
                let mut findings = health.findings.iter();
                findings.find(|finding| finding.text == *text).into_iter().cloned().collect()
            }
            (None, Ok(device)) => health.of(&Subject::Port(device)).cloned().collect(),
            (None, Err(_)) => Vec::new(),
        };
        let ports = health.ports.iter().map(|port| Self {
            device: port.device.clone(),
            network: port.network.clone(),
            origin: port.origin.clone(),
            pod: port.pod.clone(),
            state: port.state,
            findings: findings(port),
        });
        ports.collect()
    }
}
