//! Originals: the devices that netagent did not create, as they were before its first change. What
//! netagent no longer manages is given back as it was found.

use std::collections::{BTreeMap, BTreeSet};

use netagent_common::vlan::Vid;
use serde::{Deserialize, Serialize};

use super::{Address, BondState, BridgeState, HiddenTags, Kind, Link, Route, VlanFlags};
use crate::{
    bond::BondOption,
    names::{Cidr, IfName, Mac},
};

/// The originals by device.
pub type Originals = BTreeMap<IfName, Original>;

/// A device as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// Interface index: another device may have the name later.
    pub index: u32,
    /// MTU in bytes.
    pub mtu: u32,
    /// The MTU that netagent has given it since, for the file. Earlier files do not say.
    #[serde(default)]
    pub mtu_set: Option<u32>,
    /// Length of the transmit queue in packets.
    pub txqlen: u32,
    /// MAC address.
    pub mac: Mac,
    /// The bond or bridge of the device.
    pub controller: Option<IfName>,
    /// VLANs of a bridge port, or a bridge's own VLANs, in ranges with equal flags.
    vlans: Vec<(u16, u16, VlanFlags)>,
    /// A bridge: `vlan_filtering` and `vlan_default_pvid`.
    pub bridge: Option<BridgeState>,
    /// A bond: its options.
    pub bond: Option<Vec<BondOption>>,
    /// Whether the NIC moves C-tags from received frames to the metadata.
    rx_vlan: bool,
    /// Whether it does so with S-tags. Earlier files do not say.
    #[serde(default)]
    rx_vlan_stag: bool,
    /// Its addresses.
    pub addresses: Vec<(Cidr, Address)>,
    /// The routes over it.
    pub routes: BTreeSet<Route>,
    /// A VLAN interface: its lower link and VID. A takeover deletes it.
    pub vlan: Option<(IfName, u16)>,
    /// The link-local groups that the bridge forwards from this port.
    #[serde(default)]
    pub group_fwd_mask: u16,
    /// Its alias.
    pub alias: Option<String>,
}

impl Original {
    /// A device as it is now.
    pub fn of(link: &Link, hidden: HiddenTags) -> Self {
        let flags = |vid: &Vid| link.vlans[vid];
        let vids: Vec<Vid> = link.vlans.keys().copied().collect();
        let ranges =
            vids.chunk_by(|one, next| one.get() + 1 == next.get() && flags(one) == flags(next));
        let range = |range: &[Vid]| {
            let (first, last) = (range.first()?, range.last()?);
            Some((first.get(), last.get(), flags(first)))
        };
        let (bridge, bond) = match &link.kind {
            Kind::Bridge(state) => (Some(*state), None),
            Kind::Bond(BondState { options, .. }) => (None, Some(options.clone())),
            Kind::Vlan { .. } | Kind::Other(_) => (None, None),
        };
        let vlan = match &link.kind {
            Kind::Vlan { parent: Some(parent), vid } => Some((parent.clone(), vid.get())),
            _ => None,
        };
        Self {
            index: link.index,
            mtu: link.mtu,
            mtu_set: None,
            txqlen: link.txqlen,
            mac: link.mac,
            controller: link.controller.clone(),
            vlans: ranges.filter_map(range).collect(),
            bridge,
            bond,
            rx_vlan: hidden.c,
            rx_vlan_stag: hidden.s,
            addresses: link.addresses.iter().map(|(cidr, known)| (*cidr, known.clone())).collect(),
            routes: BTreeSet::new(),
            vlan,
            group_fwd_mask: link.group_fwd_mask,
            alias: link.alias.clone(),
        }
    }

    /// The tags that the NIC moved to the metadata.
    pub const fn hidden_tags(&self) -> HiddenTags {
        HiddenTags { c: self.rx_vlan, s: self.rx_vlan_stag }
    }

    /// The device with the routes over it.
    #[must_use]
    pub fn with_routes(self, routes: BTreeSet<Route>) -> Self {
        Self { routes, ..self }
    }

    /// What was known of one of its addresses.
    pub fn address(&self, cidr: &Cidr) -> Option<&Address> {
        self.addresses.iter().find(|(found, _)| found == cidr).map(|(_, known)| known)
    }

    /// The VLANs of a bridge port, or a bridge's own VLANs.
    pub fn vlans(&self) -> BTreeMap<Vid, VlanFlags> {
        let ranges = self.vlans.iter();
        ranges
            .flat_map(|(first, last, flags)| (*first..=*last).map(|vid| (vid, *flags)))
            .filter_map(|(vid, flags)| Some((Vid::new(vid)?, flags)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::sample::link;

    #[test]
    fn vlans_survive_the_file() {
        let mut tap = link(7, Kind::Other("tun".to_owned()));
        let pvid = VlanFlags { pvid: true, untagged: true };
        tap.vlans = [2, 3, 4, 9, 4094].map(|vid| (Vid::new(vid).unwrap(), <_>::default())).into();
        tap.vlans.insert(Vid::MIN, pvid);
        let original = Original::of(&tap, HiddenTags { c: true, s: true });
        let text = serde_json::to_string(&original).unwrap();
        let read: Original = serde_json::from_str(&text).unwrap();
        assert_eq!((&read, read.vlans()), (&original, tap.vlans));
        assert_eq!(read.vlans.len(), 4, "{text}");
    }
}
