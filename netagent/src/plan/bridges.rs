//! Bridges: create them or change them in place. The VLAN filter of a bridge that exists is
//! switched after its ports have their VLANs: see [`switch`].
//!
//! With the kernel's defaults a bridge snoops multicast in all VLANs as one (`mcast_snooping 1`,
//! `mcast_vlan_snooping 0`): a query in one VLAN makes it a bridge with a querier
//! (`br_multicast_querier_exists`), which forwards multicast in every VLAN only to ports that have
//! reported the group, and stations of other VLANs are not asked.

use super::{Plan, Unit, View, mtu};
use crate::{
    change::{DatapathChange, LinkChange},
    names::IfName,
    state::{Bridge, BridgeState, Code, Filtering, Kind, Link, Part, Snooping, UnitId},
    vids::VidSet,
};

pub fn plan(view: &View<'_>, plan: &mut Plan) {
    for (name, bridge) in &view.desired.bridges {
        let mut unit = Unit::new(UnitId::new(Part::Bridge, name), view.desired.segment_of(name));
        if bridge.filtering == Filtering::On && !view.observed.kernel.vlan_filtering {
            unit.refuse(
                format!(
                    "{name}: this kernel's bridge cannot filter VLANs \
                     (CONFIG_BRIDGE_VLAN_FILTERING)"
                ),
                "use `vlanFiltering: auto`: eBPF alone then filters VLANs",
            );
            plan.push(unit);
            continue;
        }
        let filtering = view.filtering(name, bridge);
        match view.observed.link(name) {
            None => create(view, name, bridge, filtering, &mut unit),
            Some(link) => match link.kind {
                Kind::Bridge(state) => {
                    change(view, name, bridge, link, state, &mut unit);
                    shared_snooping(view, name, bridge, state, &mut unit);
                }
                _ => unit.refuse(
                    format!("{name} exists and is not a bridge"),
                    format!("rename it, or ip link delete {name}"),
                ),
            },
        }
        plan.push(unit);
    }
}

impl View<'_> {
    /// Whether the kernel's VLAN filter should be on; `None` if the kernel has no VLAN filter.
    pub fn filtering(&self, name: &IfName, bridge: &Bridge) -> Option<bool> {
        let found = self.adopted(name).and_then(|state| state.vlan_filtering);
        let wanted = match bridge.filtering {
            Filtering::Auto => found.unwrap_or(true),
            Filtering::On => true,
            Filtering::Off => false,
        };
        self.observed.kernel.vlan_filtering.then_some(wanted)
    }

    /// Whether the kernel's VLAN filter is on while the ports of a bridge are changed: it is
    /// switched after them.
    pub fn filters_now(&self, name: &IfName, bridge: &Bridge) -> bool {
        let wanted = self.filtering(name, bridge) == Some(true);
        self.observed_bridge(name).and_then(|state| state.vlan_filtering).unwrap_or(wanted)
    }

    /// The snooping that a bridge should have; `None`: the kernel has none, or it stays as it is.
    /// By VLAN needs the VLAN filter, without which the kernel makes it that of all VLANs.
    fn snooping(&self, name: &IfName, bridge: &Bridge) -> Option<Snooping> {
        let unasked = match self.adopted(name) {
            Some(state) => state.snooping,
            None => Some(Snooping::Off),
        };
        let wanted = bridge.snooping.or(unasked)?;
        let filters = self.filtering(name, bridge) == Some(true);
        Some(if wanted == Snooping::Vlan && !filters { Snooping::Off } else { wanted })
    }

    /// The VLANs that pass over a bridge.
    fn vids_over(&self, bridge: &IfName) -> VidSet {
        let ports = self.desired.ports.values().filter(|port| port.bridge == *bridge);
        ports.flat_map(|port| port.vids.iter()).collect()
    }

    /// The state of a bridge that exists.
    pub fn observed_bridge(&self, name: &IfName) -> Option<BridgeState> {
        match self.observed.link(name)?.kind {
            Kind::Bridge(state) => Some(state),
            _ => None,
        }
    }

    /// The reason why ports cannot join the bridge: the bridge is refused.
    pub fn refuses_bridge(&self, name: &IfName) -> Option<String> {
        let bridge = self.desired.bridges.get(name)?;
        let cannot = bridge.filtering == Filtering::On && !self.observed.kernel.vlan_filtering;
        let taken =
            self.observed.link(name).is_some_and(|link| !matches!(link.kind, Kind::Bridge(_)));
        let is_altname = self.observed.of_altname(name).is_some();
        (cannot || taken || is_altname).then(|| format!("its bridge {name} is refused"))
    }
}

fn create(
    view: &View<'_>,
    name: &IfName,
    bridge: &Bridge,
    filtering: Option<bool>,
    unit: &mut Unit,
) {
    if let Some(device) = view.observed.of_altname(name) {
        return unit.refuse_altname(name, device);
    }
    unit.link(view, LinkChange::AddBridge(name.clone(), filtering));
    // That of all VLANs is the kernel's default.
    let snooping = view.snooping(name, bridge).filter(|wanted| *wanted != Snooping::Bridge);
    if let Some(snooping) = snooping {
        unit.link(view, LinkChange::SetSnooping(name.clone(), snooping));
    }
    // A bridge without an address of its own takes the lowest of its ports, which changes with VMs.
    let uplink = bridge.mac_of.as_ref().filter(|uplink| {
        view.observed.links.contains_key(uplink) || view.desired.bonds.contains_key(uplink)
    });
    unit.link(view, LinkChange::CopyMac(name.clone(), uplink.unwrap_or(name).clone()));
    mtu::of_new_bridge(view, name, bridge, unit);
    promiscuous(view, name, bridge, false, unit);
    unit.link(view, LinkChange::SetUp(name.clone()));
}

/// What nobody asks for stays as it is.
fn promiscuous(view: &View<'_>, name: &IfName, bridge: &Bridge, now: bool, unit: &mut Unit) {
    if bridge.promiscuous && !now {
        unit.link(view, LinkChange::SetPromiscuous(name.clone(), true));
    }
}

fn change(
    view: &View<'_>,
    name: &IfName,
    bridge: &Bridge,
    link: &Link,
    state: BridgeState,
    unit: &mut Unit,
) {
    // That of another bridge stays: without it, the kernel removes the VLAN from every port at
    // once, and ports that others add later would have none.
    if link.is_owned() && state.default_pvid.is_some_and(|pvid| pvid != 0) {
        unit.link(view, LinkChange::SetDefaultPvid(name.clone(), 0));
    }
    let uplink =
        bridge.mac_of.as_ref().and_then(|uplink| Some((uplink, view.observed.link(uplink)?)));
    if let Some((uplink, found)) = uplink
        && link.is_owned()
        && found.mac != link.mac
    {
        unit.link(view, LinkChange::CopyMac(name.clone(), uplink.clone()));
    }
    mtu::set(view, name, view.bridge_mtu(name, bridge), unit);
    snooping(view, name, bridge, state.vlan_filtering == Some(true), unit);
    promiscuous(view, name, bridge, link.promiscuous, unit);
    if !link.up {
        unit.link(view, LinkChange::SetUp(name.clone()));
    }
}

/// Sets the snooping of a bridge that filters VLANs now, or not.
fn snooping(view: &View<'_>, name: &IfName, bridge: &Bridge, filters: bool, unit: &mut Unit) {
    let found = view.observed_bridge(name).and_then(|state| state.snooping);
    let (Some(found), Some(wanted)) = (found, view.snooping(name, bridge)) else { return };
    if found != wanted && (filters || wanted != Snooping::Vlan) {
        unit.link(view, LinkChange::SetSnooping(name.clone(), wanted));
    }
}

/// Warns of a bridge that is left as it was found, with snooping that VLANs share.
fn shared_snooping(
    view: &View<'_>,
    name: &IfName,
    bridge: &Bridge,
    state: BridgeState,
    unit: &mut Unit,
) {
    let stays = bridge.snooping.is_none() && view.adopted(name).is_some();
    if stays && state.snooping == Some(Snooping::Bridge) && view.vids_over(name).len() > 1 {
        unit.finding(
            Code::SharedSnooping,
            format!(
                "{name}: snoops multicast in all VLANs as one: a VM that sends IGMP or MLD queries \
                 can end multicast in other VLANs, and IPv6 with it"
            ),
            "set `multicastSnooping: off` on the cluster network, or `mcastQuerierGuard: true` on \
             its networks",
        );
    }
}

/// Switches the VLAN filter of bridges that exist, together with the policies of their ports, which
/// depend on it.
pub fn switch(view: &View<'_>, plan: &mut Plan) {
    for (name, bridge) in &view.desired.bridges {
        let found = view.observed_bridge(name).and_then(|state| state.vlan_filtering);
        let (Some(wanted), Some(found), None) =
            (view.filtering(name, bridge), found, view.refuses_bridge(name))
        else {
            continue;
        };
        if wanted == found {
            continue;
        }
        let mut unit = Unit::new(UnitId::new(Part::Filtering, name), view.desired.segment_of(name));
        unit.link(view, LinkChange::SetFiltering(name.clone(), wanted));
        if wanted && view.snooping(name, bridge) == Some(Snooping::Vlan) {
            snooping(view, name, bridge, true, &mut unit);
        }
        for (port, policy) in view.policies(name, wanted) {
            unit.needs.insert(UnitId::new(Part::Port, port));
            unit.datapath(view, DatapathChange::SetPolicy(port.clone(), Box::new(policy)));
        }
        plan.push(unit);
    }
}
