//! Bridges, and the node's own interfaces on them.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use netagent_common::vlan::Vid;

use super::{Plan, View};
use crate::{
    change::LinkChange,
    names::IfName,
    state::{Bridge, BridgeState, Filtering, Host, Kind, Link, VlanFlags},
};

pub fn plan(view: &View<'_>, plan: &mut Plan) -> Result<()> {
    for (name, bridge) in &view.desired.bridges {
        let filtering = view.filtering(name, bridge)?;
        match view.observed.link(name) {
            None => create(view, name, bridge, filtering, plan),
            Some(link) => match link.kind {
                Kind::Bridge(state) => change(view, name, bridge, link, state, filtering, plan),
                _ => bail!("{name} exists and is no bridge: rename or delete it"),
            },
        }
    }
    Ok(())
}

impl View<'_> {
    /// Whether a bridge is to filter VLANs itself; `None` where the kernel has no such thing.
    pub fn filtering(&self, name: &IfName, bridge: &Bridge) -> Result<Option<bool>> {
        match (bridge.filtering, self.observed.kernel.vlan_filtering) {
            (Filtering::On, false) => bail!(
                "{name}: this kernel's bridge cannot filter VLANs (CONFIG_BRIDGE_VLAN_FILTERING): \
                 use `vlanFiltering: auto`, which leaves it to eBPF"
            ),
            (Filtering::Auto | Filtering::Off, false) => Ok(None),
            (Filtering::Auto | Filtering::On, true) => Ok(Some(true)),
            (Filtering::Off, true) => Ok(Some(false)),
        }
    }
}

fn create(
    view: &View<'_>,
    name: &IfName,
    bridge: &Bridge,
    filtering: Option<bool>,
    plan: &mut Plan,
) {
    plan.link(LinkChange::AddBridge(name.clone(), filtering));
    // A bridge that was never given an address follows its ports: with each VM it may change.
    let uplink = bridge.mac_of.as_ref().filter(|uplink| {
        view.observed.links.contains_key(uplink) || view.desired.bonds.contains_key(uplink)
    });
    plan.link(LinkChange::CopyMac(name.clone(), uplink.unwrap_or(name).clone()));
    if let Some(mtu) = bridge.mtu {
        plan.link(LinkChange::SetMtu(name.clone(), mtu));
    }
    plan.link(LinkChange::SetUp(name.clone()));
}

fn change(
    view: &View<'_>,
    name: &IfName,
    bridge: &Bridge,
    link: &Link,
    state: BridgeState,
    filtering: Option<bool>,
    plan: &mut Plan,
) {
    if let (Some(wanted), Some(found)) = (filtering, state.vlan_filtering)
        && wanted != found
    {
        plan.link(LinkChange::SetFiltering(name.clone(), wanted));
    }
    if filtering.is_some() && state.default_pvid.is_some_and(|pvid| pvid != 0) {
        plan.link(LinkChange::SetDefaultPvid(name.clone(), 0));
    }
    let uplink =
        bridge.mac_of.as_ref().and_then(|uplink| Some((uplink, view.observed.link(uplink)?)));
    if let Some((uplink, found)) = uplink
        && link.is_owned()
        && found.mac != link.mac
    {
        plan.link(LinkChange::CopyMac(name.clone(), uplink.clone()));
    }
    if let Some(mtu) = bridge.mtu.filter(|mtu| *mtu != link.mtu) {
        plan.link(LinkChange::SetMtu(name.clone(), mtu));
    }
    if !link.up {
        plan.link(LinkChange::SetUp(name.clone()));
    }
}

/// The node's own interfaces.
pub fn hosts(view: &View<'_>, plan: &mut Plan) -> Result<()> {
    for (name, bridge) in &view.desired.bridges {
        if view.filtering(name, bridge)? == Some(true) {
            self_vids(view, name, plan);
        }
    }
    for (name, host) in &view.desired.hosts {
        if host.tagged {
            vlan_interface(view, name, host, plan)?;
        }
        addresses(view, name, host, plan);
    }
    Ok(())
}

/// The VLANs that the bridge itself, as the node's own port, takes part in.
fn self_vids(view: &View<'_>, bridge: &IfName, plan: &mut Plan) {
    let on_bridge = view.desired.hosts.values().filter(|host| host.bridge == *bridge);
    let wanted: BTreeMap<Vid, VlanFlags> = on_bridge
        .map(|host| (host.vid, VlanFlags { pvid: !host.tagged, untagged: !host.tagged }))
        .collect();
    let link = view.observed.link(bridge);
    let found = link.map(|link| link.vlans.clone()).unwrap_or_default();
    for vid in found.keys().filter(|vid| !wanted.contains_key(vid)) {
        // Another's bridge may serve another's interfaces.
        if link.is_some_and(Link::is_owned) {
            plan.link(LinkChange::RemoveSelfVid(bridge.clone(), *vid));
        }
    }
    for (vid, flags) in wanted.iter().filter(|(vid, flags)| found.get(vid) != Some(flags)) {
        plan.link(LinkChange::AddSelfVid(bridge.clone(), *vid, *flags));
    }
}

fn vlan_interface(view: &View<'_>, name: &IfName, host: &Host, plan: &mut Plan) -> Result<()> {
    let Some(link) = view.observed.link(name) else {
        if !view.observed.kernel.vlan_devices {
            bail!("{name}: this kernel has no VLAN interfaces (CONFIG_VLAN_8021Q)");
        }
        plan.link(LinkChange::AddVlan(name.clone(), host.bridge.clone(), host.vid));
        return Ok(());
    };
    match &link.kind {
        Kind::Vlan { parent: Some(parent), vid } if *parent == host.bridge && *vid == host.vid => {}
        _ => bail!(
            "{name} exists and is not VLAN {} on {}: rename or delete it",
            host.vid,
            host.bridge
        ),
    }
    if !link.up {
        plan.link(LinkChange::SetUp(name.clone()));
    }
    Ok(())
}

fn addresses(view: &View<'_>, name: &IfName, host: &Host, plan: &mut Plan) {
    let link = view.observed.link(name);
    let found = link.map(|link| link.addresses.clone()).unwrap_or_default();
    for address in host.addresses.difference(&found) {
        plan.link(LinkChange::AddAddress(name.clone(), *address));
    }
    if link.is_some_and(Link::is_owned) {
        for address in found.difference(&host.addresses) {
            plan.link(LinkChange::RemoveAddress(name.clone(), *address));
        }
    }
}
