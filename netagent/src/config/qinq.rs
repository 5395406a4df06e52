//! QinQ networks (IEEE 802.1ad, "dot1q-tunnel"): a customer's VLANs inside one service VLAN.

use netagent_common::vlan::Vid;

use super::{
    at::{At, List},
    error::{Fault, Place},
    network::{Network, Policy},
    segment::Segment,
    value::Tpid,
};
use crate::{
    state::{Admit, PriorityTags, Role},
    vids::VidSet,
};

/// Length of a tag in bytes.
const TAG: u32 = 4;
/// The MTU of a port that names none, in bytes.
pub const USUAL_MTU: u32 = 1500;

/// The policy of the network's ports.
pub fn policy(
    service: &At<Vid>,
    customer_vids: Option<List<VidSet>>,
    tpid: Option<At<Tpid>>,
    admit: Option<At<Admit>>,
    segment: &Segment,
) -> Result<Policy, Fault> {
    let customers: VidSet = match customer_vids {
        None => (1..).map_while(Vid::new).collect(),
        Some(list) => {
            let vids: VidSet = list.items.iter().flat_map(|set| set.value.iter()).collect();
            if vids.is_empty() {
                return Err(list.fault("is empty; list the customer's VIDs, or remove it for all"));
            }
            vids
        }
    };
    if segment.native() == Some(service.value) && segment.uplink.is_some() {
        return Err(service.fault(format!(
            "{} is the native VLAN of cluster network {}, which is untagged on the wire; take another",
            service.value, segment.name.value.0
        )));
    }
    Ok(Policy {
        role: Role::Tunnel,
        pvid: Some(service.value),
        pvid_tagged: false,
        vids: VidSet::from_iter([service.value]),
        admit: admit.map_or(Admit::All, |admit| admit.value),
        priority_tags: PriorityTags::Never,
        customer_vids: customers,
        s_tag: tpid.is_none_or(|tpid| tpid.value == Tpid::STag),
    })
}

/// A frame of a customer with its own tag must fit on the uplink.
pub fn check_mtu(network: &Network<'_>, place: Place, mtu: u32) -> Result<(), Fault> {
    let Some(most) = network.segment.mtu().filter(|most| *most < mtu + TAG) else { return Ok(()) };
    let cluster_network = &network.segment.name.value.0;
    let complaint = format!(
        "frames of {mtu} bytes and the customer's tag need {} bytes, and cluster network {cluster_network} has {most}; \
         raise uplink.mtu there, or give the port a lower mtu",
        mtu + TAG
    );
    Err(Fault::new(place, complaint))
}

/// On one wire a VID is either a service VLAN, told by its S-tag, or a VLAN.
pub fn check_services(networks: &[Network<'_>]) -> Result<(), Fault> {
    for network in networks {
        let Some(service) = network.service() else { continue };
        let host = network.segment.host.as_ref().and_then(|host| host.vlan.as_ref());
        if host.is_some_and(|vlan| vlan.value == service) {
            let complaint = format!("its service VLAN {service} is the node's own; take another");
            return Err(Fault::new(network.place, complaint));
        }
        let clash = networks.iter().find(|other| {
            other.segment.name.value.0 == network.segment.name.value.0
                && other.service() != Some(service)
                && other.policy.vids.contains(service)
        });
        if let Some(other) = clash {
            let complaint = format!(
                "its service VLAN {service} is a VLAN of network {} too; take another for one of them",
                other.name
            );
            return Err(Fault::new(network.place, complaint));
        }
    }
    Ok(())
}
