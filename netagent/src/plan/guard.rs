//! Which steps would touch the node's own network.

use super::{Plan, View};
use crate::{
    change::{Change, DatapathChange, LinkChange},
    names::IfName,
    state::Kind,
};

/// Names the links that carry the node and would be altered. What only adds or restores is not guarded.
pub fn check(view: &View<'_>, plan: &mut Plan) {
    let guarded = plan.changes.iter().filter_map(|change| match change {
        Change::Link(change) => altered(view, change),
        Change::Datapath(DatapathChange::Forget(name)) => Some(name),
        Change::Datapath(_) => None,
    });
    plan.guarded = guarded.filter(|name| view.carries_the_node(name)).cloned().collect();
}

/// The link that a step alters, as opposed to adding to it or putting back what was lost.
fn altered<'a>(view: &View<'a>, change: &'a LinkChange) -> Option<&'a IfName> {
    match change {
        LinkChange::Delete(name)
        | LinkChange::SetBondOption(name, _)
        | LinkChange::SetMtu(name, _)
        | LinkChange::SetTxqlen(name, _)
        | LinkChange::SetMac(name, _)
        | LinkChange::CopyMac(name, _)
        | LinkChange::SetDown(name)
        | LinkChange::SetFiltering(name, _)
        | LinkChange::SetDefaultPvid(name, _)
        | LinkChange::RemoveSelfVid(name, _)
        | LinkChange::RemoveAddress(name, _) => Some(name),
        // A bond that loses a member is what changes; a port that leaves its bridge changes itself.
        LinkChange::Release(name) => {
            let controller = view.observed.link(name).and_then(|link| link.controller.as_ref());
            match controller.and_then(|of| Some((of, view.observed.link(of)?))) {
                Some((bond, link)) if matches!(link.kind, Kind::Bond(_)) => Some(bond),
                _ => Some(name),
            }
        }
        // A NIC that becomes a member or a port loses its own addresses' way out.
        LinkChange::AddMember(name, _) | LinkChange::AddPort(name, _) => {
            let link = view.observed.link(name)?;
            let in_use = !link.addresses.is_empty() || view.observed.default_routes.contains(name);
            in_use.then_some(name)
        }
        LinkChange::AddBond(..)
        | LinkChange::AddBridge(..)
        | LinkChange::AddVlan(..)
        | LinkChange::SetUp(_)
        | LinkChange::AddVids(..)
        // The VIDs of the node itself are in every allow-list of its uplink.
        | LinkChange::RemoveVids(..)
        | LinkChange::AddSelfVid(..)
        | LinkChange::AddAddress(..) => None,
    }
}

impl View<'_> {
    /// Whether a link exists and is protected, or has the node's way out or an address of its own.
    fn carries_the_node(&self, name: &IfName) -> bool {
        let Some(link) = self.observed.link(name) else { return false };
        let ours = self.desired.hosts.contains_key(name) && !self.desired.protected.contains(name);
        self.desired.protected.contains(name)
            || is_mgmt(name)
            || self.observed.default_routes.contains(name)
            || !ours && !link.addresses.is_empty()
    }
}

/// `mgmt-br`, `mgmt-bo` and `mgmt-br.<vid>` are protected even where the file has lost its `mgmt`.
fn is_mgmt(name: &IfName) -> bool {
    let name = name.as_str();
    name == "mgmt-bo" || name == "mgmt-br" || name.starts_with("mgmt-br.")
}
