//! The health of the node, its segments and its ports.

use std::{collections::BTreeMap, fmt};

use super::family::Families;
use crate::{
    health::{Health, SegmentHealth},
    state::{Code, State},
};

/// The most subjects that have a series of their own.
const MAX_SUBJECTS: usize = 100;

/// Writes the health.
pub fn encode(families: &mut Families<'_>, health: &Health) -> fmt::Result {
    families.gauge(
        "netagent_ready",
        "Whether /readyz answers 200; its body gives the reasons if it does not",
        &u32::from(health.is_ready()),
    )?;
    let mut counts: BTreeMap<Code, u64> = BTreeMap::new();
    for finding in &health.findings {
        *counts.entry(finding.code).or_default() += 1;
    }
    families.gauges(
        "netagent_problems",
        "Findings about the node, by severity and code (netagent status gives their text)",
        Code::ALL.iter().map(|code| {
            let labels =
                [("severity", code.severity().name().into()), ("code", code.name().into())];
            (labels, counts.get(code).copied().unwrap_or_default())
        }),
    )?;
    subjects(families, health)?;
    let nics = |count: fn(&SegmentHealth) -> usize| {
        let uplinks = health.segments.iter().filter(|segment| segment.uplink.is_some());
        uplinks.map(move |segment| {
            ([("segment", segment.name.as_str().into())], count(segment) as u64)
        })
    };
    families.gauges(
        "netagent_segment_nics_wanted",
        "NICs that the uplink of a segment is to have",
        nics(|segment| segment.nics.len()),
    )?;
    families.gauges(
        "netagent_segment_nics_present",
        "NICs that exist and belong to the uplink of a segment",
        nics(|segment| segment.nics_present.len()),
    )?;
    families.gauges(
        "netagent_segment_nics_up",
        "NICs of the uplink of a segment that have a link",
        nics(|segment| segment.nics_up.len()),
    )
}

/// One series for each segment and port that is not Ready, the worst first, up to a bound.
fn subjects(families: &mut Families<'_>, health: &Health) -> fmt::Result {
    let segments = health.segments.iter().map(|it| (it.state, "segment", it.name.as_str()));
    let ports = health.ports.iter().map(|it| (it.state, "port", it.device.as_str()));
    let mut bad: Vec<_> =
        segments.chain(ports).filter(|(state, ..)| *state != State::Ready).collect();
    bad.sort_by_key(|(state, kind, name)| (std::cmp::Reverse(*state), *kind, *name));
    // Several sources may ask for a port that none of them can have.
    bad.dedup();
    let omitted = bad.len().saturating_sub(MAX_SUBJECTS);
    families.gauges(
        "netagent_unwell",
        "Segments and ports that are not Ready, with their state; always 1",
        bad.into_iter().take(MAX_SUBJECTS).map(|(state, kind, name)| {
            let labels = [
                ("subject", kind.into()),
                ("name", name.into()),
                ("state", state.to_string().to_lowercase().into()),
            ];
            (labels, 1)
        }),
    )?;
    families.gauge(
        "netagent_unwell_omitted",
        "Segments and ports that are not Ready and have no series in netagent_unwell",
        &(omitted as u64),
    )
}
