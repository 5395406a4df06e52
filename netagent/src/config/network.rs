//! Networks: what a VM that is plugged into one may send and receive.

use netagent_common::vlan::Vid;

use super::{
    at::{At, List},
    error::{Fault, Place},
    name::NetworkName,
    qinq, raw, security,
    segment::{self, Segment},
    value::Native,
};
use crate::{
    state::{Admit, FastPath, PriorityTags, Role, Security},
    vids::VidSet,
};

/// A network whose parts were checked.
pub struct Network<'a> {
    /// Its name.
    pub name: String,
    /// Where the file has it.
    pub place: Place,
    /// The cluster network that it is part of.
    pub segment: &'a Segment,
    /// The policy of its ports.
    pub policy: Policy,
    /// What its ports check.
    pub security: Security,
    /// Which way known unicast goes to its ports.
    pub fast_path: FastPath,
}

impl Network<'_> {
    /// The VLAN of a QinQ network whose tag on the wire is an S-tag.
    pub fn service(&self) -> Option<Vid> {
        self.policy.pvid.filter(|_| self.policy.s_tag)
    }
}

/// What a port of a network may do: the part of `state::Port` that the network decides.
pub struct Policy {
    /// Access, trunk or tunnel.
    pub role: Role,
    /// VID of untagged frames.
    pub pvid: Option<Vid>,
    /// Whether its frames leave tagged.
    pub pvid_tagged: bool,
    /// All VIDs.
    pub vids: VidSet,
    /// Acceptable frame types.
    pub admit: Admit,
    /// Whether untagged frames show their priority.
    pub priority_tags: PriorityTags,
    /// Of QinQ: the VIDs inside the service VLAN.
    pub customer_vids: VidSet,
    /// Of QinQ: whether the service tag is an S-tag on the wire.
    pub s_tag: bool,
}

/// Checks a network.
pub fn network<'a>(
    name: &At<NetworkName>,
    raw: raw::Network,
    segments: &'a [Segment],
) -> Result<Network<'a>, Fault> {
    let raw::Network {
        cluster_network,
        vlan,
        trunk,
        native,
        native_tagged,
        qinq,
        customer_vids,
        tpid,
        admit,
        priority_tags,
        security,
        fast_path,
    } = raw;
    let Some(segment) =
        segments.iter().find(|segment| segment.name.value.0 == cluster_network.value.0)
    else {
        let names: Vec<_> = segments.iter().map(|segment| segment.name.value.0.as_str()).collect();
        return Err(cluster_network.fault(format!(
            "there is no cluster network {:?}; {}",
            cluster_network.value.0,
            choices(&names)
        )));
    };
    if let Some(place) = [
        vlan.as_ref().map(|it| it.place),
        trunk.as_ref().map(|it| it.place),
        qinq.as_ref().map(|it| it.place),
    ]
    .into_iter()
    .flatten()
    .nth(1)
    {
        return Err(Fault::new(
            place,
            "a network has one of vlan, trunk and qinq; remove the others",
        ));
    }
    let only_of = |key: &str, place: Option<Place>| match place {
        Some(place) => Err(Fault::new(place, format!("goes with {key} only; remove it"))),
        None => Ok(()),
    };
    if trunk.is_none() {
        let tagged = native_tagged.as_ref().map(|tagged| tagged.place);
        only_of("trunk", native.as_ref().map(|native| native.place).or(tagged))?;
    }
    if qinq.is_none() {
        let vids = customer_vids.as_ref().map(|vids| vids.place);
        only_of("qinq", vids.or(tpid.as_ref().map(|tpid| tpid.place)))?;
    }
    let mut policy = match (vlan, trunk, qinq) {
        (_, Some(trunk), _) => trunk_policy(&trunk, native, native_tagged, admit)?,
        (_, _, Some(service)) => qinq::policy(&service, customer_vids, tpid, admit, segment)?,
        (vlan, None, None) => {
            let vid = vlan.map(|vlan| vlan.value).or(segment.native()).ok_or_else(|| {
                name.fault(format!(
                    "needs vlan, trunk or qinq: the uplink of {} has native: none, so nothing is untagged",
                    cluster_network.value.0
                ))
            })?;
            access_policy(vid, admit)?
        }
    };
    if let Some(tags) = priority_tags {
        let untags = policy.pvid.is_some() && !policy.pvid_tagged;
        if tags.value != PriorityTags::Never && (!untags || policy.role == Role::Tunnel) {
            return Err(tags
                .fault("needs frames that reach the VM untagged: a vlan, or a trunk with native"));
        }
        policy.priority_tags = tags.value;
    }
    let security = security::of_network(security)?;
    let fast_path = fast_path.map_or(segment.fast_path, |path| path.value);
    Ok(Network {
        name: name.value.0.clone(),
        place: name.place,
        segment,
        policy,
        security,
        fast_path,
    })
}

fn access_policy(vid: Vid, admit: Option<At<Admit>>) -> Result<Policy, Fault> {
    if let Some(admit) = admit.as_ref().filter(|admit| admit.value == Admit::Tagged) {
        return Err(admit.fault(
            "\"tagged\" would shut a network of one VLAN, whose VMs send untagged; use a trunk",
        ));
    }
    Ok(Policy {
        role: Role::Access,
        pvid: Some(vid),
        pvid_tagged: false,
        vids: VidSet::from_iter([vid]),
        // 802.1Q-tagged frames from an access port are how a VM hops VLANs.
        admit: admit.map_or(Admit::UntaggedAndPriority, |admit| admit.value),
        priority_tags: PriorityTags::Never,
        customer_vids: VidSet::default(),
        s_tag: false,
    })
}

fn trunk_policy(
    trunk: &List<VidSet>,
    native: Option<At<Native>>,
    native_tagged: Option<At<bool>>,
    admit: Option<At<Admit>>,
) -> Result<Policy, Fault> {
    let mut vids: VidSet = trunk.items.iter().flat_map(|set| set.value.iter()).collect();
    if vids.is_empty() {
        return Err(trunk.fault("is empty; list its VIDs (\"200-299,500\")"));
    }
    let (pvid, pvid_tagged) = segment::native_vid(native, native_tagged, None)?;
    if let Some(admit) =
        admit.as_ref().filter(|admit| admit.value == Admit::UntaggedAndPriority && pvid.is_none())
    {
        return Err(admit.fault(
            "\"untagged-and-priority\" would shut a trunk without native; add native, or remove it",
        ));
    }
    vids.extend(pvid);
    let admit = admit.map_or(Admit::All, |admit| admit.value);
    Ok(Policy {
        role: Role::Trunk,
        pvid,
        pvid_tagged,
        vids,
        admit,
        priority_tags: PriorityTags::Never,
        customer_vids: VidSet::default(),
        s_tag: false,
    })
}

/// The names that would have been right.
pub fn choices(names: &[&str]) -> String {
    /// More than this is no help.
    const SHOWN: usize = 8;
    match names {
        [] => "none is defined".to_owned(),
        some if some.len() <= SHOWN => format!("defined: {}", some.join(", ")),
        some => format!("defined: {} and {} more", some[..SHOWN].join(", "), some.len() - SHOWN),
    }
}
