//! Removes parts that are not desired any more. Only links that the agent created are deleted.

use super::{Plan, Unit, View, give_back, hand_back};
use crate::{
    change::{DatapathChange, LinkChange},
    names::IfName,
    state::{Code, Kind, Link, Part, Subject, UnitId},
};

/// Removes ports that have a policy and are not desired. They leave the bridge before they lose
/// their programs, so that they are never unfiltered.
pub fn ports(view: &View<'_>, plan: &mut Plan) {
    for name in view.datapath.ports.keys().filter(|name| !view.desired.ports.contains_key(*name)) {
        plan.push(former_port(view, name));
    }
}

/// Removes a port whose device was renamed, if another device now has the port's name, or if the
/// device is another port by its new name. The renamed device leaves the bridge and loses its
/// programs. This happens for all such ports before any of
/// them gets a policy, because two devices may have exchanged their names.
pub fn renamed(view: &View<'_>, name: &IfName, plan: &mut Plan) {
    let Some((device, held)) = view.device_of(name) else { return };
    let is_replaced = if let Some(link) = view.observed.link(name) {
        held.index != link.index
    } else {
        let has_policy = view.datapath.ports.contains_key(device);
        view.desired.ports.contains_key(device) && !has_policy
    };
    if is_replaced {
        let mut unit = former_port(view, name);
        unit.finding(
            Code::Renamed,
            format!("{device} was {name} when it got its policy: it leaves the bridge"),
            "",
        );
        plan.push(unit);
    }
}

fn former_port(view: &View<'_>, name: &IfName) -> Unit {
    let known = view.datapath.ports.get(name);
    let is_uplink = known.is_some_and(|port| port.policy.mode() == "uplink");
    let subject = if is_uplink { Subject::Node } else { Subject::Port(name.clone()) };
    let mut unit = Unit::new(UnitId::new(Part::FormerPort, name), subject);
    // The device of the policy, under its present name.
    match view.device_of(name) {
        Some((device, link)) => give_back::port(view, name, device, link, &mut unit),
        None => unit.datapath(view, DatapathChange::Forget(name.clone())),
    }
    unit
}

/// Deletes undesired links that the agent created: VLAN interfaces, then bridges, then bonds.
pub fn links(view: &View<'_>, plan: &mut Plan) {
    let order = |link: &Link| match link.kind {
        Kind::Vlan { .. } => Some(0),
        Kind::Bridge(_) => Some(1),
        Kind::Bond(_) => Some(2),
        Kind::Other(_) => None,
    };
    let unwanted = |(name, link): &(&IfName, &Link)| {
        let is_given_back = view.observed.originals.get(*name).is_some_and(|it| it.vlan.is_some());
        link.is_owned() && !view.wants(name) && !view.is_replaced(name) && !is_given_back
    };
    let mut links: Vec<_> = view
        .observed
        .links
        .iter()
        .filter(unwanted)
        .filter_map(|(name, link)| Some((order(link)?, name, link)))
        .collect();
    links.sort_by_key(|(order, ..)| *order);
    for (_, name, link) in links {
        let mut unit = Unit::new(UnitId::new(Part::FormerLink, name), Subject::Node);
        hand_back::lost(view, name, link, &mut unit);
        if let Kind::Bond(_) = link.kind {
            let members: Vec<_> = view.observed.ports_of(name).map(|(nic, _)| nic).collect();
            unit.impact.push(format!("bond {name} is deleted; NICs released: {}", members.len()));
            for nic in members {
                unit.link(view, LinkChange::Release(nic.clone()));
            }
        }
        unit.link(view, LinkChange::Delete(name.clone()));
        plan.push(unit);
    }
}

impl View<'_> {
    /// The device that holds the programs of a port: the one with the policy's interface index. It
    /// may have been renamed.
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
