//! The MTUs of a cluster network, as far as the intents say them: that of the uplink, of the node's
//! interfaces and of ports. `plan::mtu` has the whole chain.

use super::{
    host::Accepted,
    items::{HostIntent, MTU},
    problem::Problem,
    security,
    segment::Segment,
};
use crate::{names::Cidr, state::Host};

/// The minimum MTU of IPv6 in bytes (RFC 8200 §5). Below it, the kernel disables IPv6 on a device.
const IPV6_MTU: u32 = 1280;
/// Length of a tag in bytes.
const TAG: u32 = 4;
/// Assumed MTU in bytes of a port without an MTU of its own.
const USUAL_MTU: u32 = 1500;

/// Checks the MTU of a port, or of an interface of the node, against that of its cluster network.
pub fn check(mtu: Option<u32>, segment: &Segment) -> Result<(), Problem> {
    security::within("mtu", mtu, &MTU, "an MTU in bytes")?;
    match (mtu, segment.mtu()) {
        (Some(mtu), Some(most)) if mtu > most => {
            let text = format!(
                "{mtu} is above the {most} of cluster network {}; lower it, or raise uplink.mtu \
                 there",
                segment.name
            );
            Err(Problem::new("mtu", text))
        }
        _ => Ok(()),
    }
}

/// Checks that the tagged frames of a QinQ customer fit through the uplink.
pub fn check_customer(mtu: Option<u32>, segment: &Segment) -> Result<(), Problem> {
    let needed = mtu.unwrap_or(USUAL_MTU) + TAG;
    let Some(most) = segment.mtu().filter(|most| *most < needed) else { return Ok(()) };
    let text = format!(
        "frames of {} bytes and the customer's tag need {needed} bytes, and cluster network {} has \
         {most}; raise uplink.mtu there, or give the port a lower mtu",
        needed - TAG,
        segment.name
    );
    Err(Problem::new("device", text))
}

/// Checks that a device of the node can have an IPv6 address.
pub fn check_address(
    address: Cidr,
    key: String,
    host: &HostIntent,
    segment: &Segment,
) -> Result<(), Problem> {
    let is_low = |mtu: &u32| address.address.is_ipv6() && *mtu < IPV6_MTU;
    if let Some(mtu) = host.mtu.filter(is_low) {
        let text = format!("{mtu} is below the {IPV6_MTU} that IPv6 needs, and {address} is IPv6");
        return Err(Problem::new("mtu", text));
    }
    if let Some(mtu) = segment.mtu().filter(is_low) {
        let text = format!(
            "{address} needs an MTU of at least {IPV6_MTU} (IPv6); raise uplink.mtu of cluster \
             network {}, which is {mtu}",
            segment.name
        );
        return Err(Problem::clash(key, text, &segment.site.at("uplink.mtu")));
    }
    Ok(())
}

/// The MTU of an interface without a VLAN is that of the bridge, which no VLAN interface on it may
/// exceed.
pub fn check_bridge(host: &Host, hosts: &[Accepted<'_>]) -> Result<(), Problem> {
    let Some(mtu) = host.mtu else { return Ok(()) };
    for (interface, other, earlier) in hosts.iter().filter(|other| other.1.bridge == host.bridge) {
        let clashes = match (host.tagged, other.tagged, other.mtu) {
            (true, false, Some(of_bridge)) => of_bridge < mtu,
            (false, true, Some(of_vlan)) => mtu < of_vlan,
            _ => false,
        };
        if clashes {
            let text = format!(
                "{mtu}, while that of {interface} is {}: a VLAN interface has at most the MTU of \
                 its bridge, which is the interface without vlan",
                other.mtu.unwrap_or_default()
            );
            return Err(Problem::clash("mtu", text, &earlier.at("mtu")));
        }
    }
    Ok(())
}
