//! The node's own interfaces: which device has the address, and whose subnets clash.

use std::net::IpAddr;

use super::{
    at::At,
    error::{Fault, Place},
    raw,
    segment::Segment,
};
use crate::{
    names::{Cidr, IfName},
    state::Host,
};

/// The least MTU with IPv6, in bytes (RFC 8200 §5). Below it, the kernel takes IPv6 off the device.
const IPV6_MTU: u32 = 1280;

/// The subnets of all hosts so far, and whose they are.
#[derive(Default)]
pub struct Subnets(Vec<(Cidr, IfName, Place)>);

/// The interface of a cluster network, at the key to blame for its name.
pub fn host(
    segment: &Segment,
    raw: &raw::Host,
    subnets: &mut Subnets,
) -> Result<(At<IfName>, Host), Fault> {
    let bridge = &segment.bridge.value;
    let (interface, vid) = match (&raw.vlan, segment.native()) {
        (Some(vlan), _) => {
            let name = format!("{bridge}.{}", vlan.value).parse().map_err(|error| {
                vlan.fault(format!("{error}; give the cluster network a shorter name or bridge"))
            })?;
            (At { value: name, place: vlan.place }, vlan.value)
        }
        (None, Some(native)) => (At { value: bridge.clone(), place: raw.address.place }, native),
        (None, None) => {
            return Err(raw
                .address
                .fault("needs a vlan: the uplink has native: none, so nothing is untagged"));
        }
    };
    if raw.address.items.is_empty() {
        return Err(raw.address.fault("is empty; give the node at least one (10.0.0.5/24)"));
    }
    for address in &raw.address.items {
        usable(address)?;
        subnets.add(address, &interface.value)?;
        let mtu = segment.uplink.as_ref().and_then(|uplink| uplink.mtu.as_ref());
        if let Some(mtu) =
            mtu.filter(|mtu| address.value.address.is_ipv6() && mtu.value.0 < IPV6_MTU)
        {
            return Err(mtu.fault(format!(
                "{} is below the {IPV6_MTU} that IPv6 needs, and the host has an IPv6 address",
                mtu.value.0
            )));
        }
    }
    let addresses = raw.address.items.iter().map(|address| address.value).collect();
    Ok((interface, Host { bridge: bridge.clone(), vid, tagged: raw.vlan.is_some(), addresses }))
}

/// An IPv4 address whose host part is all zeros or ones names the subnet, or everyone in it.
fn usable(address: &At<Cidr>) -> Result<(), Fault> {
    let Cidr { address: IpAddr::V4(v4), prefix: prefix @ 1..=30 } = address.value else {
        return Ok(());
    };
    let host_bits = u32::MAX >> prefix;
    match v4.to_bits() & host_bits {
        0 => Err(address.fault(format!("{} is the subnet, not an address in it", address.value))),
        bits if bits == host_bits => {
            Err(address.fault(format!("{} is the subnet's broadcast address", address.value)))
        }
        _ => Ok(()),
    }
}

impl Subnets {
    fn add(&mut self, address: &At<Cidr>, interface: &IfName) -> Result<(), Fault> {
        let clash = self.0.iter().find(|(other, owner, _)| {
            let same_address =
                other.address == address.value.address && !is_link_local(other.address);
            same_address
                || (owner != interface && overlap(*other, address.value))
                || (owner == interface && *other == address.value)
        });
        if let Some((other, owner, Place { line, .. })) = clash {
            return Err(address.fault(format!(
                "{} overlaps with {other} of {owner} (line {line}); the node would not know which way to send",
                address.value
            )));
        }
        self.0.push((address.value, interface.clone(), address.place));
        Ok(())
    }
}

/// Whether one subnet contains the other. Every interface has `fe80::/64`.
fn overlap(one: Cidr, other: Cidr) -> bool {
    let prefix = u32::from(one.prefix.min(other.prefix));
    match (one.address, other.address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= prefix,
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            !is_link_local(one.address) && (a.to_bits() ^ b.to_bits()).leading_zeros() >= prefix
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
