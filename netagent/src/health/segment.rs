//! Segments: their NICs and bonds.

use std::collections::BTreeSet;

use super::{Evidence, SegmentHealth, bond};
use crate::{
    names::IfName,
    state::{Code, Finding, Kind, Role, State, Subject},
};

/// Judges the segments, and adds the findings about their uplinks.
pub fn judge(evidence: &Evidence<'_>, findings: &mut Vec<Finding>) -> Vec<SegmentHealth> {
    let mut segments = Vec::new();
    for (name, bridge) in &evidence.desired.bridges {
        let uplink = evidence.desired.ports.iter().find_map(|(device, port)| match &port.role {
            Role::Uplink { nics, .. } if port.bridge == *name => Some((device, nics)),
            _ => None,
        });
        let mut segment = SegmentHealth {
            name: bridge.segment.clone(),
            state: State::Ready,
            bridge: name.to_string(),
            uplink: None,
            nics: BTreeSet::new(),
            nics_missing: BTreeSet::new(),
            nics_present: BTreeSet::new(),
            nics_up: BTreeSet::new(),
        };
        if let Some((device, nics)) = uplink {
            let text =
                |nics: &mut dyn Iterator<Item = &IfName>| nics.map(ToString::to_string).collect();
            let (present, up) = evidence.nics(device, name, nics);
            segment.uplink = Some(device.to_string());
            segment.nics = text(&mut nics.iter());
            let is_missing = |nic: &&IfName| evidence.links.link(nic).is_none();
            segment.nics_missing = text(&mut nics.iter().filter(is_missing));
            segment.nics_present = text(&mut present.iter().copied());
            segment.nics_up = text(&mut up.iter().copied());
            let subject = evidence.desired.segment_of(name);
            if !evidence.waits(&subject, device) {
                findings.extend(uplink_findings(evidence, &subject, device, name));
            }
        }
        segments.push(segment);
    }
    segments.sort_by(|one, other| one.name.cmp(&other.name));
    segments
}

fn uplink_findings(
    evidence: &Evidence<'_>,
    subject: &Subject,
    device: &IfName,
    bridge: &IfName,
) -> Vec<Finding> {
    let down = |text: String, remedy: &str| {
        Finding::new(subject.clone(), Code::SegmentDown, format!("{device}: {text}"), remedy)
    };
    let Some(link) = evidence.links.link(device) else {
        return vec![down("the uplink does not exist".to_owned(), "")];
    };
    let mut findings = match &link.kind {
        Kind::Bond(state) => {
            let members = evidence.links.ports_of(device);
            let members: Vec<_> =
                members.filter_map(|(nic, link)| Some((nic, link.member.as_ref()?))).collect();
            bond::findings(subject, device, (link, state), &members)
        }
        _ if link.carrier => vec![],
        _ => {
            let remedy = "check the cable and the switch's port";
            vec![down("the uplink has no link".to_owned(), remedy)]
        }
    };
    if link.controller.as_ref() != Some(bridge) {
        findings.push(down(format!("the uplink is not a port of {bridge}"), ""));
    }
    findings
}

impl Evidence<'_> {
    /// The NICs of an uplink that exist and belong to it, and those that have a link.
    fn nics<'a>(
        &self,
        uplink: &IfName,
        bridge: &IfName,
        nics: &'a BTreeSet<IfName>,
    ) -> (BTreeSet<&'a IfName>, BTreeSet<&'a IfName>) {
        let link = |nic: &IfName| self.links.link(nic);
        let belongs = |nic: &&IfName| {
            // An uplink without a bond is its own NIC.
            let controller = if *nic == uplink { bridge } else { uplink };
            link(nic).is_some_and(|link| link.controller.as_ref() == Some(controller))
        };
        let present: BTreeSet<_> = nics.iter().filter(belongs).collect();
        let has_link = |nic: &&IfName| {
            link(nic).is_some_and(|link| match &link.member {
                Some(member) => member.mii_up,
                None => link.up && link.carrier,
            })
        };
        let up = present.iter().copied().filter(has_link).collect();
        (present, up)
    }
}
