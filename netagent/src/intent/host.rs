//! The node's own interfaces: the device of the addresses, and their subnets.

use std::{collections::BTreeSet, net::IpAddr};

use netagent_common::vlan::Vid;

use super::{
    claims::Claim,
    items::{HostIntent, RouteIntent},
    mtu,
    problem::{Problem, Site},
    segment::Segment,
};
use crate::{
    names::{Cidr, IfName, Subnet as Destination},
    state::{Dhcp, Host, Route},
};

/// Checks a host of a cluster network by itself.
pub fn host(intent: &HostIntent, segment: &Segment) -> Result<(IfName, Host), Problem> {
    let (interface, vid) = match (intent.vlan, segment.native()) {
        (Some(vid), _) => (vlan_interface(&segment.bridge, vid)?, vid),
        (None, Some(native)) => (segment.bridge.clone(), native),
        (None, None) => {
            return Err(Problem::new(
                "address",
                "needs a vlan: the uplink has native: none, so no frame is untagged",
            ));
        }
    };
    mtu::check(intent.mtu, segment)?;
    for (index, address) in intent.addresses.iter().enumerate() {
        check_address(*address, address_key(index))?;
        mtu::check_address(*address, address_key(index), intent, segment)?;
    }
    let host = Host {
        bridge: segment.bridge.clone(),
        vid,
        tagged: intent.vlan.is_some(),
        mtu: intent.mtu,
        addresses: intent.addresses.iter().copied().collect(),
        routes: routes(&interface, intent)?,
        metric: intent.metric,
        dhcp: intent.dhcp.iter().map(|family| (*family, Dhcp::default())).collect(),
        accept_ra: intent.accept_ra,
        keep_foreign: intent.keep_foreign,
    };
    Ok((interface, host))
}

/// An accepted host, with its interface.
pub type Accepted<'a> = (&'a IfName, &'a Host, &'a Site);

/// A VLAN of a bridge has one interface of the node.
pub fn check_vlan(intent: &HostIntent, host: &Host, hosts: &[Accepted<'_>]) -> Result<(), Problem> {
    let same = |other: &&Accepted<'_>| (&other.1.bridge, other.1.vid) == (&host.bridge, host.vid);
    let Some((interface, other, earlier)) = hosts.iter().find(same) else { return Ok(()) };
    let (key, which) = match intent.vlan {
        Some(vid) => ("vlan", format!("VLAN {vid}")),
        None => ("", format!("without vlan, this is the native VLAN {}, which", host.vid)),
    };
    let text = format!("{which} has a host interface already: {interface}");
    Err(Problem::clash(key, text, &earlier.at(if other.tagged { "vlan" } else { "" })))
}

/// Of default routes with one metric, the node would use any.
pub fn check_defaults(host: &Host, hosts: &[Accepted<'_>]) -> Result<(), Problem> {
    for route in host.routes.iter().filter(|route| route.is_default()) {
        let clashes = |other: &&Route| (other.to, other.metric) == (route.to, route.metric);
        let clash = hosts.iter().find_map(|(interface, other, site)| {
            other.routes.iter().find(clashes).map(|_| (interface, site))
        });
        if let Some((interface, earlier)) = clash {
            let family = if route.to.address.is_ipv4() { "IPv4" } else { "IPv6" };
            let metric = match route.metric {
                0 => "the default metric".to_owned(),
                metric => format!("metric {metric}"),
            };
            let text = format!(
                "the {family} default route of {interface} has {metric} too; give one of the two \
                 hosts a higher `metric`"
            );
            return Err(Problem::clash("gateway", text, &earlier.at("gateway")));
        }
    }
    Ok(())
}

/// The routes of the gateways, and the others.
fn routes(interface: &IfName, intent: &HostIntent) -> Result<BTreeSet<Route>, Problem> {
    let mut routes = BTreeSet::new();
    for (index, gateway) in intent.gateways.iter().enumerate() {
        let key = format!("gateway[{index}]");
        check_gateway(*gateway, intent, &key)?;
        let to = Route::everywhere(*gateway);
        if routes.iter().any(|route: &Route| route.to == to) {
            let text = "is a second gateway of its family; more than one needs a routing daemon";
            return Err(Problem::new(key, text));
        }
        let route = Route::desired(interface, to, Some(*gateway));
        routes.insert(Route { metric: intent.metric.unwrap_or_default(), ..route });
    }
    for (index, RouteIntent { to: Destination(to), via }) in intent.routes.iter().enumerate() {
        if let Some(via) = via {
            let key = format!("routes[{index}].via");
            if via.is_ipv4() != to.address.is_ipv4() {
                return Err(Problem::new(key, format!("{via} is not of the family of {to}")));
            }
            check_gateway(*via, intent, &key)?;
        }
        if !routes.insert(Route::desired(interface, *to, *via)) {
            return Err(Problem::new(
                format!("routes[{index}].to"),
                format!("{to} is named twice"),
            ));
        }
    }
    Ok(routes)
}

/// A gateway is a neighbour: in the subnet of an address of the interface. What others add to an
/// interface without an address of its own is not known.
fn check_gateway(gateway: IpAddr, intent: &HostIntent, key: &str) -> Result<(), Problem> {
    let addresses = &intent.addresses;
    if let Some(own) = addresses.iter().find(|own| own.address == gateway) {
        return Err(Problem::new(key, format!("{gateway} is the node's own address {own}")));
    }
    let of_family = |own: &&Cidr| own.address.is_ipv4() == gateway.is_ipv4();
    let known = addresses.iter().any(|own| of_family(&own));
    if known && !is_link_local(gateway) && !addresses.iter().any(|own| own.contains(gateway)) {
        let text = format!("{gateway} is in the subnet of no address of this interface");
        return Err(Problem::new(key, text));
    }
    Ok(())
}

/// The claim to the VLAN interface, if there is one and its name is valid.
pub fn claim(site: &Site, intent: &HostIntent, bridge: &IfName) -> Option<Claim> {
    Some(Claim {
        device: vlan_interface(bridge, intent.vlan?).ok()?,
        purpose: format!("the host interface of cluster network {}", intent.segment),
        site: site.at("vlan"),
    })
}

fn vlan_interface(bridge: &IfName, vid: Vid) -> Result<IfName, Problem> {
    format!("{bridge}.{vid}").parse().map_err(|error| {
        Problem::new("vlan", format!("{error}; give the cluster network a shorter name or bridge"))
    })
}

fn address_key(index: usize) -> String {
    format!("address[{index}]")
}

fn check_address(address: Cidr, key: String) -> Result<(), Problem> {
    match address {
        // An IPv4 address whose host part is all zeros or all ones is not that of one host.
        Cidr { address: IpAddr::V4(v4), prefix: prefix @ 1..=30 } => {
            let host_bits = u32::MAX >> prefix;
            match v4.to_bits() & host_bits {
                0 => {
                    Err(Problem::new(key, format!("{address} is the subnet, not an address in it")))
                }
                bits if bits == host_bits => {
                    let text = format!("{address} is the subnet's broadcast address");
                    Err(Problem::new(key, text))
                }
                _ => Ok(()),
            }
        }
        Cidr { .. } => Ok(()),
    }
}

/// The subnets of all accepted hosts.
#[derive(Clone, Default)]
pub struct Subnets(Vec<Subnet>);

#[derive(Clone)]
struct Subnet {
    address: Cidr,
    interface: IfName,
    site: Site,
}

impl Subnets {
    /// The subnets with those of one more host.
    pub fn with(
        mut self,
        site: &Site,
        interface: &IfName,
        addresses: &[Cidr],
    ) -> Result<Self, Problem> {
        for (index, address) in addresses.iter().enumerate() {
            let key = address_key(index);
            if let Some(other) = self.0.iter().find(|other| other.clashes(*address, interface)) {
                let text = format!(
                    "the node would not know where to send: {address} overlaps with {} of {}",
                    other.address, other.interface
                );
                return Err(Problem::clash(key, text, &other.site));
            }
            let (address, interface, site) = (*address, interface.clone(), site.at(key));
            self.0.push(Subnet { address, interface, site });
        }
        Ok(self)
    }
}

impl Subnet {
    fn clashes(&self, address: Cidr, interface: &IfName) -> bool {
        let same_address =
            self.address.address == address.address && !is_link_local(address.address);
        same_address
            || (self.interface != *interface && overlap(self.address, address))
            || (self.interface == *interface && self.address == address)
    }
}

/// Whether one subnet contains the other. Every interface has `fe80::/64`.
fn overlap(one: Cidr, other: Cidr) -> bool {
    let wide = Cidr { prefix: one.prefix.min(other.prefix), ..one };
    !is_link_local(one.address) && wide.contains(other.address)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
