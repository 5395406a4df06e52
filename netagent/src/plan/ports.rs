//! Bridge ports: first the policy and its programs, then the bridge, so that no port is ever
//! unfiltered.

use std::collections::{BTreeMap, BTreeSet};

use netagent_common::{policy::BRIDGE_STRIPS, vlan::Vid};

use super::{
    Plan, Unit, View, link_local, missing, mtu,
    policy::{Surroundings, compile, differences},
    removals, rules, strangers, takeover, up, xdp,
};
use crate::{
    change::{DatapathChange, LinkChange},
    names::{IfName, Mac},
    state::{
        Code, Finding, Hook, Kind, Link, ObservedPort, Part, Port, PortFlag, PortPolicy, Role,
        UnitId, VlanFlags,
    },
    vids::VidSet,
};

pub fn plan(view: &View<'_>, plan: &mut Plan) {
    for name in view.desired.ports.keys() {
        removals::renamed(view, name, plan);
    }
    // Ports that release counters come first, so that a transition between two files that both fit
    // always fits. Uplinks come before the VM ports, which need them.
    let mut ports: Vec<_> = view.desired.ports.iter().collect();
    ports.sort_by_key(|(name, port)| {
        (view.growth(name, port).min(0), !matches!(port.role, Role::Uplink { .. }))
    });
    for (name, port) in ports {
        let link = view.observed.link(name);
        let mut unit =
            Unit::new(UnitId::new(Part::Port, name), view.desired.subject_of(name, port));
        if let Some(reason) = view.refusal(name, port, link) {
            unit.findings.push(reason);
        } else if link.is_none() && !view.desired.bonds.contains_key(name) {
            let code = match port.role {
                Role::Uplink { .. } => Code::NicMissing,
                Role::Access | Role::Trunk | Role::Tunnel => Code::DeviceMissing,
            };
            unit.findings.push(missing(view, unit.subject.clone(), code, name));
            if let Some((device, _)) = view.device_of(name) {
                unit.finding(
                    Code::Renamed,
                    format!("{name}: is called {device} now, and keeps its policy"),
                    match port.role {
                        Role::Uplink { .. } => {
                            format!("ip link set {device} name {name}, or name {device} in `nics`")
                        }
                        Role::Access | Role::Trunk | Role::Tunnel => {
                            format!("ip link set {device} name {name}, or name {device} in `ports`")
                        }
                    },
                );
            }
        } else {
            one(view, name, port, link, &mut unit);
        }
        plan.push(unit);
    }
    strangers::report(view, plan);
}

impl View<'_> {
    /// The reason why this node cannot have a port.
    fn refusal(&self, name: &IfName, port: &Port, link: Option<&Link>) -> Option<Finding> {
        let (text, remedy) = if let Some(reason) = self.refuses_bridge(&port.bridge) {
            (reason, String::new())
        } else if let Some(reason) = self.refuses_bond(name) {
            (reason, String::new())
        } else if matches!(port.role, Role::Tunnel) && !self.datapath.stacked_tags {
            (
                format!("network {} is QinQ, which needs Linux 6.12 or later", port.network),
                "use a trunk network, or Linux 6.12 or later".to_owned(),
            )
        } else if let Some(Kind::Bridge(_)) = link.map(|link| &link.kind) {
            (
                "is a bridge, which cannot be a port of another bridge".to_owned(),
                "name the tap or veth of the VM in `ports`, or a NIC in `nics`".to_owned(),
            )
        } else if link.is_some_and(|link| link.mac == Mac([0; 6])) {
            (
                "is not an Ethernet device, so it cannot be a port of a bridge".to_owned(),
                "use a tap (`mode tap`), or a veth".to_owned(),
            )
        } else {
            let controller = self.foreign_controller(port, link?)?;
            let text = format!("{name}: belongs to {controller}, not {}", port.bridge);
            // The bridge of the segment works without its uplink.
            let code = match port.role {
                Role::Uplink { .. } => Code::NicInUse,
                Role::Access | Role::Trunk | Role::Tunnel => Code::Refused,
            };
            let remedy = format!("ip link set {name} nomaster");
            return Some(Finding::new(self.desired.subject_of(name, port), code, text, remedy));
        };
        let subject = self.desired.subject_of(name, port);
        Some(Finding::new(subject, Code::Refused, format!("{name}: {text}"), remedy))
    }

    /// The bond or bridge that a device belongs to, if netagent does not manage it.
    fn foreign_controller<'a>(&self, port: &Port, link: &'a Link) -> Option<&'a IfName> {
        let controller = link.controller.as_ref().filter(|name| **name != port.bridge)?;
        let ours = self.desired.bridges.contains_key(controller)
            || self.observed.link(controller).is_some_and(Link::is_owned);
        (!ours).then_some(controller)
    }
}

fn one(view: &View<'_>, name: &IfName, port: &Port, link: Option<&Link>, unit: &mut Unit) {
    let bridge = &view.desired.bridges[&port.bridge];
    let aware = view.filters_now(&port.bridge, bridge);
    let will_be_aware = view.filtering(&port.bridge, bridge) == Some(true);
    unit.needs.insert(UnitId::new(Part::Bridge, &port.bridge));
    let moves = link.and_then(|link| link.controller.as_ref()) != Some(&port.bridge);
    mtu::of_port(view, name, port, link, moves, unit);
    let default_pvid = view.adopted(&port.bridge).and_then(|state| state.default_pvid);
    let default_pvid = default_pvid.and_then(Vid::new).filter(|_| moves);
    // A port joins in the default PVID of the bridge, whose frames leave untagged. Until it has its
    // own, its policy takes no untagged frame from the bridge for one of its VLAN.
    let is_closed = aware && default_pvid.is_some_and(|vid| port.pvid != Some(vid));
    let policy = view.policy(name, port, aware, will_be_aware);
    let closed = PortPolicy { flags: policy.flags & !BRIDGE_STRIPS, ..policy.clone() };
    let is_closed = is_closed && closed != policy;
    programs(view, name, port, link, if is_closed { &closed } else { &policy }, unit);
    let taken_over = moves && view.is_taken_over(name, &port.bridge);
    if taken_over {
        takeover::before(view, name, &port.bridge, unit);
    }
    up::plan(view, name, port, link, unit);
    if moves {
        unit.link(view, LinkChange::AddPort(name.clone(), port.bridge.clone()));
    }
    flags(view, name, port, link.filter(|_| !moves), unit);
    link_local::plan(view, name, port, link.filter(|_| !moves), unit);
    if aware || will_be_aware {
        let joined = || {
            let flags = VlanFlags { pvid: true, untagged: true };
            default_pvid.map(|vid| (vid, flags)).into_iter().collect()
        };
        let found = if moves { joined() } else { view.vlans_after(name, &port.bridge) };
        vids(view, name, &view.with_strangers(name, port, true), &found, unit);
    }
    if is_closed {
        unit.datapath(view, DatapathChange::SetPolicy(name.clone(), Box::new(policy)));
    }
    if taken_over {
        takeover::after(view, name, &port.bridge, unit);
    } else if matches!(port.role, Role::Uplink { .. }) && !moves {
        takeover::leftovers(view, name, &port.bridge, unit);
    }
    if let (Role::Uplink { nics, .. }, true) = (&port.role, view.wants_xdp(name, port)) {
        xdp::attach(view, name, port, nics, aware, unit);
    }
    xdp::warn(view, name, port, unit);
    rules::report(view, name, port, unit);
}

/// Sets the flags of a bridge port that a source asks for. `link` is the port, if it is one of this
/// bridge already: a port that joins has no flag.
fn flags(view: &View<'_>, name: &IfName, port: &Port, link: Option<&Link>, unit: &mut Unit) {
    let wanted = [(PortFlag::Hairpin, port.hairpin), (PortFlag::Isolated, port.port_isolation)];
    for (flag, wanted) in wanted.into_iter().filter_map(|(flag, on)| Some((flag, on?))) {
        if wanted != link.is_some_and(|link| link.port_flags.contains(&flag)) {
            unit.link(view, LinkChange::SetPortFlag(name.clone(), flag, wanted));
        }
    }
}

/// Sets the policy and attaches the programs that enforce it.
fn programs(
    view: &View<'_>,
    name: &IfName,
    port: &Port,
    link: Option<&Link>,
    wanted: &PortPolicy,
    unit: &mut Unit,
) {
    let known = view.datapath.ports.get(name).filter(|known| {
        // A policy with another interface index belongs to a former device of this name.
        link.is_some_and(|link| link.index == known.ifindex)
    });
    let (before, after) = (known.map_or(wanted.flags, |known| known.policy.flags), wanted.flags);
    let attached = known.map(|known| known.attached.clone()).unwrap_or_default();
    let expected = |hook: &Hook| {
        port.role.hooks().contains(hook) || *hook == Hook::UplinkXdp && view.wants_xdp(name, port)
    };
    let attach =
        |hook: &Hook, flags| DatapathChange::Attach(name.clone(), *hook, hook.optional(flags));
    // During a change of the policy, the programs support the options of both policies.
    let changing = |hook: &&Hook| hook.optional(before) != hook.optional(after);
    for hook in attached.iter().filter(|hook| expected(hook)).filter(changing) {
        if hook.optional(before | after) != hook.optional(before) {
            unit.datapath(view, attach(hook, before | after));
        }
    }
    if let Some(known) = known {
        unit.impact.extend(differences(name, &known.policy, wanted));
    }
    if known.is_none_or(|known| known.policy != *wanted) {
        unit.datapath(view, DatapathChange::SetPolicy(name.clone(), Box::new(wanted.clone())));
    }
    // A new XDP program is attached last.
    let xdp = attached.get(&Hook::UplinkXdp).filter(|hook| expected(hook));
    for hook in port.role.hooks().iter().chain(xdp) {
        let current = attached.contains(hook)
            && (!changing(&hook) || hook.optional(before | after) == hook.optional(after));
        if !current {
            unit.datapath(view, attach(hook, after));
        } else if known.is_some_and(|known| is_overtaken(known, *hook)) {
            let flags = hook.optional(after);
            unit.datapath(view, DatapathChange::MoveToFront(name.clone(), *hook, flags));
        }
    }
    let outdated = known.map(|known| known.outdated.clone()).unwrap_or_default();
    // A change of the bond may already have detached the XDP program.
    let detached = view.detaches_xdp(name);
    let off = |hook: &Hook| !expected(hook) && (!detached || *hook != Hook::UplinkXdp);
    for hook in attached.union(&outdated).copied().filter(off) {
        unit.datapath(view, DatapathChange::Detach(name.clone(), hook));
    }
}

/// Whether a program of others runs before ours since a short time.
fn is_overtaken(known: &ObservedPort, hook: Hook) -> bool {
    let order = known.orders.get(&hook);
    order.is_some_and(|order| !order.before().is_empty() && !order.is_contested)
}

/// Sets exactly the VIDs of the port.
fn vids(
    view: &View<'_>,
    name: &IfName,
    port: &Port,
    found: &BTreeMap<Vid, VlanFlags>,
    unit: &mut Unit,
) {
    let flags = |vid: Vid| VlanFlags {
        pvid: port.pvid == Some(vid),
        untagged: port.pvid == Some(vid) && port.bridge_untags(),
    };
    let wanted = port.vids.iter().map(|vid| (vid, flags(vid))).collect();
    set_vlans(view, name, found, &wanted, unit);
}

/// Sets exactly these VLANs of a bridge port, in ranges with equal flags.
pub fn set_vlans(
    view: &View<'_>,
    name: &IfName,
    found: &BTreeMap<Vid, VlanFlags>,
    wanted: &BTreeMap<Vid, VlanFlags>,
    unit: &mut Unit,
) {
    let extra = found.keys().filter(|vid| !wanted.contains_key(vid)).copied();
    for (first, last) in VidSet::from_iter(extra).ranges() {
        unit.link(view, LinkChange::RemoveVids(name.clone(), first, last));
    }
    let missing = wanted.iter().filter(|(vid, flags)| found.get(vid) != Some(flags));
    let (special, ordinary): (Vec<_>, Vec<_>) =
        missing.partition(|(_, flags)| **flags != VlanFlags::default());
    for (vid, flags) in special {
        unit.link(view, LinkChange::AddVids(name.clone(), *vid, *vid, *flags));
    }
    for (first, last) in ordinary.into_iter().map(|(vid, _)| *vid).collect::<VidSet>().ranges() {
        let flags = VlanFlags::default();
        unit.link(view, LinkChange::AddVids(name.clone(), first, last, flags));
    }
}

impl View<'_> {
    /// The increase in the number of VLANs that are counted at a port.
    fn growth(&self, name: &IfName, port: &Port) -> isize {
        let known = self.datapath.ports.get(name).map(|known| known.policy.bridge_vids().len());
        port.vids.len().cast_signed() - known.unwrap_or_default().cast_signed()
    }

    /// The policy of a port over a bridge that filters VLANs now or not. A port that has the policy
    /// for the filter's desired state keeps it.
    fn policy(&self, name: &IfName, port: &Port, aware: bool, will_be_aware: bool) -> PortPolicy {
        let compiled = self.compiled(name, port, aware);
        let settled = (aware != will_be_aware).then(|| self.compiled(name, port, will_be_aware));
        let known = self.datapath.ports.get(name).map(|known| &known.policy);
        settled.filter(|settled| known == Some(settled)).unwrap_or(compiled)
    }

    fn compiled(&self, name: &IfName, port: &Port, aware: bool) -> PortPolicy {
        let port = self.with_strangers(name, port, aware);
        compile(&port, self.nics(&port), self.around(name, &port, aware))
    }

    /// The policies of a bridge's ports for a VLAN filter that is on or off, as far as they change.
    pub fn policies<'a>(&'a self, bridge: &IfName, aware: bool) -> Vec<(&'a IfName, PortPolicy)> {
        let ports = self.desired.ports.iter().filter(|(_, port)| port.bridge == *bridge);
        let present = ports.filter(|(name, port)| {
            let link = self.observed.link(name);
            let exists = link.is_some() || self.desired.bonds.contains_key(*name);
            exists && self.refusal(name, port, link).is_none()
        });
        let policies = present.map(|(name, port)| (name, self.compiled(name, port, aware)));
        let known = |name: &IfName| self.datapath.ports.get(name).map(|known| &known.policy);
        policies.filter(|(name, policy)| known(name) != Some(policy)).collect()
    }

    pub fn around(&self, name: &IfName, port: &Port, aware: bool) -> Surroundings {
        let host =
            self.desired.hosts.values().find(|host| host.bridge == port.bridge && !host.tagged);
        let tags_in_bytes = match &port.role {
            Role::Uplink { nics, .. } => {
                self.wants_xdp(name, port) && self.xdp_sees_tags(name, nics)
            }
            Role::Access | Role::Trunk | Role::Tunnel => false,
        };
        // Isolation does not apply to uplinks.
        let isolation = !matches!(port.role, Role::Uplink { .. })
            && self
                .desired
                .ports
                .values()
                .any(|other| other.bridge == port.bridge && other.security.isolated);
        // Strangers and addresses of an adopted bridge have the native VLAN untagged.
        let native = self.desired.bridges[&port.bridge].native;
        let untagged = native.filter(|_| self.adopted(&port.bridge).is_some());
        let host_untagged = host.map(|host| host.vid).or(untagged);
        let xdp_frames = match port.role {
            Role::Uplink { .. } => tags_in_bytes,
            Role::Access | Role::Trunk | Role::Tunnel => {
                self.observed.link(name).is_some_and(|link| link.takes_xdp_frames)
                    && !self.needs_egress(name)
            }
        };
        let peer = self.datapath.counted_peers
            && !self.needs_egress(name)
            && !matches!(port.role, Role::Uplink { .. })
            && self.observed.link(name).is_some_and(|link| link.leads_elsewhere);
        let needs_bridge = self.needs_bridge(name);
        Surroundings {
            aware,
            host_untagged,
            isolation,
            tags_in_bytes,
            xdp_frames,
            peer,
            needs_bridge,
        }
    }

    /// Interface indexes of an uplink's NICs, on which XDP receives the uplink's frames.
    pub fn nics(&self, port: &Port) -> BTreeSet<u32> {
        match &port.role {
            Role::Uplink { nics, .. } => nics
                .iter()
                // An uplink without a bond is its own NIC and needs no second entry.
                .filter(|nic| !self.desired.ports.contains_key(*nic))
                .filter_map(|nic| self.observed.link(nic))
                .map(|link| link.index)
                .collect(),
            Role::Access | Role::Trunk | Role::Tunnel => BTreeSet::new(),
        }
    }

    /// The VLANs of a port. The default PVID of our bridges is removed, which removes its VLAN from
    /// the port.
    fn vlans_after(&self, port: &IfName, bridge: &IfName) -> BTreeMap<Vid, VlanFlags> {
        let mut vlans = self.observed.link(port).map(|link| link.vlans.clone()).unwrap_or_default();
        let is_ours = self.adopted(bridge).is_none();
        let pvid = self.observed_bridge(bridge).and_then(|state| state.default_pvid);
        if let Some(vid) = pvid.filter(|_| is_ours).and_then(Vid::new) {
            vlans.remove(&vid);
        }
        vlans
    }
}
