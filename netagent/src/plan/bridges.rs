//! Bridges: create them or change them in place. The VLAN filter of a bridge that exists is
//! switched after its ports have their VLANs: see [`switch`].

use super::{Plan, Unit, View, mtu};
use crate::{
    change::{DatapathChange, LinkChange},
    names::IfName,
    state::{Bridge, BridgeState, Filtering, Kind, Link, Part, UnitId},
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
    promiscuous(view, name, bridge, link.promiscuous, unit);
    if !link.up {
        unit.link(view, LinkChange::SetUp(name.clone()));
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
        for (port, policy) in view.policies(name, wanted) {
            unit.needs.insert(UnitId::new(Part::Port, port));
            unit.datapath(view, DatapathChange::SetPolicy(port.clone(), Box::new(policy)));
        }
        plan.push(unit);
    }
}
