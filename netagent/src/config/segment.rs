//! One cluster network: the devices that it is made of.

use std::collections::BTreeSet;

use netagent_common::vlan::Vid;

use super::{
    at::At,
    bond,
    claims::Claims,
    error::Fault,
    name::ClusterName,
    raw,
    value::{Mtu, Native, Xdp},
};
use crate::{
    names::IfName,
    state::{Bond, Bridge, FastPath, Filtering},
};

/// The MTU that a new bond has, in bytes.
const ETHERNET_MTU: u32 = 1500;

/// A cluster network.
pub struct Segment {
    /// Its name.
    pub name: At<ClusterName>,
    /// Its bridge, at the key that named it.
    pub bridge: At<IfName>,
    /// The kernel's VLAN filter.
    pub filtering: Filtering,
    /// Towards the wire.
    pub uplink: Option<Uplink>,
    /// Which way known unicast goes, where a network says nothing else.
    pub fast_path: FastPath,
    /// The node's own interface, not checked yet.
    pub host: Option<raw::Host>,
}

/// A cluster network's way to the wire.
pub struct Uplink {
    /// The bond, or the one NIC.
    pub device: IfName,
    /// The NICs.
    pub nics: Vec<At<IfName>>,
    /// The bond, if there is one.
    pub bond: Option<Bond>,
    /// In bytes.
    pub mtu: Option<At<Mtu>>,
    /// VID of untagged frames.
    pub native: Option<Vid>,
    /// Whether frames of the native VLAN leave tagged.
    pub native_tagged: bool,
    /// Whether XDP can and should go on it.
    pub xdp: bool,
}

impl Segment {
    /// Checks what can be told from this cluster network alone.
    pub fn new(name: At<ClusterName>, raw: raw::ClusterNetwork) -> Result<Self, Fault> {
        let raw::ClusterNetwork { bridge, vlan_filtering, uplink, host, fast_path } = raw;
        let bridge = match bridge {
            Some(bridge) => bridge,
            None => device(&name, "br")?,
        };
        // dev_alloc_name in net/core/dev.c.
        if bridge.value.as_str().contains('%') {
            return Err(bridge.fault(format!(
                "\"{}\" has a '%', which the kernel replaces with a number; take a name without",
                bridge.value
            )));
        }
        Ok(Self {
            bridge,
            filtering: vlan_filtering.map_or(Filtering::Auto, |filtering| filtering.value),
            uplink: uplink.map(|uplink| Uplink::new(&name, uplink)).transpose()?,
            fast_path: fast_path.map(|path| path.value).unwrap_or_default(),
            host,
            name,
        })
    }

    /// VID of untagged frames; a network of this node only has 1, the standard's default.
    pub fn native(&self) -> Option<Vid> {
        self.uplink.as_ref().map_or(Some(Vid::MIN), |uplink| uplink.native)
    }

    /// The largest MTU that a port can use, in bytes; `None`: unknown here.
    pub fn mtu(&self) -> Option<u32> {
        let uplink = self.uplink.as_ref()?;
        let of_bond = uplink.bond.as_ref().map(|_| ETHERNET_MTU);
        uplink.mtu.as_ref().map(|mtu| mtu.value.0).or(of_bond)
    }

    /// What it says to a bridge.
    pub fn bridge(&self) -> Bridge {
        Bridge {
            segment: self.name.value.0.clone(),
            filtering: self.filtering,
            mtu: self.uplink.as_ref().and_then(|uplink| uplink.mtu.as_ref()).map(|mtu| mtu.value.0),
            mac_of: self.uplink.as_ref().map(Uplink::keeper_of_the_mac),
        }
    }

    /// Claims the device that the agent makes of the NICs.
    pub fn claim_bond(&self, claims: &mut Claims) -> Result<(), Fault> {
        let bonds = self.uplink.iter().filter(|uplink| uplink.bond.is_some());
        bonds.into_iter().try_for_each(|Uplink { device, .. }| {
            claims.claim(
                device,
                self.name.place,
                format!("the bond of cluster network {}", self.name.value.0),
            )
        })
    }

    /// Claims the bridge.
    pub fn claim_bridge(&self, claims: &mut Claims) -> Result<(), Fault> {
        let use_of_it = format!("the bridge of cluster network {}", self.name.value.0);
        claims.claim(&self.bridge.value, self.bridge.place, use_of_it)
    }

    /// Claims the NICs.
    pub fn claim_nics(&self, claims: &mut Claims) -> Result<(), Fault> {
        let nics = self.uplink.iter().flat_map(|uplink| &uplink.nics);
        nics.into_iter().try_for_each(|nic| {
            claims.claim(
                &nic.value,
                nic.place,
                format!("a NIC of cluster network {}", self.name.value.0),
            )
        })
    }
}

impl Uplink {
    /// The device whose address the bridge has: one that does not change with the NIC in use.
    fn keeper_of_the_mac(&self) -> IfName {
        let moves = self.bond.as_ref().is_some_and(|bond| bond::address_moves(&bond.options));
        let first = self.nics.first().filter(|_| moves);
        first.map_or_else(|| self.device.clone(), |nic| nic.value.clone())
    }

    fn new(name: &At<ClusterName>, raw: raw::Uplink) -> Result<Self, Fault> {
        let raw::Uplink { nics, bond, mtu, tx_queue_len, mac, native, native_tagged, xdp } = raw;
        let Some(first) = nics.items.first().cloned() else {
            return Err(nics.fault("is empty; name at least one NIC, or remove the uplink"));
        };
        let (native, native_tagged) = native_vid(native, native_tagged, Some(Vid::MIN))?;
        let xdp = xdp.is_none_or(|xdp| xdp.value == Xdp::Auto);

        let Some(options) = bond::bonding(bond.unwrap_or_default(), &nics)? else {
            let place = tx_queue_len.map(|length| length.place).or(mac.map(|mac| mac.place));
            if let Some(place) = place {
                return Err(Fault::new(
                    place,
                    "is set on a bond only, and bond mode is none; remove it",
                ));
            }
            let device = first.value;
            return Ok(Self {
                device,
                nics: nics.items,
                bond: None,
                mtu,
                native,
                native_tagged,
                xdp,
            });
        };
        if let Some(mac) = mac.as_ref().filter(|_| bond::address_moves(&options)) {
            return Err(mac.fault("cannot be fixed with failOverMac: active; remove one of them"));
        }
        let bond = Bond {
            members: nics.items.iter().map(|nic| nic.value.clone()).collect::<BTreeSet<_>>(),
            options,
            mtu: mtu.as_ref().map(|mtu| mtu.value.0),
            txqlen: tx_queue_len.map(|length| length.value.0),
            mac: mac.map(|mac| mac.value),
        };
        let device = device(name, "bo")?.value;
        Ok(Self { device, nics: nics.items, bond: Some(bond), mtu, native, native_tagged, xdp })
    }
}

/// The VID of untagged frames, and whether its frames leave tagged.
pub fn native_vid(
    native: Option<At<Native>>,
    tagged: Option<At<bool>>,
    default: Option<Vid>,
) -> Result<(Option<Vid>, bool), Fault> {
    let is_written = native.as_ref().is_some_and(|native| native.value.0.is_some());
    if let Some(tagged) = tagged.as_ref().filter(|tagged| tagged.value && !is_written) {
        return Err(tagged.fault("needs a native VLAN: add native: with its VID"));
    }
    Ok((native.map_or(default, |native| native.value.0), tagged.is_some_and(|tagged| tagged.value)))
}

/// The name of a device that the agent makes.
fn device(name: &At<ClusterName>, suffix: &str) -> Result<At<IfName>, Fault> {
    let At { value, place } = name;
    let value =
        format!("{}-{suffix}", value.0).parse().map_err(|error: String| name.fault(error))?;
    Ok(At { value, place: *place })
}
