//! Security: the checks of a network, and those of a port, which override them.

use std::{collections::BTreeSet, fmt::Display, ops::RangeInclusive};

use super::{
    items::{MAC_LIMIT, RATE, SecurityIntent, StormIntent},
    problem::Problem,
};
use crate::state::{Security, Storm};

/// Maximum length of a port's list of addresses. A longer list is not one of a VM's NICs.
const MAX_MACS: usize = 64;
/// Maximum length of the list of IP addresses and prefixes: as many as of MAC addresses.
const MAX_ADDRESSES: usize = 64;

/// The checks of all ports of a network.
pub fn of_network(intent: &SecurityIntent) -> Result<Security, Problem> {
    if intent.macs.is_some() {
        return Err(Problem::new(
            "security.macs",
            "belongs to a port: VMs of one network have different addresses",
        ));
    }
    merge(&Security::default(), intent)
}

/// The checks of a port: its own, otherwise those of its network.
pub fn of_port(network: &Security, intent: &SecurityIntent) -> Result<Security, Problem> {
    merge(network, intent)
}

fn merge(base: &Security, own: &SecurityIntent) -> Result<Security, Problem> {
    let StormIntent { broadcast, multicast, unknown } = own.storm;
    within("security.maxMacs", own.max_macs, &MAC_LIMIT, "a number of addresses")?;
    for (key, rate) in [
        ("security.storm.broadcast", broadcast),
        ("security.storm.multicast", multicast),
        ("security.storm.unknown", unknown),
    ] {
        within(key, rate, &RATE, "a number of frames per second")?;
    }
    let max_macs = own.max_macs.or(base.max_macs);
    Ok(Security {
        macs: allow_list("macs", own.macs.as_deref(), max_macs.map_or(MAX_MACS, usize::from))?,
        addresses: match &own.addresses {
            Some(own) => allow_list("addresses", Some(own), MAX_ADDRESSES)?,
            None => base.addresses.clone(),
        },
        max_macs,
        dhcp_guard: own.dhcp_guard.unwrap_or(base.dhcp_guard),
        ra_guard: own.ra_guard.unwrap_or(base.ra_guard),
        querier_guard: own.mcast_querier_guard.unwrap_or(base.querier_guard),
        isolated: own.isolated.unwrap_or(base.isolated),
        allow_link_local: own.allow_link_local.unwrap_or(base.allow_link_local),
        storm: Storm {
            broadcast: broadcast.unwrap_or(base.storm.broadcast),
            multicast: multicast.unwrap_or(base.storm.multicast),
            unknown: unknown.unwrap_or(base.storm.unknown),
        },
    })
}

/// The addresses that a VM may use; empty: any.
fn allow_list<T: Copy + Ord + Display>(
    key: &str,
    own: Option<&[T]>,
    most: usize,
) -> Result<BTreeSet<T>, Problem> {
    let mut allowed = BTreeSet::new();
    let Some(own) = own else { return Ok(allowed) };
    for (index, address) in own.iter().enumerate() {
        if !allowed.insert(*address) {
            return Err(Problem::new(
                format!("security.{key}[{index}]"),
                format!("{address} is in the list twice; remove one"),
            ));
        }
    }
    let text = match allowed.len() {
        0 => "is empty; list the VM's addresses, or remove it".to_owned(),
        count if count > most => format!("{count} addresses; a port may have {most}"),
        _ => return Ok(allowed),
    };
    Err(Problem::new(format!("security.{key}"), text))
}

/// Checks the range of a number that a source may give unchecked.
pub fn within<T: PartialOrd + Display>(
    key: &str,
    number: Option<T>,
    range: &RangeInclusive<T>,
    unit: &str,
) -> Result<(), Problem> {
    match number {
        Some(number) if !range.contains(&number) => {
            let (first, last) = (range.start(), range.end());
            Err(Problem::new(key, format!("{number} is not {unit} from {first} to {last}")))
        }
        _ => Ok(()),
    }
}
