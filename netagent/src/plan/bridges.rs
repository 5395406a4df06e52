//! Bridges: create them or change them in place.

use super::{Plan, Unit, View};
use crate::{
    change::LinkChange,
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
        let filtering = view.filtering(bridge);
        match view.observed.link(name) {
            None => create(view, name, bridge, filtering, &mut unit),
            Some(link) => match link.kind {
                Kind::Bridge(state) => {
                    change(view, name, bridge, link, state, filtering, &mut unit);
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
    /// Whether the kernel's VLAN filter is on; `None` if the kernel has no VLAN filter.
    pub fn filtering(&self, bridge: &Bridge) -> Option<bool> {
        self.observed.kernel.vlan_filtering.then_some(bridge.filtering != Filtering::Off)
    }

    /// The reason why ports cannot join the bridge: the bridge is refused.
    pub fn refuses_bridge(&self, name: &IfName) -> Option<String> {
        let bridge = self.desired.bridges.get(name)?;
        let cannot = bridge.filtering == Filtering::On && !self.observed.kernel.vlan_filtering;
        let taken =
            self.observed.link(name).is_some_and(|link| !matches!(link.kind, Kind::Bridge(_)));
        (cannot || taken).then(|| format!("its bridge {name} is refused"))
    }
}

fn create(
    view: &View<'_>,
    name: &IfName,
    bridge: &Bridge,
    filtering: Option<bool>,
    unit: &mut Unit,
) {
    unit.link(view, LinkChange::AddBridge(name.clone(), filtering));
    // A bridge without an address of its own takes the lowest of its ports, which changes with VMs.
    let uplink = bridge.mac_of.as_ref().filter(|uplink| {
        view.observed.links.contains_key(uplink) || view.desired.bonds.contains_key(uplink)
    });
    unit.link(view, LinkChange::CopyMac(name.clone(), uplink.unwrap_or(name).clone()));
    if let Some(mtu) = bridge.mtu {
        unit.link(view, LinkChange::SetMtu(name.clone(), mtu));
    }
    unit.link(view, LinkChange::SetUp(name.clone()));
}

fn change(
    view: &View<'_>,
    name: &IfName,
    bridge: &Bridge,
    link: &Link,
    state: BridgeState,
    filtering: Option<bool>,
    unit: &mut Unit,
) {
    if let (Some(wanted), Some(found)) = (filtering, state.vlan_filtering)
        && wanted != found
    {
        unit.link(view, LinkChange::SetFiltering(name.clone(), wanted));
    }
    // It does nothing where the bridge does not filter: a bridge of somebody else keeps it.
    let applies = filtering == Some(true) || filtering.is_some() && link.is_owned();
    if applies && state.default_pvid.is_some_and(|pvid| pvid != 0) {
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
    if let Some(mtu) = bridge.mtu.filter(|mtu| *mtu != link.mtu) {
        unit.link(view, LinkChange::SetMtu(name.clone(), mtu));
    }
    if !link.up {
        unit.link(view, LinkChange::SetUp(name.clone()));
    }
}
