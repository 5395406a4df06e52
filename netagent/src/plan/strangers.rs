//! Bridges that netagent did not create, and their ports that no source names (strangers): both
//! stay as they were found.
//!
//! netagent changes nothing at a stranger. It switches no VLAN filter that it was not told to, and
//! the uplink lets the strangers' VLANs pass as long as there are strangers. What they would lose
//! nevertheless waits for confirmation that names the bridge.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use netagent_common::vlan::Vid;

use super::{Plan, Unit, View};
use crate::{
    names::IfName,
    state::{BridgeState, Code, Finding, Kind, Link, Part, Port, Role, UnnamedLink, VlanFlags},
    vids::VidSet,
};

/// Adds a finding for each stranger: the VLANs that it keeps, and why.
pub fn report(view: &View<'_>, plan: &mut Plan) {
    for bridge in view.desired.bridges.keys() {
        for Stranger { name, is_nameable, link } in view.strangers(bridge) {
            let remedy = if is_nameable {
                format!("add it to `ports`, or ip link set {name} nomaster")
            } else {
                format!("{}, or ip link set $'{name}' nomaster", rename(name))
            };
            plan.findings.push(Finding::new(
                view.desired.segment_of(bridge),
                Code::UnmanagedPort,
                format!(
                    "{name} is a port of {bridge} that no source names: netagent does not filter \
                     it; {}",
                    view.what_it_has(bridge, link)
                ),
                remedy,
            ));
        }
    }
    // Members with other names are released.
    for bond in view.desired.bonds.keys() {
        for UnnamedLink { name, .. } in view.observed.unnamed_of(bond) {
            plan.findings.push(Finding::new(
                view.segment_of_bond(bond),
                Code::UnmanagedPort,
                format!("{name} is a member of {bond} that no source can name"),
                format!("{}, or ip link set $'{name}' nomaster", rename(name)),
            ));
        }
    }
}

/// How an escaped name gets one that a source can have.
fn rename(name: &str) -> String {
    format!("rename it (ip link set $'{name}' down name NAME up) and name it in the file")
}

/// A port of a managed bridge that is not in the desired state.
pub struct Stranger<'a> {
    /// Its name; escaped if no source can have it.
    name: &'a str,
    /// Whether a source can name it.
    is_nameable: bool,
    link: &'a Link,
}

impl View<'_> {
    /// The state of a bridge that exists and that netagent did not create.
    pub fn adopted(&self, name: &IfName) -> Option<BridgeState> {
        let is_owned = self.observed.link(name).is_some_and(Link::is_owned);
        self.observed_bridge(name).filter(|_| !is_owned)
    }

    /// A port as it is carried out: the uplink of an adopted bridge lets the VLANs of strangers
    /// pass as well. On an unaware bridge these are all VLANs, as nothing tells which they use.
    pub fn with_strangers<'a>(&self, name: &IfName, port: &'a Port, aware: bool) -> Cow<'a, Port> {
        if !matches!(port.role, Role::Uplink { .. }) || self.adopted(&port.bridge).is_none() {
            return Cow::Borrowed(port);
        }
        let mut vids = self.vids_of_interfaces(&port.bridge);
        let mut strangers = self.strangers(&port.bridge).peekable();
        if !aware && strangers.peek().is_some() {
            vids.extend((1..=4094).filter_map(Vid::new));
        } else if aware {
            vids.extend(strangers.flat_map(|it| it.link.vlans.keys().copied()));
            let carried = self.carried(name, &port.bridge);
            vids.retain(|vid| carried.contains_key(vid));
        }
        if vids.iter().all(|vid| port.vids.contains(*vid)) {
            return Cow::Borrowed(port);
        }
        let vids = port.vids.iter().chain(vids).collect();
        Cow::Owned(Port { vids, ..port.clone() })
    }

    /// The bridge whose strangers lose VLANs by a unit's steps.
    pub fn cuts_off_strangers(&self, unit: &Unit) -> Option<IfName> {
        let name = &unit.id.device;
        let bridge = match unit.id.part {
            _ if unit.steps.is_empty() => None,
            Part::Filtering => Some(name),
            Part::Port => {
                let port = self.desired.ports.get(name)?;
                self.alters_the_wire(name, port).then_some(&port.bridge)
            }
            _ => None,
        }?;
        self.adopted(bridge)?;
        self.strangers(bridge).next().map(|_| bridge.clone())
    }

    /// Whether frames of strangers would be on the wire in another form, or not at all.
    fn alters_the_wire(&self, name: &IfName, port: &Port) -> bool {
        let on_bridge = self.carried(name, &port.bridge);
        let is_port = self
            .observed
            .link(name)
            .is_some_and(|link| link.controller.as_ref() == Some(&port.bridge));
        if !matches!(port.role, Role::Uplink { .. }) || !is_port {
            return false;
        }
        let untagged = port.pvid.filter(|_| !port.pvid_tagged);
        let aware = self.adopted(&port.bridge).is_some_and(|it| it.vlan_filtering == Some(true));
        if !aware {
            let known = self.datapath.ports.get(name).map(|known| &known.policy);
            let was = known.is_none_or(|policy| policy.pvid.is_some());
            return was && untagged.is_none();
        }
        let held: BTreeSet<Vid> =
            self.strangers(&port.bridge).flat_map(|it| it.link.vlans.keys().copied()).collect();
        let flags = |vid: Vid| {
            let is_native = untagged == Some(vid);
            VlanFlags { pvid: is_native, untagged: is_native }
        };
        held.into_iter().any(|vid| on_bridge.get(&vid).is_some_and(|found| *found != flags(vid)))
    }

    /// The VLANs that an uplink carries for a bridge now.
    fn carried(&self, uplink: &IfName, bridge: &IfName) -> BTreeMap<Vid, VlanFlags> {
        let link = self.observed.link(uplink);
        let link = link.filter(|link| link.controller.as_ref() == Some(bridge));
        link.map(|link| link.vlans.clone()).unwrap_or_default()
    }

    /// The VIDs of VLAN interfaces on a bridge that are not ours.
    fn vids_of_interfaces(&self, bridge: &IfName) -> BTreeSet<Vid> {
        let links = self.observed.links.iter();
        let foreign = links.filter(|(name, _)| !self.desired.hosts.contains_key(*name));
        foreign
            .filter_map(|(_, link)| match &link.kind {
                Kind::Vlan { parent: Some(parent), vid } if parent == bridge => Some(*vid),
                _ => None,
            })
            .collect()
    }

    /// The connectivity of a stranger now, and what remains of it.
    fn what_it_has(&self, bridge: &IfName, link: &Link) -> String {
        let held = vlans(&link.vlans);
        let found = self.observed_bridge(bridge).and_then(|state| state.vlan_filtering);
        let wanted = self.filtering(bridge, &self.desired.bridges[bridge]);
        match (found, wanted) {
            (Some(true), Some(false)) => format!(
                "it has {held} by the bridge's VLAN filter; without the filter it has all VLANs, \
                 and its untagged frames are in the native VLAN"
            ),
            (Some(true), _) => format!("it keeps {held}"),
            (_, Some(true)) => format!(
                "it has all VLANs, as {bridge} does not filter; with the VLAN filter it has only \
                 {held}"
            ),
            _ => format!("it keeps all VLANs, as {bridge} does not filter"),
        }
    }

    /// Ports of a managed bridge that are not in the desired state.
    pub fn strangers<'a>(&'a self, bridge: &'a IfName) -> impl Iterator<Item = Stranger<'a>> {
        let is_filtered =
            |link: &Link| self.datapath.ports.values().any(|port| port.ifindex == link.index);
        let named = self.observed.ports_of(bridge);
        let named = named.filter(|(name, _)| !self.desired.ports.contains_key(*name));
        let named = named.map(|(name, link)| (name.as_str(), true, link));
        let unnamed = self.observed.unnamed_of(bridge);
        let unnamed = unnamed.map(|it| (it.name.as_str(), false, &it.link));
        let all = named.chain(unnamed).filter(move |(.., link)| !is_filtered(link));
        all.map(|(name, is_nameable, link)| Stranger { name, is_nameable, link })
    }
}

/// VLANs in words.
fn vlans(vlans: &BTreeMap<Vid, VlanFlags>) -> String {
    if vlans.is_empty() {
        return "no VLAN".to_owned();
    }
    let pvid = vlans.iter().find(|(_, flags)| flags.pvid).map(|(vid, _)| *vid);
    let text = format!("VLAN {}", vlans.keys().copied().collect::<VidSet>());
    match pvid {
        Some(vid) => format!("{text} (untagged frames: {vid})"),
        None => format!("{text} (untagged frames: none)"),
    }
}
