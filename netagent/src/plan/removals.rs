//! What the file does not name any more. Only what the agent created is deleted.

use super::{Plan, View};
use crate::{
    change::{DatapathChange, LinkChange},
    names::IfName,
    state::{Kind, Link},
};

/// Ports with a policy that are in the file no more: out of the bridge first, so that they are never open.
pub fn ports(view: &View<'_>, plan: &mut Plan) {
    for name in view.datapath.ports.keys().filter(|name| !view.desired.ports.contains_key(*name)) {
        release(view, name, plan);
        plan.datapath(DatapathChange::Forget(name.clone()));
    }
}

/// A device that was renamed holds the programs of a port that is another device by now: it leaves the bridge, and loses them. Of all
/// such ports before any of them gets its policy: two may have exchanged their names.
pub fn renamed(view: &View<'_>, name: &IfName, plan: &mut Plan) {
    let (Some(link), Some((device, held))) = (view.observed.link(name), view.device_of(name))
    else {
        return;
    };
    if held.index != link.index {
        plan.warnings
            .push(format!("{device} was {name} when it got its policy: it leaves the bridge"));
        release(view, name, plan);
        plan.datapath(DatapathChange::Forget(name.clone()));
    }
}

/// Takes the device that a policy is for out of its bridge, whatever it is called by now.
fn release(view: &View<'_>, name: &IfName, plan: &mut Plan) {
    if let Some((device, link)) = view.device_of(name) {
        let on_bridge = link.controller.as_ref().and_then(|of| view.observed.link(of));
        if on_bridge.is_some_and(|bridge| matches!(bridge.kind, Kind::Bridge(_))) {
            plan.link(LinkChange::Release(device.clone()));
        }
    }
}

/// Links that the agent created and the file does not name: VLAN interfaces, then bridges, then bonds.
pub fn links(view: &View<'_>, plan: &mut Plan) {
    let unwanted = |(name, link): &(&IfName, &Link)| link.is_owned() && !view.wants(name);
    let links: Vec<_> = view.observed.links.iter().filter(unwanted).collect();
    let of_kind = |wanted: fn(&Kind) -> bool| {
        links.iter().filter(move |(_, link)| wanted(&link.kind)).map(|(name, _)| (*name).clone())
    };
    for name in of_kind(|kind| matches!(kind, Kind::Vlan { .. })) {
        plan.link(LinkChange::Delete(name));
    }
    for name in of_kind(|kind| matches!(kind, Kind::Bridge(_))) {
        plan.link(LinkChange::Delete(name));
    }
    for name in of_kind(|kind| matches!(kind, Kind::Bond(_))) {
        let members: Vec<_> = view.observed.ports_of(&name).map(|(nic, _)| nic.clone()).collect();
        plan.impact.push(format!("bond {name} is deleted; NICs released: {}", members.len()));
        for nic in members {
            plan.link(LinkChange::Release(nic));
        }
        plan.link(LinkChange::Delete(name));
    }
}

impl View<'_> {
    /// The device that holds the programs of a port: the one with the port's index, which may have been renamed.
    pub fn device_of(&self, name: &IfName) -> Option<(&IfName, &Link)> {
        let index = self.datapath.ports.get(name)?.ifindex;
        self.observed.links.iter().find(|(_, link)| link.index == index)
    }

    fn wants(&self, name: &IfName) -> bool {
        let desired = self.desired;
        desired.bonds.contains_key(name)
            || desired.bridges.contains_key(name)
            || desired.hosts.contains_key(name)
    }
}
