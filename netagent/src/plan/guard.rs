//! Which units would touch the node's own network, and so need the operator's confirmation.

use std::collections::BTreeSet;

use netagent_common::vlan::Vid;

use super::{Permission, Plan, Step, Unit, View};
use crate::{
    change::{Change, DatapathChange, LinkChange},
    names::IfName,
    state::{Code, Kind, Link, Part, Snooping, Subject, UnitId},
};

/// The cluster network that carries the node.
const MGMT: &str = "mgmt";

/// Finds the units that need confirmation. A segment of which one unit needs it is left as it is as
/// a whole: half of a change cuts the node off.
pub fn check(view: &View<'_>, permission: &Permission, plan: &mut Plan) {
    let mut waiting: Vec<(IfName, BTreeSet<IfName>)> = Vec::new();
    for unit in &mut plan.units {
        let restores = view.restores(unit, permission);
        let altered = unit.steps.iter().flat_map(|step| match &step.change {
            Change::Link(change) if restores && !view.was_plugged_in(change) => {
                in_use(view, change)
            }
            _ if restores => vec![],
            change => altered(view, change),
        });
        unit.touches = altered.filter(|name| view.carries_the_node(name)).collect();
        let cut_off = view.cuts_off_strangers(unit).filter(|_| !restores);
        let touched = unit.touches.iter().cloned();
        let guarded = touched.chain(view.torn_down(unit)).chain(cut_off).chain(view.kept(unit));
        unit.unconfirmed = guarded.filter(|name| !permission.confirmed.contains(name)).collect();
        if let Some(bridge) = view.bridge_of(&unit.id)
            && !unit.unconfirmed.is_empty()
        {
            waiting.push((bridge, unit.unconfirmed.clone()));
        }
    }
    for unit in &mut plan.units {
        // Drift of a unit whose own part has not changed is repaired meanwhile.
        if let Some(bridge) = view.bridge_of(&unit.id)
            && !view.restores(unit, permission)
        {
            let of_segment = waiting.iter().filter(|(other, _)| *other == bridge);
            unit.unconfirmed.extend(of_segment.flat_map(|(_, links)| links.clone()));
        }
        if unit.steps.is_empty() {
            unit.unconfirmed.clear();
        }
    }
    let id = |unit: &Unit| (!unit.unconfirmed.is_empty()).then(|| plan.change_id(&unit.subject));
    let ids: Vec<Option<String>> = plan.units.iter().map(id).collect();
    for (unit, id) in plan.units.iter_mut().zip(ids) {
        let Some(id) = id else { continue };
        let plugged = unit.steps.iter().filter_map(|step| match &step.change {
            Change::Link(change) => Some(in_use(view, change)),
            Change::Datapath(_) => None,
        });
        let lost: Vec<String> = plugged
            .flatten()
            .flat_map(|name| view.lost_with(&name))
            .map(|address| format!("{address} stops working; "))
            .collect();
        let names: Vec<_> = unit.unconfirmed.iter().map(ToString::to_string).collect();
        let confirm: Vec<_> = names.iter().map(|name| format!("--confirm {name}")).collect();
        unit.finding(
            Code::ConfirmationNeeded,
            match unit.subject {
                Subject::Node => format!("not done: {}", view.why_guarded(unit)),
                _ => format!("{} is left as it is: {}", unit.subject, view.why_guarded(unit)),
            },
            format!(
                "{}look at `netagent plan`; if the change is intended, netagent apply {} or \
                 netagent confirm {} or netagent confirm --change {id}",
                lost.concat(),
                confirm.join(" "),
                names.join(" ")
            ),
        );
    }
    block(plan);
}

/// Names the units that wait because a unit that they need waits.
fn block(plan: &mut Plan) {
    let waits =
        |unit: &&Unit| !unit.unconfirmed.is_empty() && unit.steps.iter().any(Step::is_needed);
    let waiting: BTreeSet<UnitId> =
        plan.units.iter().filter(waits).map(|unit| unit.id.clone()).collect();
    for unit in plan.units.iter_mut().filter(|unit| unit.unconfirmed.is_empty()) {
        if let Some(id) = unit.needs.intersection(&waiting).next().cloned() {
            let text = format!("{} waits for {id}, which waits for confirmation", unit.id);
            unit.finding(Code::Blocked, text, "");
        }
    }
}

/// The links that a change alters, as opposed to adding to them or restoring what was lost.
fn altered(view: &View<'_>, change: &Change) -> Vec<IfName> {
    match change {
        Change::Link(change) => altered_link(view, change),
        Change::Datapath(DatapathChange::Forget(name)) => vec![name.clone()],
        Change::Datapath(DatapathChange::SetPolicy(name, policy)) => {
            let old = view.datapath.ports.get(name).map(|port| port.policy.bridge_vids());
            let left = policy.bridge_vids();
            // Without a policy, a device passes every VLAN.
            let is_lost =
                |vid: Vid| !left.contains(vid) && old.as_ref().is_none_or(|old| old.contains(vid));
            view.interfaces_in(name, &is_lost)
        }
        Change::Datapath(_) => vec![],
    }
}

fn altered_link(view: &View<'_>, change: &LinkChange) -> Vec<IfName> {
    match change {
        // An address and a route without a lease would be those of somebody else.
        LinkChange::RemoveAddress(name, cidr) if view.is_leased(name, cidr) => vec![],
        LinkChange::RemoveRoute(route)
            if view.is_leased_route(route) || view.is_left_behind(route) =>
        {
            vec![]
        }
        LinkChange::Delete(name)
        | LinkChange::SetBondOption(name, _)
        | LinkChange::SetMtu(name, _)
        | LinkChange::SetTxqlen(name, _)
        // Without advertisements, the routes that come from them expire.
        | LinkChange::SetAcceptRa(name, 0)
        | LinkChange::SetMac(name, _)
        | LinkChange::CopyMac(name, _)
        | LinkChange::SetDown(name)
        | LinkChange::SetFiltering(name, _)
        | LinkChange::SetDefaultPvid(name, _)
        // Off, multicast reaches every port that it reached.
        | LinkChange::SetSnooping(name, Snooping::Vlan | Snooping::Bridge)
        | LinkChange::RemoveSelfVid(name, _)
        | LinkChange::RemoveAddress(name, _) => vec![name.clone()],
        // One that is there only for a part of the unit is not in use yet.
        LinkChange::RemoveRoute(route) if view.observed.routes.contains(route) => {
            vec![route.device.clone()]
        }
        LinkChange::RemoveNeighbour(neighbour)
            if view.observed.neighbours.contains(neighbour) =>
        {
            vec![neighbour.device.clone()]
        }
        // A bond that loses a member changes. A port that leaves its bridge changes itself.
        LinkChange::Release(name) => vec![view.bond_of(name).unwrap_or(name).clone()],
        LinkChange::AddMember(name, bond) => {
            let left = view.bond_of(name).filter(|left| *left != bond).cloned();
            left.into_iter().chain(in_use(view, change)).collect()
        }
        LinkChange::AddPort(name, _) => {
            let left = view.bond_of(name).cloned();
            left.into_iter().chain(in_use(view, change)).collect()
        }
        LinkChange::RemoveVids(name, first, last) => {
            view.interfaces_in(name, &|vid| (*first..=*last).contains(&vid))
        }
        LinkChange::AddBond(..)
        | LinkChange::AddBridge(..)
        | LinkChange::AddVlan(..)
        | LinkChange::SetAcceptRa(..)
        | LinkChange::HoldMtu(..)
        | LinkChange::SetAlias(..)
        | LinkChange::SetSnooping(..)
        | LinkChange::SetPromiscuous(..)
        | LinkChange::SetPortFlag(..)
        | LinkChange::SetGroupForward(..)
        | LinkChange::SetUp(_)
        | LinkChange::AddVids(..)
        | LinkChange::AddSelfVid(..)
        | LinkChange::AddAddress(..)
        | LinkChange::RestoreAddress(..)
        | LinkChange::CopyAddress(..)
        | LinkChange::Lease(..)
        | LinkChange::AddRoute(_)
        | LinkChange::RemoveRoute(_)
        | LinkChange::AddNeighbour(_)
        | LinkChange::RemoveNeighbour(_)
        | LinkChange::AwaitCarrier(_)
        | LinkChange::Resolve(..) => vec![],
    }
}

/// A NIC that becomes a member or a port, and that has addresses or routes, or carries links that
/// have some.
fn in_use(view: &View<'_>, change: &LinkChange) -> Vec<IfName> {
    let (LinkChange::AddMember(name, _) | LinkChange::AddPort(name, _)) = change else {
        return vec![];
    };
    view.is_lived_on(name).then(|| name.clone()).into_iter().collect()
}

impl View<'_> {
    /// A link that needs confirmation, with the reason.
    fn why(&self, name: &IfName) -> String {
        if self.is_former_port(name) && self.desired.keep_former_ports {
            format!("{name}, which may be in the list of added ports that was damaged")
        } else if self.carries_the_node(name) {
            format!("{name}, which carries the node's own network")
        } else {
            format!("{name}, whose ports that no source names lose VLANs")
        }
    }

    /// The port that a unit unplugs though a source that may have named it was damaged.
    fn kept(&self, unit: &Unit) -> Option<IfName> {
        let is_port = unit.id.part == Part::FormerPort && !self.is_uplink(&unit.id.device);
        let (device, _) = self.device_of(&unit.id.device).filter(|_| is_port)?;
        (self.desired.keep_former_ports && self.is_former_port(device)).then(|| device.clone())
    }

    /// Whether a device has the policy of a VM's port that no source names.
    pub fn is_former_port(&self, device: &IfName) -> bool {
        let Some(link) = self.observed.link(device) else { return false };
        self.datapath.ports.iter().any(|(name, port)| {
            port.ifindex == link.index
                && port.policy.mode() != "uplink"
                && !self.desired.ports.contains_key(name)
        })
    }

    /// Whether a change plugs in a device that was there before, by the policy that is for it: not
    /// another one that has its name now.
    fn was_plugged_in(&self, change: &LinkChange) -> bool {
        let (LinkChange::AddMember(name, _) | LinkChange::AddPort(name, _)) = change else {
            return false;
        };
        let Some(link) = self.observed.link(name) else { return false };
        self.datapath
            .ports
            .values()
            .any(|port| port.ifindex == link.index || port.policy.nics.contains(&link.index))
    }

    /// Whether a unit restores what somebody else changed, or continues a change that was allowed.
    fn restores(&self, unit: &Unit, permission: &Permission) -> bool {
        let id = match unit.id.part {
            // A foreign member of a bond that was as desired.
            Part::FormerMember => match self.bond_of(&unit.id.device) {
                Some(bond) => UnitId::new(Part::Bond, bond),
                None => return false,
            },
            // A NIC that was in its bond before. See `was_plugged_in` for another one of its name.
            Part::Takeover => {
                let mut bonds = self.desired.bonds.iter();
                match bonds.find(|(_, bond)| bond.members.contains(&unit.id.device)) {
                    Some((bond, _)) => UnitId::new(Part::Bond, bond),
                    None => return false,
                }
            }
            Part::FormerVlans => UnitId::new(Part::OwnVlans, &unit.id.device),
            _ => unit.id.clone(),
        };
        permission.allowed.contains(&id)
    }

    /// The bond that a link is a member of.
    pub fn bond_of(&self, name: &IfName) -> Option<&IfName> {
        let controller = self.observed.link(name)?.controller.as_ref()?;
        let link = self.observed.link(controller)?;
        matches!(link.kind, Kind::Bond(_)).then_some(controller)
    }

    /// The VLAN interfaces of the node that reach the wire through an uplink, in these VLANs: on
    /// the uplink, its NICs or its bridge.
    fn interfaces_in(&self, uplink: &IfName, is_lost: &dyn Fn(Vid) -> bool) -> Vec<IfName> {
        if !self.desired.bonds.contains_key(uplink) && !self.is_uplink(uplink) {
            return vec![];
        }
        let bridge = self.observed.link(uplink).and_then(|link| link.controller.as_ref());
        let nics = self.observed.ports_of(uplink).map(|(nic, _)| nic);
        let lower: BTreeSet<&IfName> = bridge.into_iter().chain(nics).chain([uplink]).collect();
        let reach_the_wire = |link: &Link| match &link.kind {
            Kind::Vlan { parent: Some(parent), vid } => lower.contains(parent) && is_lost(*vid),
            _ => false,
        };
        let links = self.observed.links.iter().filter(|(_, link)| reach_the_wire(link));
        links.map(|(name, _)| name.clone()).collect()
    }

    /// Why a unit waits for confirmation.
    fn why_guarded(&self, unit: &Unit) -> String {
        let names = || unit.unconfirmed.iter();
        match self.torn_down(unit) {
            Some(bridge) if unit.unconfirmed.contains(&bridge) => {
                let names: Vec<_> = names().map(ToString::to_string).collect();
                format!(
                    "the change takes down {}, with its ports: most of what was there is gone from \
                     the file",
                    names.join(" and ")
                )
            }
            _ => {
                let names: Vec<_> = names().map(|name| self.why(name)).collect();
                format!("the change alters {}", names.join(" and "))
            }
        }
    }

    /// The addresses that stop to work when a NIC joins a bond or bridge: those that no interface
    /// of its segment takes.
    pub fn lost_with(&self, nic: &IfName) -> Vec<String> {
        let links = self.observed.above(nic).into_iter().chain([nic]);
        let taken = self.taken_from(nic);
        let addresses = links.flat_map(|name| {
            let link = self.observed.link(name);
            let addresses = link.into_iter().flat_map(|link| link.addresses.keys().copied());
            addresses.map(move |address| (name, address))
        });
        let lost =
            addresses.filter(|(name, address)| !taken.contains(&((*name).clone(), *address)));
        lost.map(|(name, address)| format!("{address} on {name}")).collect()
    }

    /// Whether a port is an uplink, or was one.
    pub fn is_uplink(&self, name: &IfName) -> bool {
        let desired = self.desired.ports.get(name).map(|port| port.role.hooks());
        let known = self.datapath.ports.get(name).map(|port| port.policy.mode());
        desired.is_some_and(|hooks| hooks.contains(&crate::state::Hook::UplinkIn))
            || known == Some("uplink")
    }

    /// The bridge of the segment that a unit is part of; none for the ports of VMs.
    fn bridge_of(&self, id: &UnitId) -> Option<IfName> {
        let name = &id.device;
        let of_link = |name: &IfName| {
            let link = self.observed.link(name)?;
            match &link.kind {
                Kind::Bridge(_) => Some(name.clone()),
                Kind::Vlan { parent, .. } => parent.clone(),
                Kind::Bond(_) | Kind::Other(_) => link.controller.clone(),
            }
        };
        let of_port = |name: &IfName| {
            let desired = self.desired.ports.get(name).map(|port| port.bridge.clone());
            desired.or_else(|| of_link(name))
        };
        match id.part {
            Part::FormerBridge
            | Part::Bridge
            | Part::OwnVlans
            | Part::FormerVlans
            | Part::Filtering => Some(name.clone()),
            Part::Takeover => {
                let mut bonds = self.desired.bonds.iter();
                bonds.find(|(_, bond)| bond.members.contains(name)).and_then(|(it, _)| of_port(it))
            }
            Part::Host => self.desired.hosts.get(name).map(|host| host.bridge.clone()),
            Part::Bond | Part::FormerLink => of_port(name),
            Part::GivenBack => self.bridge_over(name).cloned(),
            Part::FormerMember => self.bond_of(name).and_then(of_port),
            Part::Port | Part::FormerPort if self.is_uplink(name) => of_port(name),
            // The end of a lease, and its renewal, do not wait.
            Part::Lease(_) | Part::Port | Part::FormerPort => None,
        }
    }

    /// Whether a link exists and carries the node: it belongs to `mgmt`, or it, or a link that
    /// reaches the wire through it, has an address or a route.
    fn carries_the_node(&self, name: &IfName) -> bool {
        let Some(link) = self.observed.link(name) else { return false };
        let is_named = self.desired.protected.contains(name) || self.is_of_mgmt(name, link);
        is_named && !self.is_idle(name, link)
            || self.is_lived_on(name)
            || self.controllers_of(name).into_iter().any(|name| self.is_lived_on(name))
    }

    /// Whether nothing can be reached over a link yet: a bond or bridge without ports, of an apply
    /// that was interrupted.
    fn is_idle(&self, name: &IfName, link: &Link) -> bool {
        matches!(link.kind, Kind::Bond(_) | Kind::Bridge(_))
            && link.is_owned()
            && self.observed.ports_of(name).next().is_none()
    }

    /// The bond and the bridge through which a link carries the node. The port of a VM carries
    /// nothing of the node.
    fn controllers_of(&self, name: &IfName) -> Vec<&IfName> {
        let mut controllers = Vec::new();
        let mut below = name;
        while let Some(link) = self.observed.link(below)
            && let Some(controller) = &link.controller
            && controllers.len() < 2
        {
            let is_wire = match &link.kind {
                Kind::Bond(_) | Kind::Vlan { .. } => true,
                Kind::Other(kind) => kind.is_empty(),
                Kind::Bridge(_) => false,
            };
            if !is_wire && self.bond_of(below).is_none() && !self.is_uplink(below) {
                break;
            }
            controllers.push(controller);
            below = controller;
        }
        controllers
    }

    /// Whether a link belongs to `mgmt`, even where the file has lost it: by the policy that the
    /// uplink still has, or by the names that such links have.
    fn is_of_mgmt(&self, name: &IfName, link: &Link) -> bool {
        let mut uplinks = self
            .datapath
            .ports
            .iter()
            .filter(|(_, port)| port.policy.mode() == "uplink" && port.policy.network == MGMT);
        let by_policy = uplinks.any(|(uplink, port)| {
            let bridge = port.policy.bridge.as_ref();
            let parent = match &link.kind {
                Kind::Vlan { parent, .. } => parent.as_ref(),
                Kind::Bond(_) | Kind::Bridge(_) | Kind::Other(_) => None,
            };
            uplink == name || bridge == Some(name) || parent.is_some() && parent == bridge
        });
        let name = name.as_str();
        by_policy || name == "mgmt-bo" || name == "mgmt-br" || name.starts_with("mgmt-br.")
    }
}
