//! Gives back what netagent did not create and nothing desires any more, as it was found
//! ([`Original`]): before its programs go, a port has the VLANs that it had, and its bridge filters
//! as it did.

use netagent_common::{
    policy::{BRIDGE_STRIPS, PER_VLAN},
    vlan::Vid,
};

use super::{Plan, Unit, View, bonds, hand_back::HandBack, link_local, ports::set_vlans};
use crate::{
    bond::BondOption,
    change::{DatapathChange, LinkChange},
    names::IfName,
    state::{
        Bond, Desired, Kind, Link, Observed, ObservedDatapath, Original, Part, PortPolicy, Subject,
        UnitId, VlanFlags,
    },
};

/// Gives back bridges, while their ports still have their programs.
pub fn bridges(view: &View<'_>, plan: &mut Plan) {
    for (name, link, original) in view.given_back() {
        let (Kind::Bridge(found), Some(state)) = (&link.kind, original.bridge) else { continue };
        let mut unit = Unit::new(UnitId::new(Part::FormerBridge, name), Subject::Node);
        if let Some(on) = state.vlan_filtering.filter(|on| found.vlan_filtering != Some(*on)) {
            // The policies for an unaware bridge fit both.
            for (port, policy) in view.unaware(name).filter(|_| !on) {
                unit.datapath(view, DatapathChange::SetPolicy(port.clone(), Box::new(policy)));
            }
            unit.link(view, LinkChange::SetFiltering(name.clone(), on));
        }
        if let Some(pvid) = state.default_pvid.filter(|pvid| found.default_pvid != Some(*pvid)) {
            unit.link(view, LinkChange::SetDefaultPvid(name.clone(), pvid));
        }
        if let Some(snooping) = state.snooping.filter(|it| found.snooping != Some(*it)) {
            unit.link(view, LinkChange::SetSnooping(name.clone(), snooping));
        }
        let vlans = original.vlans();
        for vid in link.vlans.keys().filter(|vid| !vlans.contains_key(vid)) {
            unit.link(view, LinkChange::RemoveSelfVid(name.clone(), *vid));
        }
        for (vid, flags) in vlans.iter().filter(|(vid, flags)| link.vlans.get(vid) != Some(flags)) {
            unit.link(view, LinkChange::AddSelfVid(name.clone(), *vid, *flags));
        }
        mtu(view, name, link, original, &mut unit);
        plan.push(unit);
    }
}

/// Gives back a port: it stays on the bridge that it was found on, or goes back to it. Where it is
/// not known any more how it was found, it stays as it is.
pub fn port(view: &View<'_>, name: &IfName, device: &IfName, link: &Link, unit: &mut Unit) {
    if view.may_be_at_home(device, link) {
        return unit.datapath(view, DatapathChange::Forget(name.clone()));
    }
    let kind = |of: Option<&IfName>| of.and_then(|of| view.observed.link(of)).map(|of| &of.kind);
    let original = view.original(device).filter(|_| !view.desired.mentions(device));
    let home = original.and_then(|original| original.controller.as_ref());
    let home = home.filter(|home| matches!(kind(Some(home)), Some(Kind::Bridge(_))));
    let stays = home.is_some() && link.controller.as_ref() == home;
    let hand_back = HandBack::over(view, name);
    hand_back.before(view, unit);
    let vlans = original.map(Original::vlans).unwrap_or_default();
    if stays {
        link_local::give_back(view, device, original, link.group_fwd_mask, unit);
    }
    if stays && home.is_some_and(|home| !view.filters_anew(home)) {
        set_vlans(view, device, &link.vlans, &vlans, unit);
    } else if !stays && matches!(kind(link.controller.as_ref()), Some(Kind::Bridge(_))) {
        unit.link(view, LinkChange::Release(device.clone()));
        let is_uplink =
            view.datapath.ports.get(name).is_some_and(|port| port.policy.mode() == "uplink");
        if is_uplink && !link.up {
            unit.link(view, LinkChange::SetUp(device.clone()));
        }
    }
    hand_back.after(view, unit);
    unit.datapath(view, DatapathChange::Forget(name.clone()));
    if let Some(home) = home.filter(|_| !stays) {
        unit.link(view, LinkChange::AddPort(device.clone(), home.clone()));
        let pvid = view.observed_bridge(home).and_then(|state| state.default_pvid);
        let given =
            pvid.and_then(Vid::new).map(|vid| (vid, VlanFlags { pvid: true, untagged: true }));
        set_vlans(view, device, &given.into_iter().collect(), &vlans, unit);
        link_local::give_back(view, device, original, 0, unit);
    }
}

/// Gives back the attributes of devices: of bonds all options and members, of others the MTU and
/// the offload.
pub fn devices(view: &View<'_>, plan: &mut Plan) {
    for (name, link, original) in view.given_back() {
        let mut unit = Unit::new(UnitId::new(Part::GivenBack, name), Subject::Node);
        match (&link.kind, &original.bond) {
            (Kind::Bridge(_), _) => continue,
            (Kind::Bond(state), Some(options)) => {
                // An option that it did not have is not among those that were read.
                let is_primary = |option: &&BondOption| matches!(option, BondOption::Primary(_));
                let had_none = !options.iter().any(|option| is_primary(&option));
                let has = state.options.iter().find(is_primary).filter(|_| had_none);
                let none = has.map(|_| BondOption::Primary(None));
                let options = options.iter().cloned().chain(none).collect();
                let members = view.observed.originals.iter();
                let members = members.filter(|(_, nic)| nic.controller.as_ref() == Some(name));
                let bond = Bond {
                    members: members.map(|(nic, _)| nic.clone()).collect(),
                    options,
                    mtu: Some(original.mtu),
                    txqlen: Some(original.txqlen),
                    mac: Some(original.mac),
                };
                bonds::change(view, name, &bond, link, state, &mut unit);
            }
            _ if view.bond_of(name).is_some() => {
                // The bond gives its member the MTU back when it releases it.
                offload(view, name, original, &mut unit);
            }
            _ => {
                vlans(view, name, link, original, &mut unit);
                mtu(view, name, link, original, &mut unit);
                offload(view, name, original, &mut unit);
            }
        }
        plan.push(unit);
    }
}

/// The VLANs of a port that left the file before its bridge.
fn vlans(view: &View<'_>, name: &IfName, link: &Link, original: &Original, unit: &mut Unit) {
    let has_policy = view.datapath.ports.values().any(|port| port.ifindex == link.index);
    let bridge = link.controller.as_ref().filter(|bridge| view.observed_bridge(bridge).is_some());
    if let Some(bridge) = bridge.filter(|bridge| original.controller.as_ref() == Some(*bridge))
        && !has_policy
        && !view.filters_anew(bridge)
    {
        set_vlans(view, name, &link.vlans, &original.vlans(), unit);
    }
}

fn mtu(view: &View<'_>, name: &IfName, link: &Link, original: &Original, unit: &mut Unit) {
    if original.mtu != link.mtu {
        unit.link(view, LinkChange::SetMtu(name.clone(), original.mtu));
    }
}

fn offload(view: &View<'_>, name: &IfName, original: &Original, unit: &mut Unit) {
    let Some(now) = view.datapath.rx_vlan.get(name) else { return };
    let tags = original.hidden_tags().except(*now);
    if tags.any() {
        unit.datapath(view, DatapathChange::RxVlanOn(name.clone(), tags));
    }
}

/// Whether a device is given back later, with its bridge: until then it keeps its VLANs.
pub fn waits(desired: &Desired, observed: &Observed, original: &Original) -> bool {
    let datapath = ObservedDatapath::default();
    let view = View { desired, observed, datapath: &datapath };
    original.controller.as_ref().is_some_and(|bridge| view.filters_anew(bridge))
}

impl View<'_> {
    /// Whether a desired bridge filters now and did not when it was found: the VLANs that its ports
    /// had then say nothing about their connectivity.
    fn filters_anew(&self, bridge: &IfName) -> bool {
        let original = self.observed.originals.get(bridge).and_then(|original| original.bridge);
        let found = original.and_then(|state| state.vlan_filtering);
        let now = self.observed_bridge(bridge).and_then(|state| state.vlan_filtering);
        self.desired.bridges.contains_key(bridge) && found == Some(false) && now == Some(true)
    }

    /// A device that netagent did not create, as it was found.
    pub fn original(&self, name: &IfName) -> Option<&Original> {
        let link = self.observed.link(name).filter(|link| !link.is_owned())?;
        self.observed.originals.get(name).filter(|original| original.index == link.index)
    }

    /// Whether a device may have been found on the bridge that it is on, and nobody knows.
    fn may_be_at_home(&self, device: &IfName, link: &Link) -> bool {
        let controller = link.controller.as_ref().and_then(|name| self.observed.link(name));
        self.observed.originals_lost
            && self.original(device).is_none()
            && controller.is_some_and(|controller| !controller.is_owned())
    }

    /// The devices that exist, have an original, and are not desired any more.
    fn given_back(&self) -> impl Iterator<Item = (&IfName, &Link, &Original)> {
        let names = self.observed.originals.keys();
        let is_kept = |name: &IfName| self.desired.keep_former_ports && self.is_former_port(name);
        let former = names.filter(move |name| !self.desired.mentions(name) && !is_kept(name));
        former.filter_map(|name| Some((name, self.observed.link(name)?, self.original(name)?)))
    }

    /// The policies of a bridge's ports as they are on a bridge that does not filter.
    fn unaware(&self, bridge: &IfName) -> impl Iterator<Item = (&IfName, PortPolicy)> {
        let ports = self.datapath.ports.iter().map(|(name, port)| (name, &port.policy));
        let of_bridge = ports.filter(move |(_, policy)| policy.bridge.as_ref() == Some(bridge));
        let mut uplinks = of_bridge.clone().filter(|(_, policy)| policy.mode() == "uplink");
        let native = uplinks.find_map(|(_, policy)| policy.pvid);
        of_bridge.map(move |(name, policy)| {
            let flags = policy.flags & !(BRIDGE_STRIPS | PER_VLAN);
            (name, PortPolicy { flags, bridge_pvid: native, ..policy.clone() })
        })
    }
}
