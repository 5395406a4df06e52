//! Networks: what the ports of a network may send and receive.

use netagent_common::vlan::Vid;

use super::{
    items::{Native, NetworkIntent},
    problem::{Problem, Site},
    qinq, security,
    segment::{self, Segment},
};
use crate::{
    state::{Admit, FastPath, PriorityTags, Role, Security},
    vids::VidSet,
};

/// A network that has passed its checks.
pub struct Network {
    /// The name.
    pub name: String,
    /// The item.
    pub site: Site,
    /// The name of its cluster network.
    pub segment: String,
    /// The policy of its ports.
    pub policy: Policy,
    /// The checks of its ports.
    pub security: Security,
    /// The path of known unicast frames to its ports.
    pub fast_path: FastPath,
}

impl Network {
    /// The service VLAN, if an S-tag identifies it on the wire.
    pub fn service(&self) -> Option<Vid> {
        self.policy.pvid.filter(|_| self.policy.s_tag)
    }
}

/// The part of `state::Port` that the network decides.
pub struct Policy {
    /// Access, trunk or tunnel.
    pub role: Role,
    /// VID of untagged frames.
    pub pvid: Option<Vid>,
    /// Whether frames of the PVID leave tagged.
    pub pvid_tagged: bool,
    /// All VIDs.
    pub vids: VidSet,
    /// Acceptable frame types.
    pub admit: Admit,
    /// Whether untagged frames show their priority.
    pub priority_tags: PriorityTags,
    /// The VIDs inside the service VLAN of a QinQ network.
    pub customer_vids: VidSet,
    /// Whether an S-tag identifies the service VLAN on the wire.
    pub s_tag: bool,
}

/// Checks a network of a cluster network.
pub fn network(site: &Site, intent: &NetworkIntent, segment: &Segment) -> Result<Network, Problem> {
    check_keys(intent)?;
    let mut policy = match (intent.vlan, &intent.trunk, intent.qinq) {
        (_, Some(trunk), _) => trunk_policy(trunk, intent)?,
        (_, _, Some(service)) => qinq::policy(service, intent, segment)?,
        (vlan, None, None) => {
            let vid = vlan.or(segment.native()).ok_or_else(|| {
                let text = format!(
                    "needs vlan, trunk or qinq: the uplink of {} has native: none, so no frame \
                     is untagged",
                    segment.name
                );
                Problem::new("", text)
            })?;
            access_policy(vid, intent.admit)?
        }
    };
    if let Some(tags) = intent.priority_tags {
        let untags = policy.pvid.is_some() && !policy.pvid_tagged;
        if tags != PriorityTags::Never && (!untags || policy.role == Role::Tunnel) {
            return Err(Problem::new(
                "priorityTags",
                "needs frames that reach the VM untagged: a vlan, or a trunk with native",
            ));
        }
        policy.priority_tags = tags;
    }
    Ok(Network {
        name: intent.name.clone(),
        site: site.clone(),
        segment: segment.name.clone(),
        policy,
        security: security::of_network(&intent.security)?,
        fast_path: intent.fast_path.unwrap_or(segment.fast_path),
    })
}

/// Checks which keys are there together.
fn check_keys(intent: &NetworkIntent) -> Result<(), Problem> {
    let kinds = [
        ("vlan", intent.vlan.is_some()),
        ("trunk", intent.trunk.is_some()),
        ("qinq", intent.qinq.is_some()),
    ];
    if let Some((key, _)) = kinds.into_iter().filter(|(_, given)| *given).nth(1) {
        return Err(Problem::new(
            key,
            "a network has one of vlan, trunk and qinq; remove the others",
        ));
    }
    for (key, given, owner, owner_given) in [
        ("native", intent.native.is_some(), "trunk", intent.trunk.is_some()),
        ("nativeTagged", intent.native_tagged.is_some(), "trunk", intent.trunk.is_some()),
        ("customerVids", intent.customer_vids.is_some(), "qinq", intent.qinq.is_some()),
        ("tpid", intent.tpid.is_some(), "qinq", intent.qinq.is_some()),
    ] {
        if given && !owner_given {
            return Err(Problem::new(key, format!("goes with {owner} only; remove it")));
        }
    }
    Ok(())
}

fn access_policy(vid: Vid, admit: Option<Admit>) -> Result<Policy, Problem> {
    if admit == Some(Admit::Tagged) {
        return Err(Problem::new(
            "admit",
            "\"tagged\" would drop all frames in a network of one VLAN, whose VMs send untagged \
             frames; use a trunk",
        ));
    }
    Ok(Policy {
        role: Role::Access,
        pvid: Some(vid),
        pvid_tagged: false,
        vids: VidSet::from_iter([vid]),
        // A VM could hop VLANs by tagged frames from an access port.
        admit: admit.unwrap_or(Admit::UntaggedAndPriority),
        priority_tags: PriorityTags::Never,
        customer_vids: VidSet::default(),
        s_tag: false,
    })
}

fn trunk_policy(trunk: &VidSet, intent: &NetworkIntent) -> Result<Policy, Problem> {
    if trunk.is_empty() {
        return Err(Problem::new("trunk", "is empty; list its VIDs (\"200-299,500\")"));
    }
    let pvid_tagged = intent.native_tagged.unwrap_or(false);
    segment::check_native("nativeTagged", intent.native, pvid_tagged)?;
    let pvid = intent.native.and_then(|Native(vid)| vid);
    if intent.admit == Some(Admit::UntaggedAndPriority) && pvid.is_none() {
        return Err(Problem::new(
            "admit",
            "\"untagged-and-priority\" would drop all frames in a trunk without native; add \
             native, or remove it",
        ));
    }
    Ok(Policy {
        role: Role::Trunk,
        pvid,
        pvid_tagged,
        vids: trunk.iter().chain(pvid).collect(),
        admit: intent.admit.unwrap_or(Admit::All),
        priority_tags: PriorityTags::Never,
        customer_vids: VidSet::default(),
        s_tag: false,
    })
}
