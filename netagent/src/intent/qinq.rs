//! QinQ networks (IEEE 802.1ad, "dot1q-tunnel"): a customer's VLANs inside one service VLAN.

use netagent_common::vlan::Vid;

use super::{
    items::{NetworkIntent, Tpid},
    network::{Network, Policy},
    problem::Problem,
    segment::Segment,
};
use crate::{
    state::{Admit, PriorityTags, Role},
    vids::VidSet,
};

/// The policy of the network's ports.
pub fn policy(service: Vid, intent: &NetworkIntent, segment: &Segment) -> Result<Policy, Problem> {
    let customer_vids = match &intent.customer_vids {
        None => (1..).map_while(Vid::new).collect(),
        Some(vids) if vids.is_empty() => {
            return Err(Problem::new(
                "customerVids",
                "is empty; list the customer's VIDs, or remove it for all",
            ));
        }
        Some(vids) => vids.clone(),
    };
    if segment.native() == Some(service) && segment.uplink.is_some() {
        let text = format!(
            "{service} is the native VLAN of cluster network {}, which is untagged on the wire; \
             use another",
            segment.name
        );
        return Err(Problem::new("qinq", text));
    }
    Ok(Policy {
        role: Role::Tunnel,
        pvid: Some(service),
        pvid_tagged: false,
        vids: VidSet::from_iter([service]),
        admit: intent.admit.unwrap_or(Admit::All),
        priority_tags: PriorityTags::Never,
        customer_vids,
        s_tag: intent.tpid.is_none_or(|tpid| tpid == Tpid::STag),
    })
}

/// On one wire a VID is either a service VLAN, which an S-tag identifies, or a VLAN: checks a
/// network against the accepted networks and hosts of its cluster network.
pub fn check_service<'a>(
    network: &Network,
    segment: &Segment,
    others: impl Iterator<Item = &'a Network>,
) -> Result<(), Problem> {
    if let Some(service) = network.service()
        && let Some(site) = segment.host_vlans.get(&service)
    {
        let text = format!("its service VLAN {service} is the node's own; use another");
        return Err(Problem::clash("", text, site));
    }
    for other in others.filter(|other| other.segment == network.segment) {
        let name = &other.name;
        if let Some(service) = network.service().filter(|service| {
            other.service() != Some(*service) && other.policy.vids.contains(*service)
        }) {
            let text = format!(
                "its service VLAN {service} is a VLAN of network {name} too; use another for one \
                 of them"
            );
            return Err(Problem::new("", text));
        }
        if let Some(service) = other.service().filter(|service| {
            network.service() != Some(*service) && network.policy.vids.contains(*service)
        }) {
            let text = format!(
                "its VLAN {service} is the service VLAN of network {name} too; use another for \
                 one of them"
            );
            return Err(Problem::new("", text));
        }
    }
    Ok(())
}
