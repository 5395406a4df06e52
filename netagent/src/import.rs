//! `netagent import`: the node as it is, as a file whose plan contains only what netagent adds.
//!
//! Pure: from what was observed to the text. What a file cannot express is left out, with a comment
//! that says so: netagent does not touch what no source names. At the end the text is planned as
//! `netagent plan` would, and each change of links that is left is explained.

mod bond;
mod host;
mod network;
mod segment;
#[cfg(test)]
mod tests;
mod yaml;

use std::{collections::BTreeSet, fmt::Write as _};

use self::{network::Networks, segment::Segment};
use crate::{
    change::{Change, LinkChange},
    config,
    managers::Managers,
    names::IfName,
    plan::{Permission, plan},
    state::{Kind, Observed, ObservedDatapath},
};

/// What the operator says about the node.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Ports of bridges that are uplinks, whatever they look like.
    pub uplinks: BTreeSet<IfName>,
    /// The bridges to import. Empty: all that have an uplink.
    pub bridges: BTreeSet<IfName>,
}

/// The file.
pub fn file(
    observed: &Observed,
    datapath: &ObservedDatapath,
    managers: &Managers,
    choices: &Choices,
) -> String {
    let mut remarks = Vec::new();
    let segments = segment::find(observed, choices, &mut remarks);
    let mut networks = Networks::default();
    for segment in &segments {
        networks.add_ports(segment, observed, &mut remarks);
    }
    let mut body = String::from("clusterNetworks:\n");
    for segment in &segments {
        body += &segment.text(observed, &mut remarks);
        networks.add_rest(segment, observed);
    }
    if segments.is_empty() {
        body = String::from("clusterNetworks: {}\n");
    }
    body += &networks.text();
    let used = used(&segments, observed);
    remarks.extend(unused(&used, observed));
    let mut text = String::from(
        "# The network of this node, as `netagent import` has found it. Read it, then compare it with\n\
         # the node: netagent plan -c FILE\n",
    );
    if !datapath.ports.is_empty() {
        text += "#\n# netagent manages ports of this node already. Their policies are not read (checks, and \
                 VLANs\n# where the bridge does not filter): keep the file that they come from.\n";
    }
    text += &managers.advice(&used);
    text += &body;
    section(&mut text, "Not in this file, and left as it is:", &remarks);
    let left = left(&body, &segments, observed, datapath);
    section(&mut text, "What netagent changes at the first apply:", &left);
    text
}

/// Adds a comment with a list.
fn section(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _infallible = writeln!(text, "\n# {title}");
    for line in lines {
        let _infallible = writeln!(text, "# - {line}");
    }
}

/// The devices that netagent takes over.
fn used(segments: &[Segment<'_>], observed: &Observed) -> BTreeSet<IfName> {
    let of_segment = |segment: &Segment<'_>| {
        let uplink = segment.uplink.iter().flat_map(|uplink| {
            uplink.nics.iter().chain([&uplink.device]).cloned().collect::<Vec<_>>()
        });
        let host = host::of(segment, observed).into_iter().map(|host| host.interface);
        uplink.chain(host).chain([segment.bridge.clone()]).collect::<Vec<_>>()
    };
    segments.iter().flat_map(of_segment).collect()
}

/// The devices that could be part of a cluster network, and are not.
fn unused(used: &BTreeSet<IfName>, observed: &Observed) -> Vec<String> {
    let is_nic = |name: &IfName, kind: &Kind| match kind {
        Kind::Other(kind) => kind.is_empty() && name.as_str() != "lo",
        Kind::Bond(_) => true,
        Kind::Bridge(_) | Kind::Vlan { .. } => false,
    };
    let links = observed.links.iter();
    let links = links.filter(|(name, link)| !used.contains(*name) && is_nic(name, &link.kind));
    links
        .filter(|(_, link)| link.controller.is_none())
        .map(|(name, _)| format!("{name}: not a port of a bridge"))
        .collect()
}

/// What the plan of the file contains, explained.
fn left(
    body: &str,
    segments: &[Segment<'_>],
    observed: &Observed,
    datapath: &ObservedDatapath,
) -> Vec<String> {
    let config = match config::parse(body, "this file") {
        Ok(config) => config,
        Err(error) => return vec![format!("nothing: this file must be corrected first: {error}")],
    };
    let desired = config.desired();
    let plan = plan(&desired, observed, datapath, &Permission::default());
    let mut lines = Vec::new();
    let mut programs = 0;
    for step in plan.units.iter().flat_map(|unit| &unit.steps) {
        match &step.change {
            Change::Link(change) => lines.push(match reason(change) {
                Some(reason) => format!("{change}: {reason}"),
                None => change.to_string(),
            }),
            Change::Datapath(_) => programs += 1,
        }
    }
    if programs > 0 {
        lines.push(format!(
            "{programs} steps that add policies and programs: they pass what is named above, and \
             drop and count everything else"
        ));
    }
    let unaware = segments.iter().filter(|segment| !segment.aware);
    lines.extend(unaware.filter(|_| programs > 0).map(|segment| {
        format!(
            "frames with a tag are dropped on {}, which passes all of them now: name their VLANs \
             in a network, and give a VM that tags its frames a trunk network",
            segment.bridge
        )
    }));
    let unconfirmed = plan.unconfirmed().into_iter();
    lines.extend(
        unconfirmed
            .map(|link| format!("{link} carries the node itself: apply needs --confirm {link}")),
    );
    lines
}

/// Why netagent makes a change of links although the file says what was found.
const fn reason(change: &LinkChange) -> Option<&'static str> {
    Some(match change {
        LinkChange::SetDefaultPvid(..) => {
            "each port has exactly its own VLANs; this takes the default PVID from all ports"
        }
        LinkChange::AddVids(..) => "a port has it, the uplink lacks it",
        LinkChange::RemoveVids(..) => "no network above has it",
        LinkChange::AddSelfVid(..) => "the VLAN of the node's own interface",
        LinkChange::SetBondOption(..) => "a bond without a link check uses a failed NIC",
        LinkChange::SetUp(_) => "it is down",
        _ => return None,
    })
}
