//! The addresses that VMs may use. They belong to a policy record, and so change with the policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use anyhow::{Context as _, Result};
use aya::maps::lpm_trie::Key;
use netagent_common::{
    MAX_IPS, MAX_MACS,
    policy::{Policy, PortIp, PortMac, mapped, v6},
};

use super::{batch, maps::Maps};
use crate::{
    names::{Addresses, Cidr, Mac},
    state::PortPolicy,
};

/// Bits of a key before the address, and before an IPv4 address.
const BEFORE: u32 = 32;
const BEFORE_V4: u32 = BEFORE + 96;

/// The addresses that a VM may use.
#[derive(Clone, Default)]
pub struct Allowed {
    pub macs: BTreeSet<Mac>,
    pub addresses: BTreeSet<Addresses>,
}

/// Those of all policy records.
pub fn read(maps: &Maps) -> Result<BTreeMap<u16, Allowed>> {
    let mut all: BTreeMap<u16, Allowed> = BTreeMap::new();
    batch::each(&maps.allowed_macs, usize::MAX, |PortMac { record, mac }, _| {
        all.entry(record).or_default().macs.insert(Mac(mac));
    })?;
    for key in maps.allowed_ips.keys() {
        let key = key.context("read the allowed IP addresses")?;
        let record = u16::try_from(key.data().record)?;
        all.entry(record).or_default().addresses.insert(prefix(key)?);
    }
    Ok(all)
}

impl Allowed {
    /// Those of a policy.
    pub fn of(policy: &PortPolicy) -> Self {
        Self { macs: policy.macs.clone(), addresses: policy.addresses.clone() }
    }

    /// Adds them to the maps, and to `added`, one by one.
    pub fn add(&self, maps: &mut Maps, policy: &Policy, added: &mut Self) -> Result<()> {
        for Mac(mac) in &self.macs {
            let key = PortMac { record: policy.record, mac: *mac };
            maps.allowed_macs.insert(&key, &policy.ifindex, 0).with_context(|| {
                format!("add an allowed address (the node has room for {MAX_MACS}): list fewer in security.macs")
            })?;
            added.macs.insert(Mac(*mac));
        }
        for addresses in &self.addresses {
            let key = key(policy.record, *addresses);
            maps.allowed_ips.insert(&key, &policy.ifindex, 0).with_context(|| {
                format!("add {addresses} (the node has room for {MAX_IPS} prefixes): list fewer in security.addresses")
            })?;
            added.addresses.insert(*addresses);
        }
        Ok(())
    }

    /// Removes them from the maps.
    pub fn remove(self, maps: &mut Maps, record: u16) -> Result<()> {
        for Mac(mac) in self.macs {
            let key = PortMac { record, mac };
            maps.allowed_macs.remove(&key).context("remove an allowed address")?;
        }
        for addresses in self.addresses {
            let removed = maps.allowed_ips.remove(&key(record, addresses));
            removed.context("remove an allowed IP address")?;
        }
        Ok(())
    }
}

fn key(record: u16, Addresses(Cidr { address, prefix }): Addresses) -> Key<PortIp> {
    let (before, ip) = match address {
        IpAddr::V4(address) => (BEFORE_V4, mapped(address.octets())),
        IpAddr::V6(address) => (BEFORE, v6(address.octets())),
    };
    Key::new(before + u32::from(prefix), PortIp { record: record.into(), ip })
}

fn prefix(key: Key<PortIp>) -> Result<Addresses> {
    let words = key.data().ip.map(|word| u128::from(u32::from_be(word)));
    let address = Ipv6Addr::from_bits(words.into_iter().fold(0, |bits, word| bits << 32 | word));
    let (before, address) = match address.to_ipv4_mapped() {
        Some(address) if key.prefix_len() >= BEFORE_V4 => (BEFORE_V4, IpAddr::V4(address)),
        _ => (BEFORE, IpAddr::V6(address)),
    };
    let prefix = u8::try_from(key.prefix_len().saturating_sub(before))?;
    Ok(Addresses(Cidr { address, prefix }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_back_to_its_prefix() {
        for text in ["10.0.0.5/32", "10.0.8.0/24", "0.0.0.0/1", "fd00::5/128", "fe80::/10", "::/1"]
        {
            let (address, length) = text.split_once('/').unwrap();
            let cidr = Cidr { address: address.parse().unwrap(), prefix: length.parse().unwrap() };
            let key = key(7, Addresses(cidr));
            assert_eq!(key.data().record, 7);
            assert_eq!(prefix(key).unwrap().to_string(), text);
        }
    }
}
