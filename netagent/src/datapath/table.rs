//! The port table: the port number, the counters and the policy record of each device. It is
//! rebuilt from the maps at every start: the kernel holds the only copy.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use netagent_common::{
    MAX_PAIRS, MAX_PORTS,
    counters::RawDropKey,
    forward::PathStats,
    policy::{FAST_XDP, Policy, UPLINK, XDP_REFUSED},
    vlan::Vid,
};

use super::{
    allowed::{self, Allowed},
    batch,
    grace::wait_for_programs,
    index::{self, point, unpoint},
    maps::Maps,
    pairs::{self, Free, Pairs},
};
use crate::{
    names::IfName,
    state::{Observed, PortPolicy, Storm},
};

/// A port in the table.
#[derive(Clone, Debug)]
pub struct PortEntry {
    /// The record that the programs read.
    pub record: u32,
    /// Content of the record.
    pub policy: Policy,
    /// Numbers of the counters.
    pub pairs: Pairs,
    /// Interface indexes of the NICs beneath an uplink: the port index has an element for each.
    pub nics: BTreeSet<u32>,
}

impl PortEntry {
    /// The policy that the programs apply, with the addresses that the VM may use.
    fn policy(&self, Allowed { macs, addresses }: Allowed, links: &Observed) -> PortPolicy {
        let policy = &self.policy;
        let set = |has: &dyn Fn(u16) -> bool| {
            (0..4096).filter(|vid| has(*vid)).filter_map(Vid::new).collect()
        };
        PortPolicy {
            network: text(&policy.network),
            flags: policy.flags & !XDP_REFUSED,
            bridge: links.name(policy.bridge).cloned(),
            pvid: Vid::new(policy.pvid),
            bridge_pvid: Vid::new(policy.bridge_pvid),
            // Not from the pairs: an agent that was killed may have left more pairs than VIDs.
            allowed: set(&|vid| policy.allows(vid)),
            services: set(&|vid| policy.is_service(vid)),
            macs,
            addresses,
            mac_limit: policy.mac_limit,
            storm: Storm {
                broadcast: policy.broadcast_limit,
                multicast: policy.multicast_limit,
                unknown: policy.unknown_limit,
            },
            nics: self.nics.clone(),
        }
    }
}

/// The device of a port.
#[derive(Clone, Copy)]
pub struct Device<'a> {
    /// Name.
    pub name: &'a IfName,
    /// Interface index.
    pub index: u32,
    /// Interface index of the bridge.
    pub bridge: Option<u32>,
}

/// The ports by device.
#[derive(Default)]
pub struct Table {
    /// The ports.
    pub ports: BTreeMap<IfName, PortEntry>,
    /// The addresses that VMs may use, by policy record. An agent that was killed may have left
    /// addresses of a record that is not in use.
    allowed: BTreeMap<u16, Allowed>,
}

impl Table {
    /// Reads the maps.
    pub fn read(maps: &Maps) -> Result<Self> {
        let by_record = index::read(maps)?;
        let allowed = allowed::read(maps)?;
        let records = by_record.last_key_value().map_or(0, |(record, _)| *record as usize + 1);
        let mut policies = BTreeMap::new();
        batch::each(&maps.policy, records, |record, policy: Policy| {
            if by_record.contains_key(&record) {
                policies.insert(record, policy);
            }
        })?;
        let mut pairs = pairs::read(maps, policies.values())?.into_iter();
        let mut ports = BTreeMap::new();
        for (record, policy) in policies {
            let mut nics = by_record[&record].clone();
            nics.remove(&policy.ifindex);
            let pairs = pairs.next().unwrap_or_default();
            if let Ok(device) = text(&policy.device).parse() {
                ports.insert(device, PortEntry { record, policy, pairs, nics });
            }
        }
        Ok(Self { ports, allowed })
    }

    /// Sets the policy of a port. Programs see the old or the new policy: the switch is one store.
    pub fn set(&mut self, maps: &mut Maps, device: Device<'_>, wanted: &PortPolicy) -> Result<()> {
        // Another device has the name now: the port of the old one is removed.
        if self.ports.get(device.name).is_some_and(|old| old.policy.ifindex != device.index) {
            self.forget(maps, device.name)?;
        }
        if let Some(kept) = self.to_make_room(device.name, wanted) {
            self.replace(maps, device, &kept)?;
        }
        self.replace(maps, device, wanted)
    }

    /// An intermediate policy, for a change whose new counters fit only after the old ones are
    /// free: the VIDs of both policies. `None` if the change does not need it, or if it would not
    /// help.
    fn to_make_room(&self, device: &IfName, wanted: &PortPolicy) -> Option<PortPolicy> {
        let had = &self.ports.get(device)?.pairs;
        let counted = wanted.counted_vids();
        let kept = counted.iter().filter(|vid| had.contains_key(vid)).count();
        let (new, free) = (counted.len() - kept, (MAX_PAIRS - 1) as usize - self.pairs());
        let gone = had.len() - kept;
        (new > free && new <= free + gone).then(|| wanted.only(|vid| had.contains_key(&vid.get())))
    }

    fn replace(
        &mut self,
        maps: &mut Maps,
        Device { name: device, index: ifindex, bridge }: Device<'_>,
        wanted: &PortPolicy,
    ) -> Result<()> {
        let old = self.ports.get(device).cloned();
        let record = match &old {
            Some(old) => old.record ^ 1,
            None => 2 * self.free_port()?,
        };
        let mut policy = Policy {
            ifindex,
            flags: wanted.flags,
            port: u16::try_from(record / 2)?,
            pvid: wanted.pvid.map_or(0, Vid::get),
            bridge_pvid: wanted.bridge_pvid.map_or(0, Vid::get),
            record: u16::try_from(record)?,
            mac_limit: wanted.mac_limit,
            broadcast_limit: wanted.storm.broadcast,
            multicast_limit: wanted.storm.multicast,
            unknown_limit: wanted.storm.unknown,
            bridge: bridge.unwrap_or_default(),
            device: padded(device.as_str()),
            network: padded(&wanted.network),
            ..Policy::EMPTY
        };
        for (bits, vids) in
            [(&mut policy.vids, &wanted.allowed), (&mut policy.services, &wanted.services)]
        {
            for vid in vids.iter().map(Vid::get) {
                bits[usize::from(vid / 64)] |= 1 << (vid % 64);
            }
        }
        let before = old.as_ref().map(|old| (&old.policy, &old.pairs));
        let free = Free::beside(self.ports.values().map(|entry| (&entry.policy, &entry.pairs)));
        let counted = wanted.counted_vids();
        let pairs = pairs::add(maps, free, &mut policy, &counted, before)?;
        policy.pvid_pair = match pairs.get(&policy.pvid) {
            Some(pair) if policy.pvid != 0 => u16::try_from(*pair)?,
            _ => 0,
        };

        let nics = wanted.nics.clone();
        let entry = PortEntry { record, policy, pairs, nics };
        let allowed = Allowed::of(wanted);
        let entry = self.switch_to(maps, device, entry, &allowed)?;
        let Some(old) = old else { return Ok(()) };
        pairs::trim(maps, &old.policy.blocks, &counted, &mut entry.pairs)
    }

    /// Writes the record of an entry, which no program reads yet, and switches the programs to it.
    /// Returns when no program reads the old record any more: the next change may write it.
    fn switch_to(
        &mut self,
        maps: &mut Maps,
        device: &IfName,
        new: PortEntry,
        allowed: &Allowed,
    ) -> Result<&mut PortEntry> {
        let PortEntry { record, policy, nics, .. } = &new;
        self.allow(maps, policy, allowed)?;
        let number = u32::from(policy.port);
        // The device map has the device while any policy lets XDP forward to it.
        let supports_xdp = policy.flags & (UPLINK | FAST_XDP) == FAST_XDP;
        if supports_xdp {
            let ports = &mut maps.xdp_ports;
            ports.set(number, policy.ifindex, None, 0).context("add the port to XDP_PORTS")?;
        }
        maps.policy.set(*record, policy, 0).context("write the policy")?;
        let old = self.ports.get(device).map(|old| old.nics.clone());
        for index in std::iter::once(&policy.ifindex).chain(nics) {
            point(maps, *index, *record)?;
        }
        for index in old.iter().flat_map(|old| old.difference(nics)) {
            unpoint(maps, *index, record / 2)?;
        }
        if old.is_some() {
            wait_for_programs();
            self.forget_allowed(maps, u16::try_from(record ^ 1)?)?;
        }
        if !supports_xdp {
            let no_device = 0;
            let ports = &mut maps.xdp_ports;
            ports.set(number, no_device, None, 0).context("remove the port from XDP_PORTS")?;
        }
        maps.reserve_drops(policy.port, policy.flags)?;
        Ok(self.ports.entry(device.clone()).insert_entry(new).into_mut())
    }

    /// Notes whether the device has refused an XDP program: then later plans do not attach one
    /// again.
    pub fn refuse_xdp(&mut self, maps: &mut Maps, device: &IfName, refused: bool) -> Result<()> {
        let flag = if refused { XDP_REFUSED } else { 0 };
        let differs = |entry: &&PortEntry| entry.policy.flags & XDP_REFUSED != flag;
        let Some(mut entry) = self.ports.get(device).filter(differs).cloned() else {
            return Ok(());
        };
        let allowed = self.allowed.get(&entry.policy.record).cloned().unwrap_or_default();
        entry.record ^= 1;
        entry.policy.record = u16::try_from(entry.record)?;
        entry.policy.flags ^= XDP_REFUSED;
        self.switch_to(maps, device, entry, &allowed)?;
        Ok(())
    }

    /// Removes a port with its counters.
    pub fn forget(&mut self, maps: &mut Maps, device: &IfName) -> Result<()> {
        let Some(entry) = self.ports.get_mut(device) else { return Ok(()) };
        for index in entry.nics.iter().chain([&entry.policy.ifindex]) {
            unpoint(maps, *index, entry.record / 2)?;
        }
        wait_for_programs();
        let policy = entry.policy;
        let vids: Vec<u16> = entry.pairs.keys().copied().collect();
        pairs::drop(maps, &policy.blocks, &mut entry.pairs, &vids)?;
        self.ports.remove(device);
        self.forget_allowed(maps, policy.record)?;
        let number = u32::from(policy.port);
        maps.xdp_ports.set(number, 0, None, 0).context("remove the port from XDP_PORTS")?;
        reset(maps, &BTreeSet::from([policy.port]))
    }

    /// Clears the leftovers of an agent that was killed: counters of VIDs that a port no longer
    /// has, and counters and limits of port numbers that are not in use.
    pub fn tidy(&mut self, maps: &mut Maps) -> Result<()> {
        for entry in self.ports.values_mut() {
            let counted = entry.policy(Allowed::default(), &Observed::default()).counted_vids();
            pairs::trim(maps, &entry.policy.blocks, &counted, &mut entry.pairs)?;
        }
        let used: BTreeSet<u16> = self.ports.values().map(|entry| entry.policy.port).collect();
        let unused = (0..u16::try_from(MAX_PORTS)?).filter(|port| !used.contains(port)).collect();
        reset(maps, &unused)
    }

    /// Number of pairs in use.
    pub fn pairs(&self) -> usize {
        self.ports.values().map(|entry| entry.pairs.len()).sum()
    }

    /// The policy of a port, as the programs apply it.
    pub fn policy(&self, entry: &PortEntry, links: &Observed) -> PortPolicy {
        let allowed = self.allowed.get(&entry.policy.record).cloned();
        entry.policy(allowed.unwrap_or_default(), links)
    }

    /// Adds a VM's addresses for a policy record that no program reads yet.
    fn allow(&mut self, maps: &mut Maps, policy: &Policy, allowed: &Allowed) -> Result<()> {
        self.forget_allowed(maps, policy.record)?;
        allowed.add(maps, policy, self.allowed.entry(policy.record).or_default())
    }

    /// Removes the addresses of a policy record that no program reads any more.
    fn forget_allowed(&mut self, maps: &mut Maps, record: u16) -> Result<()> {
        self.allowed.remove(&record).unwrap_or_default().remove(maps, record)
    }

    fn free_port(&self) -> Result<u32> {
        let used: BTreeSet<u32> = self.ports.values().map(|entry| entry.record / 2).collect();
        (0..MAX_PORTS)
            .find(|port| !used.contains(port))
            .with_context(|| format!("all {MAX_PORTS} ports are in use"))
    }
}

/// Resets the counters and the used limits of ports.
fn reset(maps: &mut Maps, ports: &BTreeSet<u16>) -> Result<()> {
    let mut drops = Vec::new();
    batch::each_per_cpu(&maps.more_drops, usize::MAX, |key: RawDropKey, _| {
        drops.extend(ports.contains(&key.port).then_some(key));
    })?;
    for key in drops {
        maps.more_drops.remove(&key).context("remove a drop counter")?;
    }
    batch::set_per_cpu(&maps.drops, &each(ports)).context("reset the drop counters")?;
    batch::set_per_cpu(&maps.forwarded, &each::<PathStats>(ports))
        .context("reset what was forwarded")?;
    batch::set(&maps.port_macs, &each(ports)).context("reset the addresses in use")?;
    batch::set(&maps.storm, &each(ports)).context("reset the storm limits")?;
    maps.silence.reset(&each(ports)).context("reset the silence of ports")?;
    batch::set(&maps.quota, &each(ports)).context("reset the drop quotas")
}

/// An empty element for each port.
fn each<V: Default>(ports: &BTreeSet<u16>) -> Vec<(u32, V)> {
    ports.iter().map(|port| (u32::from(*port), V::default())).collect()
}

/// A string cut to a field, padded with NUL.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [0; N];
    field.iter_mut().zip(text.bytes()).for_each(|(byte, letter)| *byte = letter);
    field
}

/// The string in a field.
pub fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}
