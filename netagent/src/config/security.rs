//! What a port checks of a VM's frames besides their VLAN: the network's word, and the port's own over it.

use std::collections::BTreeSet;

use super::{at::At, error::Fault, raw};
use crate::state::{Security, Storm};

/// Most addresses that one port may list: more is no list of a VM's NICs.
const MAX_MACS: usize = 64;

/// What holds for all ports of a network.
pub fn of_network(raw: Option<raw::Security>) -> Result<Security, Fault> {
    let raw = raw.unwrap_or_default();
    if let Some(macs) = &raw.macs {
        return Err(macs.fault("belongs to a port: the addresses of one VM are no other's"));
    }
    over(&Security::default(), raw)
}

/// What holds for a port: what it says itself, else what its network says.
pub fn of_port(network: &Security, raw: Option<raw::Security>) -> Result<Security, Fault> {
    over(network, raw.unwrap_or_default())
}

fn over(base: &Security, raw: raw::Security) -> Result<Security, Fault> {
    let raw::Security { macs, max_macs, dhcp_guard, ra_guard, isolated, allow_link_local, storm } =
        raw;
    let place = macs.as_ref().map(|macs| macs.place);
    let mut allowed = BTreeSet::new();
    for mac in macs.into_iter().flat_map(|macs| macs.items) {
        if !allowed.insert(mac.value) {
            return Err(mac.fault(format!("{} is in the list twice; remove one", mac.value)));
        }
    }
    let limit = max_macs.as_ref().map(|limit| limit.value.0).or(base.max_macs);
    if let Some(place) = place {
        let most = limit.map_or(MAX_MACS, usize::from);
        if allowed.is_empty() {
            return Err(Fault::new(place, "is empty; list the VM's addresses, or remove it"));
        }
        if allowed.len() > most {
            let complaint = format!("{} addresses; a port may have {most}", allowed.len());
            return Err(Fault::new(place, complaint));
        }
    }
    let truth = |own: Option<At<bool>>, base| own.map_or(base, |own| own.value);
    let rate = |own: Option<At<super::value::Rate>>, base| own.map_or(base, |own| own.value.0);
    let raw::Storm { broadcast, multicast, unknown } = storm.unwrap_or_default();
    Ok(Security {
        macs: allowed,
        max_macs: limit,
        dhcp_guard: truth(dhcp_guard, base.dhcp_guard),
        ra_guard: truth(ra_guard, base.ra_guard),
        isolated: truth(isolated, base.isolated),
        allow_link_local: truth(allow_link_local, base.allow_link_local),
        storm: Storm {
            broadcast: rate(broadcast, base.storm.broadcast),
            multicast: rate(multicast, base.storm.multicast),
            unknown: rate(unknown, base.storm.unknown),
        },
    })
}
