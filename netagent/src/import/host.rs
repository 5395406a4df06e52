//! The node's own interfaces on a bridge.

use std::collections::BTreeSet;

use netagent_common::vlan::Vid;

use super::{segment::Segment, yaml};
use crate::{
    names::{Cidr, IfName},
    state::{Kind, Link, Observed},
};

/// An interface of the node that a file can express.
pub struct Host<'a> {
    /// The interface.
    pub interface: IfName,
    /// The VLAN; none: the bridge itself.
    pub vlan: Option<Vid>,
    addresses: &'a BTreeSet<Cidr>,
}

impl Host<'_> {
    /// The keys of `host`. Gateways and routes of the interface belong here as well, once they are
    /// observed and the file has keys for them.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.vlan.iter().map(|vid| format!("vlan: {vid}")).collect();
        keys.push(match Vec::from_iter(self.addresses)[..] {
            [address] => format!("address: {}", yaml::scalar(address)),
            ref addresses => format!("address: {}", yaml::list(addresses)),
        });
        keys
    }
}

/// The interface of the node on a bridge: the one with the default route, or the first one.
pub fn of<'a>(segment: &Segment<'a>, observed: &'a Observed) -> Option<Host<'a>> {
    let hosts = all(segment, observed).filter_map(Result::ok);
    hosts.min_by_key(|host| (!observed.default_routes.contains(&host.interface), host.vlan))
}

/// What is said about the other interfaces of the node on a bridge.
pub fn others(segment: &Segment<'_>, observed: &Observed) -> Vec<String> {
    let expressed = of(segment, observed).map(|host| host.interface);
    let remark = |host: Result<Host<'_>, String>| match host {
        Ok(host) if Some(&host.interface) == expressed.as_ref() => None,
        Ok(host) => Some(format!("{}: a cluster network has one host interface", host.interface)),
        Err(reason) => Some(reason),
    };
    all(segment, observed).filter_map(remark).collect()
}

/// The VLANs of all interfaces of the node on a bridge.
pub fn vlans(segment: &Segment<'_>, observed: &Observed) -> BTreeSet<Vid> {
    let of_link = |link: &Link| match &link.kind {
        Kind::Vlan { parent: Some(parent), vid } if *parent == segment.bridge => Some(*vid),
        _ => None,
    };
    observed.links.values().filter_map(of_link).collect()
}

/// The interfaces, and why some of them cannot be expressed.
fn all<'a>(
    segment: &Segment<'a>,
    observed: &'a Observed,
) -> impl Iterator<Item = Result<Host<'a>, String>> {
    let untagged = (!segment.link.addresses.is_empty()).then(|| own(segment));
    let on_bridge = observed.links.iter().filter_map(|(name, link)| match &link.kind {
        Kind::Vlan { parent: Some(parent), vid } if *parent == segment.bridge => {
            Some(tagged(segment, name, link, *vid))
        }
        _ => None,
    });
    untagged.into_iter().chain(on_bridge.collect::<Vec<_>>())
}

/// The bridge itself.
fn own<'a>(segment: &Segment<'a>) -> Result<Host<'a>, String> {
    let bridge = &segment.bridge;
    let Some(native) = segment.native() else {
        return Err(format!(
            "the addresses of {bridge}: no frame on its uplink is untagged; use {bridge}.VLAN"
        ));
    };
    let pvid = segment.link.vlans.iter().find(|(_, flags)| flags.pvid).map(|(vid, _)| *vid);
    if segment.aware && pvid.is_some_and(|pvid| pvid != native) {
        return Err(format!(
            "the addresses of {bridge}: its own PVID is {}, and that of its uplink {native}",
            pvid.map_or(0, Vid::get)
        ));
    }
    Ok(Host { interface: bridge.clone(), vlan: None, addresses: &segment.link.addresses })
}

/// A VLAN interface on the bridge.
fn tagged<'a>(
    segment: &Segment<'_>,
    name: &IfName,
    link: &'a Link,
    vid: Vid,
) -> Result<Host<'a>, String> {
    if name.as_str() != format!("{}.{vid}", segment.bridge) {
        return Err(format!(
            "{name}: the interface of VLAN {vid} must be {}.{vid}",
            segment.bridge
        ));
    }
    if link.addresses.is_empty() {
        return Err(format!("{name}: has no address"));
    }
    Ok(Host { interface: name.clone(), vlan: Some(vid), addresses: &link.addresses })
}
