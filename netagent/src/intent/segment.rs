//! Cluster networks: the devices that a cluster network consists of.

use std::collections::BTreeMap;

use netagent_common::vlan::Vid;

use super::{
    bond,
    claims::Claim,
    items::{BondIntent, Native, SegmentIntent, UplinkIntent},
    problem::{Problem, Site},
};
use crate::{
    bond::Mode,
    names::IfName,
    state::{Bond, Bridge, FastPath, Filtering, Snooping},
    vids::VidSet,
};

/// The MTU of a new bond in bytes.
const ETHERNET_MTU: u32 = 1500;

/// A cluster network that has passed its checks.
pub struct Segment {
    /// The name.
    pub name: String,
    /// The item.
    pub site: Site,
    /// The bridge.
    pub bridge: IfName,
    /// The kernel's VLAN filter.
    pub filtering: Filtering,
    /// IGMP and MLD snooping of the bridge.
    pub snooping: Option<Snooping>,
    /// The uplink.
    pub uplink: Option<Uplink>,
    /// The mode of a bond that replaces the source MAC address of VMs' frames, which the file does
    /// not allow.
    pub rewrites_macs: Option<Mode>,
    /// The path of known unicast frames, unless a network has its own.
    pub fast_path: FastPath,
    /// Whether the bridge interface is promiscuous.
    pub promiscuous: bool,
    /// The VIDs on the uplink: the native VLAN, and those of the accepted hosts and networks.
    pub vids: VidSet,
    /// The VLANs that are the node's own, and the items that say so.
    pub host_vlans: BTreeMap<Vid, Site>,
}

/// The uplink of a cluster network.
pub struct Uplink {
    /// The bond, or the one NIC.
    pub device: IfName,
    /// The NICs.
    pub nics: Vec<IfName>,
    /// The bond, if there is one.
    pub bond: Option<Bond>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// VID of untagged frames.
    pub native: Option<Vid>,
    /// Whether frames of the native VLAN leave tagged.
    pub native_tagged: bool,
    /// Whether it gets an XDP program where the device supports it.
    pub xdp: bool,
}

impl Segment {
    /// Checks a cluster network by itself.
    pub fn new(site: &Site, intent: &SegmentIntent) -> Result<Self, Problem> {
        let bridge = bridge_name(intent)?;
        check_placeholder("bridge", &bridge)?;
        check_snooping(intent)?;
        let uplink =
            intent.uplink.as_ref().map(|uplink| Uplink::new(&intent.name, uplink)).transpose()?;
        Ok(Self {
            name: intent.name.clone(),
            site: site.clone(),
            bridge,
            filtering: intent.filtering,
            snooping: intent.snooping,
            vids: uplink.iter().filter_map(|uplink| uplink.native).collect(),
            rewrites_macs: intent.uplink.as_ref().and_then(|it| bond::rewrites_macs(&it.bond)),
            uplink,
            fast_path: intent.fast_path,
            promiscuous: false,
            host_vlans: BTreeMap::new(),
        })
    }

    /// VID of untagged frames. Without an uplink it is 1, the standard's default.
    pub fn native(&self) -> Option<Vid> {
        self.uplink.as_ref().map_or(Some(Vid::MIN), |uplink| uplink.native)
    }

    /// The largest MTU that a port can use, in bytes; `None`: unknown before the NIC is looked at.
    pub fn mtu(&self) -> Option<u32> {
        let uplink = self.uplink.as_ref()?;
        uplink.mtu.or_else(|| uplink.bond.as_ref().map(|_| ETHERNET_MTU))
    }

    /// The bridge's desired state.
    pub fn bridge(&self) -> Bridge {
        Bridge {
            segment: self.name.clone(),
            filtering: self.filtering,
            snooping: self.snooping,
            mtu: self.uplink.as_ref().and_then(|uplink| uplink.mtu),
            native: self.native(),
            mac_of: self.uplink.as_ref().map(Uplink::stable_mac),
            promiscuous: self.promiscuous,
        }
    }

    /// How many of the VIDs need room on the uplink.
    pub fn missing(&self, vids: &VidSet) -> usize {
        if self.uplink.is_none() {
            return 0;
        }
        vids.iter().filter(|vid| !self.vids.contains(*vid)).count()
    }
}

impl Uplink {
    /// The device whose MAC address does not change with the active NIC. The bridge uses it.
    fn stable_mac(&self) -> IfName {
        let moves = self.bond.as_ref().is_some_and(|bond| bond::address_moves(&bond.options));
        self.nics.first().filter(|_| moves).unwrap_or(&self.device).clone()
    }

    fn new(segment: &str, intent: &UplinkIntent) -> Result<Self, Problem> {
        let Some(first) = intent.nics.first() else {
            return Err(Problem::new(
                "uplink.nics",
                "is empty; name at least one NIC, or remove the uplink",
            ));
        };
        check_native("uplink.nativeTagged", intent.native, intent.native_tagged)?;
        let bond = bond(intent)?;
        Ok(Self {
            device: if bond.is_some() { bond_name(segment, &intent.bond)? } else { first.clone() },
            nics: intent.nics.clone(),
            bond,
            mtu: intent.mtu,
            native: intent.native.map_or(Some(Vid::MIN), |Native(vid)| vid),
            native_tagged: intent.native_tagged,
            xdp: intent.xdp,
        })
    }
}

fn bond(intent: &UplinkIntent) -> Result<Option<Bond>, Problem> {
    let Some(options) = bond::options(&intent.bond, &intent.nics)? else {
        let only_bond = [
            ("uplink.txQueueLen", intent.tx_queue_len.is_some()),
            ("uplink.mac", intent.mac.is_some()),
        ];
        return match only_bond.into_iter().find(|(_, given)| *given) {
            None => Ok(None),
            Some((key, _)) => {
                Err(Problem::new(key, "is set on a bond only, and bond mode is none; remove it"))
            }
        };
    };
    if intent.mac.is_some() && bond::address_moves(&options) {
        return Err(Problem::new(
            "uplink.mac",
            "cannot be fixed with failOverMac: active; remove one of them",
        ));
    }
    Ok(Some(Bond {
        members: intent.nics.iter().cloned().collect(),
        options,
        mtu: intent.mtu,
        txqlen: intent.tx_queue_len,
        mac: intent.mac,
    }))
}

/// The claims of a cluster network: its bond, its bridge, and the NICs.
pub fn claims(site: &Site, intent: &SegmentIntent) -> Vec<Claim> {
    let nics = intent.uplink.iter().flat_map(|uplink| uplink.nics.iter().enumerate());
    let nics = nics.map(|(index, nic)| Claim {
        device: nic.clone(),
        purpose: format!("a NIC of cluster network {}", intent.name),
        site: site.at(format!("uplink.nics[{index}]")),
    });
    bond_claim(site, intent).into_iter().chain(bridge_claim(site, intent)).chain(nics).collect()
}

/// The claim to the bond, if there is one and its name is valid.
pub fn bond_claim(site: &Site, intent: &SegmentIntent) -> Option<Claim> {
    let bond = &intent.uplink.as_ref()?.bond;
    bond.mode?;
    Some(Claim {
        device: bond_name(&intent.name, bond).ok()?,
        purpose: format!("the bond of cluster network {}", intent.name),
        site: site.at(if bond.name.is_some() { "uplink.bond.name" } else { "" }),
    })
}

/// The claim to the bridge, if its name is valid.
pub fn bridge_claim(site: &Site, intent: &SegmentIntent) -> Option<Claim> {
    Some(Claim {
        device: bridge_name(intent).ok()?,
        purpose: format!("the bridge of cluster network {}", intent.name),
        site: site.at(if intent.bridge.is_some() { "bridge" } else { "" }),
    })
}

/// The bridge's name.
pub fn bridge_name(intent: &SegmentIntent) -> Result<IfName, Problem> {
    match &intent.bridge {
        Some(name) => Ok(name.clone()),
        None => device(&intent.name, "br"),
    }
}

fn bond_name(segment: &str, intent: &BondIntent) -> Result<IfName, Problem> {
    let Some(name) = &intent.name else { return device(segment, "bo") };
    check_placeholder("uplink.bond.name", name)?;
    Ok(name.clone())
}

/// Snooping by VLAN needs the bridge's VLAN filter (`br_multicast_toggle_vlan_snooping` in
/// net/bridge/br_multicast.c).
fn check_snooping(intent: &SegmentIntent) -> Result<(), Problem> {
    if (intent.snooping, intent.filtering) == (Some(Snooping::Vlan), Filtering::Off) {
        return Err(Problem::new(
            "multicastSnooping",
            "vlan needs the bridge's VLAN filter: remove `vlanFiltering: off`, or use off",
        ));
    }
    Ok(())
}

/// Refuses a name that the kernel does not take as it is (dev_alloc_name in net/core/dev.c).
fn check_placeholder(key: &str, name: &IfName) -> Result<(), Problem> {
    if name.as_str().contains('%') {
        let text = format!(
            "\"{name}\" has a '%', which the kernel replaces with a number; use a name without"
        );
        return Err(Problem::new(key, text));
    }
    Ok(())
}

fn device(segment: &str, suffix: &str) -> Result<IfName, Problem> {
    format!("{segment}-{suffix}").parse().map_err(|error: String| Problem::new("", error))
}

/// Tagged frames of the native VLAN need a native VLAN that is given.
pub fn check_native(key: &str, native: Option<Native>, tagged: bool) -> Result<(), Problem> {
    if tagged && !matches!(native, Some(Native(Some(_)))) {
        return Err(Problem::new(key, "needs a native VLAN: add native: with its VID"));
    }
    Ok(())
}
