//! Judges the health of the node: from what is desired and what was seen to findings. Pure; knows
//! only [`crate::state`].

mod bond;
mod port;
mod seen;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    bond::findings as of_bond,
    seen::{desired as desired_as_seen, missing as missing_as_seen},
};
use crate::{
    names::IfName,
    state::{
        Code, Desired, Finding, Observed, ObservedDatapath, PodInterface, Role, Severity, State,
        Subject,
    },
};

/// The health of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Every finding, the worst first.
    pub findings: Vec<Finding>,
    /// The segments by name.
    pub segments: Vec<SegmentHealth>,
    /// The ports of VMs by device.
    pub ports: Vec<PortHealth>,
}

/// The health of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SegmentHealth {
    /// The cluster network.
    pub name: String,
    /// The state.
    pub state: State,
    /// The bridge.
    pub bridge: String,
    /// The bond, or the NIC where there is no bond; none for a host-only segment.
    pub uplink: Option<String>,
    /// The NICs that are desired.
    pub nics: BTreeSet<String>,
    /// Those that do not exist.
    pub nics_missing: BTreeSet<String>,
    /// Those that exist and belong to the uplink.
    pub nics_present: BTreeSet<String>,
    /// Those that have a link as well.
    pub nics_up: BTreeSet<String>,
}

/// The health of a VM's port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortHealth {
    /// The device.
    pub device: String,
    /// The network.
    pub network: String,
    /// The source that names the port.
    pub origin: String,
    /// The pod, if a container runtime asks for the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodInterface>,
    /// The state.
    pub state: State,
    /// Why the source cannot have the port; another source may have its device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
}

/// What health is judged from.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// What is desired.
    pub desired: &'a Desired,
    /// The links.
    pub links: &'a Observed,
    /// The ports and programs.
    pub datapath: &'a ObservedDatapath,
    /// Findings that are known already: from the sources, the plan, and the steps that failed.
    pub known: &'a [Finding],
}

/// Judges.
pub fn judge(evidence: Evidence<'_>) -> Health {
    let mut findings: Vec<Finding> = evidence.known.to_vec();
    let mut segments = segment::judge(&evidence, &mut findings);
    port::judge(&evidence, &mut findings);
    findings.sort_by(|one, other| {
        let key = |finding: &Finding| (finding.code.severity(), finding.code.state());
        key(other).cmp(&key(one)).then_with(|| one.cmp(other))
    });
    findings.dedup();
    for segment in &mut segments {
        segment.state = state(&findings, &Subject::Segment(segment.name.clone()));
    }
    let ports = evidence.desired.ports.iter();
    let of_vms = ports.filter(|(_, port)| !matches!(port.role, Role::Uplink { .. }));
    let mut ports: Vec<PortHealth> = of_vms
        .map(|(device, port)| PortHealth {
            device: device.to_string(),
            network: port.network.clone(),
            origin: port.origin.clone(),
            pod: port.pod.clone(),
            state: state(&findings, &Subject::Port(device.clone())),
            rejected: None,
        })
        .collect();
    // Ports that are not part of the desired state: a source names one, and it is refused; or no
    // source names one that is plugged in, and it waits.
    ports.extend(evidence.desired.rejected_ports.iter().map(|port| PortHealth {
        device: port.device.to_string(),
        network: port.network.clone(),
        origin: port.origin.clone(),
        pod: None,
        state: State::Refused,
        rejected: Some(port.text.clone()),
    }));
    for finding in &findings {
        let Subject::Port(device) = &finding.subject else { continue };
        if finding.code == Code::ConfirmationNeeded
            && !ports.iter().any(|port| port.device == device.as_str())
        {
            let network = evidence.datapath.ports.get(device);
            ports.push(PortHealth {
                device: device.to_string(),
                network: network.map(|known| known.policy.network.clone()).unwrap_or_default(),
                origin: String::new(),
                pod: None,
                state: finding.code.state(),
                rejected: None,
            });
        }
    }
    Health { findings, segments, ports }
}

/// The state of a subject: that of its worst finding.
fn state(findings: &[Finding], subject: &Subject) -> State {
    let of_subject = findings.iter().filter(|finding| finding.subject == *subject);
    of_subject.map(|finding| finding.code.state()).max().unwrap_or_default()
}

impl Health {
    /// Whether the node does what it was declared to do, apart from what waits, was refused or lost
    /// redundancy.
    pub fn is_ready(&self) -> bool {
        self.findings.iter().all(|finding| finding.code.severity() < Severity::Critical)
    }

    /// Whether every part is as desired, apart from devices that do not exist yet.
    pub fn is_well(&self) -> bool {
        self.unwell().next().is_none()
    }

    /// The findings because of which a part is not as desired.
    pub fn unwell(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_unwell())
    }

    /// The findings about a subject.
    pub fn of<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a Finding> {
        self.findings.iter().filter(move |finding| finding.subject == *subject)
    }
}

impl Evidence<'_> {
    /// Whether a known finding explains why a port lacks everything else: it was refused, or it
    /// waits and was not built before.
    fn is_held_back(&self, subject: &Subject, port: &IfName) -> bool {
        self.has(subject, &[Code::Refused, Code::Rejected]) || self.waits(subject, port)
    }

    /// Whether a port waits, and was not built before.
    fn waits(&self, subject: &Subject, port: &IfName) -> bool {
        let waits = self.has(subject, &[Code::ConfirmationNeeded, Code::Blocked]);
        waits && !self.datapath.ports.contains_key(port)
    }

    fn has(&self, subject: &Subject, codes: &[Code]) -> bool {
        let mut known = self.known.iter();
        known.any(|finding| finding.subject == *subject && codes.contains(&finding.code))
    }
}
