//! Networks: what a VM that is plugged into one may send and receive.

use netagent_common::vlan::Vid;

use super::{
    at::{At, List},
    error::Fault,
    name::NetworkName,
    raw,
    segment::{self, Segment},
    value::Native,
};
use crate::{
    state::{Admit, Role},
    vids::VidSet,
};

/// A network whose parts were checked.
pub struct Network<'a> {
    /// Its name.
    pub name: String,
    /// The cluster network that it is part of.
    pub segment: &'a Segment,
    /// The policy of its ports.
    pub policy: Policy,
}

/// What a port of a network may do: the part of `state::Port` that the network decides.
pub struct Policy {
    /// Access or trunk.
    pub role: Role,
    /// VID of untagged frames.
    pub pvid: Option<Vid>,
    /// Whether its frames leave tagged.
    pub pvid_tagged: bool,
    /// All VIDs.
    pub vids: VidSet,
    /// Acceptable frame types.
    pub admit: Admit,
}

/// Checks a network.
pub fn network<'a>(
    name: &At<NetworkName>,
    raw: raw::Network,
    segments: &'a [Segment],
) -> Result<Network<'a>, Fault> {
    let raw::Network { cluster_network, vlan, trunk, native, native_tagged, admit } = raw;
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
    let policy = match (vlan, trunk) {
        (Some(_), Some(trunk)) => {
            return Err(trunk.fault("a network has either vlan or trunk; remove one"));
        }
        (None, Some(trunk)) => trunk_policy(&trunk, native, native_tagged, admit)?,
        (vlan, None) => {
            let place =
                native.map(|native| native.place).or(native_tagged.map(|tagged| tagged.place));
            if let Some(place) = place {
                return Err(Fault::new(place, "goes with trunk only; remove it"));
            }
            let vid = vlan.map(|vlan| vlan.value).or(segment.native()).ok_or_else(|| {
                name.fault(format!(
                    "needs a vlan or trunk: the uplink of {} has native: none, so nothing is untagged",
                    cluster_network.value.0
                ))
            })?;
            access_policy(vid, admit)?
        }
    };
    Ok(Network { name: name.value.0.clone(), segment, policy })
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
    Ok(Policy { role: Role::Trunk, pvid, pvid_tagged, vids, admit })
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
