//! The devices that match a pattern become ports, unless a source names them.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::{
    Devices, Intent, Item, Origin, PatternIntent, Rejection, Site, Sourced,
    devices::{Candidate, Obstacle},
    node::Node,
    problem::Problem,
};
use crate::{
    names::IfName,
    state::{Code, Finding, Subject},
};

/// Adds a port for each device that a pattern takes. Returns a finding for each that it leaves
/// alone.
pub fn apply(
    intents: &[Intent],
    devices: &Devices,
    node: &mut Node,
    rejections: &mut Vec<Rejection>,
) -> Vec<Finding> {
    let ports = intents.iter().flat_map(|intent| &intent.ports);
    // A device whose own item is rejected must not end up in the network of a pattern.
    let named: BTreeSet<&IfName> = ports.map(|port| &port.value.device).collect();
    let released = || intents.iter().flat_map(|intent| &intent.released_patterns);
    let mut left_alone = Vec::new();
    for (device, candidate) in devices.iter() {
        let is_out = released().any(|pattern| pattern.device.matches(device));
        if is_out || named.contains(device) || node.has(device) {
            continue;
        }
        let patterns: Vec<_> = matching(intents, device).collect();
        let [first, others @ ..] = patterns.as_slice() else { continue };
        if let Some(obstacle) = obstacle(candidate, &patterns, node) {
            left_alone.push(finding(device, first, &obstacle));
            continue;
        }
        let origin = of_pattern(first);
        let item = Item::Port(device.clone());
        let result = if others.iter().all(|other| other.value.at(()) == first.value.at(())) {
            node.add_port(&Site::new(&origin, item.clone()), &first.value.at(device.clone()))
        } else {
            Err(ambiguous(&patterns))
        };
        if let Err(problem) = result {
            rejections.push(Rejection { origin, item, problem });
        }
    }
    left_alone
}

/// The patterns that match a device, in the order of their sources.
pub fn matching<'a>(
    intents: &'a [Intent],
    device: &'a IfName,
) -> impl Iterator<Item = &'a Sourced<PatternIntent>> {
    let patterns = intents.iter().flat_map(|intent| &intent.patterns);
    patterns.filter(|pattern| pattern.value.device.matches(device))
}

/// The origin of a device's port.
fn of_pattern(pattern: &Sourced<PatternIntent>) -> Origin {
    Origin::Pattern {
        place: Box::new(pattern.origin.clone()),
        pattern: pattern.value.device.clone(),
    }
}

/// What keeps all of these patterns from a device.
fn obstacle(
    candidate: &Candidate,
    patterns: &[&Sourced<PatternIntent>],
    node: &Node,
) -> Option<Obstacle> {
    let foreign = candidate.controller.as_ref().filter(|controller| {
        let mut bridges =
            patterns.iter().filter_map(|it| node.bridge_of_network(&it.value.network));
        !bridges.any(|bridge| bridge == **controller)
    });
    candidate.obstacle.clone().or_else(|| foreign.cloned().map(Obstacle::Controller))
}

fn finding(device: &IfName, pattern: &Sourced<PatternIntent>, obstacle: &Obstacle) -> Finding {
    let text = format!("{device}: left alone by {}: it {obstacle}", of_pattern(pattern));
    Finding::new(Subject::Node, Code::LeftAlone, text, obstacle.remedy(device))
}

/// No pattern is more right than another one that asks for something else.
fn ambiguous(patterns: &[&Sourced<PatternIntent>]) -> Problem {
    let each = patterns.iter().map(|it| {
        let PatternIntent { device, network, .. } = &it.value;
        format!("\"{device}\" ({}, network {network})", it.origin)
    });
    let text = format!(
        "matches {}, which differ, so that none applies; name the device itself, or narrow the \
         patterns",
        each.collect::<Vec<_>>().join(" and ")
    );
    Problem::new("", text)
}
