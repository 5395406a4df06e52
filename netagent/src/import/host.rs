//! The node's own interfaces on a bridge.

use std::collections::BTreeSet;

use netagent_common::vlan::Vid;

use super::{segment::Segment, yaml};
use crate::{
    names::{Cidr, IfName},
    state::{Kind, Link, MAIN_TABLE, Observed, PROTOCOL, Route},
};

/// An interface of the node that a file can express.
pub struct Host<'a> {
    /// The interface.
    pub interface: IfName,
    /// The VLAN; none: the bridge itself.
    pub vlan: Option<Vid>,
    link: &'a Link,
}

/// The protocols of routes that an operator added (`RTPROT_BOOT`, `RTPROT_STATIC`), or netagent for
/// a file. Others belong to a daemon, which adds them again.
const PROTOCOLS: [u8; 3] = [3, 4, PROTOCOL];

impl Host<'_> {
    /// The addresses that the file can have. An address that expires is renewed by a DHCP client
    /// or by router advertisements: see [`has_lease`](Self::has_lease).
    fn addresses(&self) -> Vec<&Cidr> {
        let lasting = self.link.addresses.iter().filter(|(_, address)| !address.expires());
        lasting.map(|(cidr, _)| cidr).collect()
    }

    /// Whether a DHCP client has got an address.
    fn has_lease(&self) -> bool {
        let mut addresses = self.link.addresses.iter();
        addresses.any(|(cidr, address)| cidr.address.is_ipv4() && address.expires())
    }

    /// The keys of `host`.
    pub fn keys(&self, observed: &Observed) -> Vec<String> {
        let mut keys: Vec<String> = self.vlan.iter().map(|vid| format!("vlan: {vid}")).collect();
        let bridge = match &self.link.kind {
            Kind::Vlan { parent: Some(parent), .. } => observed.link(parent),
            _ => None,
        };
        if bridge.is_some_and(|bridge| bridge.mtu != self.link.mtu) {
            keys.push(format!("mtu: {}", self.link.mtu));
        }
        match self.addresses()[..] {
            [] => {}
            [address] => keys.push(format!("address: {}", yaml::scalar(address))),
            ref addresses => keys.push(format!("address: {}", yaml::list(addresses))),
        }
        if self.has_lease() {
            keys.push("dhcp: v4".to_owned());
        }
        let (defaults, others): (Vec<_>, Vec<_>) =
            self.routes(observed).into_iter().partition(|route| route.is_default());
        match defaults.iter().filter_map(|route| route.via.as_ref()).collect::<Vec<_>>()[..] {
            [] => {}
            [gateway] => keys.push(format!("gateway: {}", yaml::scalar(gateway))),
            ref gateways => keys.push(format!("gateway: {}", yaml::list(gateways))),
        }
        let mut metrics = defaults.iter().map(|route| route.metric);
        if let Some(metric) = metrics.next().filter(|metric| *metric > 0)
            && metrics.all(|other| other == metric)
        {
            keys.push(format!("metric: {metric}"));
        }
        let others: Vec<String> = others
            .into_iter()
            .map(|route| {
                let via = route.via.map(|via| format!(", via: {}", yaml::scalar(via)));
                format!("{{ to: {}{} }}", yaml::scalar(route.to), via.unwrap_or_default())
            })
            .collect();
        if !others.is_empty() {
            keys.push(format!("routes: [{}]", others.join(", ")));
        }
        keys
    }

    /// The routes that the file can have: in the main table, by a gateway that is a neighbour.
    fn routes<'o>(&'o self, observed: &'o Observed) -> Vec<&'o Route> {
        let addresses = self.addresses();
        let mut routes: Vec<&Route> = Vec::new();
        for route in observed.routes_of(&self.interface) {
            let is_neighbour = route.via.is_none_or(|via| {
                via.is_ipv4() == route.to.address.is_ipv4()
                    && addresses.iter().any(|address| address.contains(via))
            });
            let is_new = !routes.iter().any(|other| other.to == route.to);
            let is_usable = route.via.is_some() || !route.is_default();
            if PROTOCOLS.contains(&route.protocol)
                && route.table == MAIN_TABLE
                && is_neighbour
                && is_new
                && is_usable
            {
                routes.push(route);
            }
        }
        routes
    }
}

/// The interfaces of the node on a bridge that a file can express, by VLAN.
pub fn of<'a>(segment: &Segment<'a>, observed: &'a Observed) -> Vec<Host<'a>> {
    let mut hosts: Vec<_> = all(segment, observed).filter_map(Result::ok).collect();
    hosts.sort_by_key(|host| host.vlan);
    hosts
}

/// What is said about the other interfaces of the node on a bridge.
pub fn others(segment: &Segment<'_>, observed: &Observed) -> Vec<String> {
    all(segment, observed).filter_map(Result::err).collect()
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
    Ok(Host { interface: bridge.clone(), vlan: None, link: segment.link })
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
    Ok(Host { interface: name.clone(), vlan: Some(vid), link })
}
