//! Bridge ports: first the policy and its programs, then the bridge, so that no port is ever open.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use netagent_common::vlan::Vid;

use super::{
    Plan, View,
    policy::{Surroundings, compile},
    removals, xdp,
};
use crate::{
    change::{Change, DatapathChange, LinkChange},
    names::IfName,
    state::{BridgeState, Hook, Kind, Link, Port, Role, VlanFlags},
};

pub fn plan(view: &View<'_>, plan: &mut Plan) -> Result<()> {
    for name in view.desired.ports.keys() {
        removals::renamed(view, name, plan);
    }
    // Who gives counters back comes first: two files that both fit lead from one to the other.
    let mut ports: Vec<_> = view.desired.ports.iter().collect();
    ports.sort_by_key(|(name, port)| view.growth(name, port).min(0));
    for (name, port) in ports {
        let link = view.observed.link(name);
        if link.is_none() && !view.desired.bonds.contains_key(name) {
            plan.waiting.insert(name.clone());
            continue;
        }
        one(view, name, port, link, plan)?;
    }
    xdp::warn(view, plan);
    for (name, bridge) in view.strangers() {
        plan.warnings.push(format!(
            "{name} is a port of {bridge} and not in the file: netagent does not filter it"
        ));
    }
    Ok(())
}

fn one(
    view: &View<'_>,
    name: &IfName,
    port: &Port,
    link: Option<&Link>,
    plan: &mut Plan,
) -> Result<()> {
    if matches!(port.role, Role::Tunnel) && !view.datapath.stacked_tags {
        bail!(
            "{name}: network {} is QinQ, for which this kernel is too old: it needs Linux 6.12 or later",
            port.network
        );
    }
    let bridge = &view.desired.bridges[&port.bridge];
    let aware = view.filtering(&port.bridge, bridge)? == Some(true);
    if let Some(mtu) = port.mtu.filter(|mtu| link.is_some_and(|link| link.mtu != *mtu)) {
        plan.link(LinkChange::SetMtu(name.clone(), mtu));
    }
    programs(view, name, port, link, aware, plan);
    let controller = link.and_then(|link| link.controller.as_ref());
    let moves = controller != Some(&port.bridge);
    if moves {
        if let Some(other) = controller
            && !view.desired.bridges.contains_key(other)
            && !view.observed.link(other).is_some_and(Link::is_owned)
        {
            bail!("{name} belongs to {other}, not {}: ip link set {name} nomaster", port.bridge);
        }
        plan.link(LinkChange::AddPort(name.clone(), port.bridge.clone()));
    }
    if aware {
        let found = if moves { BTreeMap::new() } else { view.vlans_after(name, &port.bridge) };
        vids(name, port, &found, plan);
    }
    // A bond is set up with its members.
    if link.is_some_and(|link| !link.up) && !view.desired.bonds.contains_key(name) {
        plan.link(LinkChange::SetUp(name.clone()));
    }
    if let (Role::Uplink { nics, .. }, true) = (&port.role, view.wants_xdp(name, port)) {
        xdp::attach(view, name, port, nics, aware, plan);
    }
    Ok(())
}

/// Policy, then the programs that enforce it.
fn programs(
    view: &View<'_>,
    name: &IfName,
    port: &Port,
    link: Option<&Link>,
    aware: bool,
    plan: &mut Plan,
) {
    let known = view.datapath.ports.get(name).filter(|known| {
        // A device of the same name, but another: its policy led from the old index.
        link.is_some_and(|link| link.index == known.ifindex)
    });
    let wanted = compile(port, view.nics(port), view.around(name, port, aware));
    let (before, after) = (known.map_or(wanted.flags, |known| known.policy.flags), wanted.flags);
    let attached = known.map(|known| known.attached.clone()).unwrap_or_default();
    let expected = |hook: &Hook| {
        port.role.hooks().contains(hook) || *hook == Hook::UplinkXdp && view.wants_xdp(name, port)
    };
    let attach =
        |hook: &Hook, flags| DatapathChange::Attach(name.clone(), *hook, hook.optional(flags));
    // While the policy changes, the programs know what the old one and the new one ask for.
    let changing = |hook: &&Hook| hook.optional(before) != hook.optional(after);
    for hook in attached.iter().filter(|hook| expected(hook)).filter(changing) {
        if hook.optional(before | after) != hook.optional(before) {
            plan.datapath(attach(hook, before | after));
        }
    }
    if known.is_none_or(|known| known.policy != wanted) {
        plan.datapath(DatapathChange::SetPolicy(name.clone(), Box::new(wanted)));
    }
    // XDP comes last, if it is not there yet.
    let xdp = attached.get(&Hook::UplinkXdp).filter(|hook| expected(hook));
    for hook in port.role.hooks().iter().chain(xdp) {
        let current = attached.contains(hook)
            && (!changing(&hook) || hook.optional(before | after) == hook.optional(after));
        if !current {
            plan.datapath(attach(hook, after));
        }
    }
    let outdated = known.map(|known| known.outdated.clone()).unwrap_or_default();
    for hook in attached.union(&outdated).copied().filter(|hook| !expected(hook)) {
        let detach = DatapathChange::Detach(name.clone(), hook);
        // A bond that changes its mode has XDP taken off before.
        if !plan.changes.contains(&Change::Datapath(detach.clone())) {
            plan.datapath(detach);
        }
    }
}

/// Exactly the VIDs of the port, in ranges of equal flags.
fn vids(name: &IfName, port: &Port, found: &BTreeMap<Vid, VlanFlags>, plan: &mut Plan) {
    let flags = |vid: Vid| VlanFlags {
        pvid: port.pvid == Some(vid),
        untagged: port.pvid == Some(vid) && port.bridge_untags(),
    };
    let extra = found.keys().filter(|vid| !port.vids.contains(**vid)).copied();
    for (first, last) in crate::vids::VidSet::from_iter(extra).ranges() {
        plan.link(LinkChange::RemoveVids(name.clone(), first, last));
    }
    let missing: BTreeSet<Vid> =
        port.vids.iter().filter(|vid| found.get(vid) != Some(&flags(*vid))).collect();
    let (special, ordinary): (Vec<Vid>, Vec<Vid>) =
        missing.into_iter().partition(|vid| flags(*vid) != VlanFlags::default());
    for vid in special {
        plan.link(LinkChange::AddVids(name.clone(), vid, vid, flags(vid)));
    }
    for (first, last) in crate::vids::VidSet::from_iter(ordinary).ranges() {
        plan.link(LinkChange::AddVids(name.clone(), first, last, VlanFlags::default()));
    }
}

impl View<'_> {
    /// How many VLANs more than now a port is to be counted in.
    fn growth(&self, name: &IfName, port: &Port) -> isize {
        let known = self.datapath.ports.get(name).map(|known| known.policy.bridge_vids().len());
        port.vids.len().cast_signed() - known.unwrap_or_default().cast_signed()
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
        // The uplink talks to all.
        let isolation = !matches!(port.role, Role::Uplink { .. })
            && self
                .desired
                .ports
                .values()
                .any(|other| other.bridge == port.bridge && other.security.isolated);
        let host_untagged = host.map(|host| host.vid);
        let xdp_frames = match port.role {
            Role::Uplink { .. } => tags_in_bytes,
            Role::Access | Role::Trunk | Role::Tunnel => {
                self.observed.link(name).is_some_and(|link| link.takes_xdp_frames)
            }
        };
        let peer = self.datapath.counted_peers
            && !matches!(port.role, Role::Uplink { .. })
            && self.observed.link(name).is_some_and(|link| link.leads_elsewhere);
        Surroundings { aware, host_untagged, isolation, tags_in_bytes, xdp_frames, peer }
    }

    /// Indexes of the NICs beneath an uplink, on which XDP sees the uplink's frames.
    pub fn nics(&self, port: &Port) -> BTreeSet<u32> {
        match &port.role {
            Role::Uplink { nics, .. } => nics
                .iter()
                // An uplink without a bond is its own NIC, and needs no second entry.
                .filter(|nic| !self.desired.ports.contains_key(*nic))
                .filter_map(|nic| self.observed.link(nic))
                .map(|link| link.index)
                .collect(),
            Role::Access | Role::Trunk | Role::Tunnel => BTreeSet::new(),
        }
    }

    /// A port's VLANs, as they will be when the bridge's default PVID is gone, which takes its VLAN with it.
    fn vlans_after(&self, port: &IfName, bridge: &IfName) -> BTreeMap<Vid, VlanFlags> {
        let mut vlans = self.observed.link(port).map(|link| link.vlans.clone()).unwrap_or_default();
        let bridge = self.observed.link(bridge).map(|link| &link.kind);
        if let Some(Kind::Bridge(BridgeState { default_pvid: Some(pvid), .. })) = bridge
            && let Some(vid) = Vid::new(*pvid)
        {
            vlans.remove(&vid);
        }
        vlans
    }

    /// Ports of our bridges that the file does not know.
    fn strangers(&self) -> Vec<(&IfName, &IfName)> {
        let on_ours = |(name, link)| {
            let link: &Link = link;
            let bridge = link.controller.as_ref()?;
            let ours = self.desired.bridges.contains_key(bridge);
            let filtered = self.datapath.ports.values().any(|port| port.ifindex == link.index);
            let known = self.desired.ports.contains_key(name) || filtered;
            (ours && !known).then_some((name, bridge))
        };
        self.observed.links.iter().filter_map(on_ours).collect()
    }
}
