//! The port table: who has which port number, counters and policy record. Rebuilt from the maps at every start, so
//! that the kernel holds the only copy of the truth.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use netagent_common::{
    MAX_BLOCKS, MAX_MACS, MAX_PAIRS, MAX_PORTS,
    counters::{RawDropKey, VlanStats},
    forward::PathStats,
    limit::StormState,
    policy::{FAST_XDP, Policy, PortMac, UPLINK, XDP_REFUSED},
    vlan::Vid,
};

use super::{
    batch,
    grace::wait_for_programs,
    index::{self, point, unpoint},
    maps::{Maps, per_cpu},
};
use crate::{
    names::{IfName, Mac},
    state::{Observed, PortPolicy, Storm},
};

/// A port in the table.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The record that the programs read.
    pub record: u32,
    /// Its content.
    pub policy: Policy,
    /// Pair numbers by VID; 0 stands for link-local frames.
    pub pairs: BTreeMap<u16, u32>,
    /// Interface indexes of the NICs that lead to this port as well.
    pub nics: BTreeSet<u32>,
}

impl Entry {
    /// What the programs know of the port, which may use these addresses.
    fn policy(&self, macs: BTreeSet<Mac>, links: &Observed) -> PortPolicy {
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
            // Not the pairs: an agent that was killed half-way may have left more of them.
            vids: set(&|vid| policy.allows(vid)),
            services: set(&|vid| policy.is_service(vid)),
            macs,
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

/// The ports by device.
#[derive(Default)]
pub struct Table {
    /// Who is there.
    pub ports: BTreeMap<IfName, Entry>,
    /// The addresses that VMs may use, by policy record. Some may be left from an agent that was killed half-way.
    allowed_macs: BTreeMap<u16, BTreeSet<Mac>>,
}

impl Table {
    /// Reads the maps.
    pub fn read(maps: &Maps) -> Result<Self> {
        let by_record = index::read(maps)?;
        let mut allowed_macs: BTreeMap<u16, BTreeSet<Mac>> = BTreeMap::new();
        batch::each(&maps.allowed_macs, usize::MAX, |PortMac { record, mac }, _| {
            allowed_macs.entry(record).or_default().insert(Mac(mac));
        })?;
        let records = by_record.last_key_value().map_or(0, |(record, _)| *record as usize + 1);
        let mut policies = BTreeMap::new();
        batch::each(&maps.policy, records, |record, policy: Policy| {
            if by_record.contains_key(&record) {
                policies.insert(record, policy);
            }
        })?;
        let highest = policies.values().flat_map(|policy| policy.blocks).max().unwrap_or(0);
        let mut blocks = Vec::new();
        batch::each(&maps.blocks, usize::from(highest) + 1, |_, block| blocks.push(block))?;
        let mut ports = BTreeMap::new();
        for (record, mut nics) in by_record {
            let policy = *policies.get(&record).context("read a policy")?;
            nics.remove(&policy.ifindex);
            let Ok(device) = text(&policy.device).parse() else { continue };
            let mut pairs = BTreeMap::new();
            for (word, block) in policy.blocks.iter().enumerate().filter(|(_, block)| **block != 0)
            {
                let block = blocks.get(usize::from(*block)).context("read a pair block")?;
                for (bit, pair) in block.iter().enumerate().filter(|(_, pair)| **pair != 0) {
                    pairs.insert(u16::try_from(word * 64 + bit)?, u32::from(*pair));
                }
            }
            ports.insert(device, Entry { record, policy, pairs, nics });
        }
        Ok(Self { ports, allowed_macs })
    }

    /// Gives a port its policy: all of it, or (the switch of the record being one store) nothing of it.
    pub fn set(
        &mut self,
        maps: &mut Maps,
        device: &IfName,
        ifindex: u32,
        bridge: Option<u32>,
        wanted: &PortPolicy,
    ) -> Result<()> {
        // A device that was replaced by another of its name starts anew: its index led elsewhere.
        if self.ports.get(device).is_some_and(|old| old.policy.ifindex != ifindex) {
            self.forget(maps, device)?;
        }
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
            [(&mut policy.vids, &wanted.vids), (&mut policy.services, &wanted.services)]
        {
            for vid in vids.iter().map(Vid::get) {
                bits[usize::from(vid / 64)] |= 1 << (vid % 64);
            }
        }
        let old_pairs = old.as_ref().map(|old| old.pairs.clone()).unwrap_or_default();
        if let Some(old) = &old {
            policy.blocks = old.policy.blocks;
        }
        let counted: BTreeSet<u16> =
            std::iter::once(0).chain(wanted.bridge_vids().iter().map(Vid::get)).collect();
        let mut pairs = old_pairs.clone();
        self.add_pairs(maps, &mut policy, &counted, &mut pairs)?;
        policy.pvid_pair = match pairs.get(&policy.pvid) {
            Some(pair) if policy.pvid != 0 => u16::try_from(*pair)?,
            _ => 0,
        };

        self.allow_macs(maps, &policy, &wanted.macs)?;
        let number = u32::from(policy.port);
        // XDP finds the device as soon as the policy sends it there, and until no policy does.
        let takes_xdp = policy.flags & (UPLINK | FAST_XDP) == FAST_XDP;
        if takes_xdp {
            maps.xdp_ports.set(number, ifindex, None, 0).context("list the port for XDP")?;
        }
        maps.policy.set(record, &policy, 0).context("write the policy")?;
        let before = old.as_ref().map(|old| old.nics.clone()).unwrap_or_default();
        for index in std::iter::once(&ifindex).chain(&wanted.nics) {
            point(maps, *index, record)?;
        }
        for index in before.difference(&wanted.nics) {
            unpoint(maps, *index, record / 2)?;
        }
        if old.is_some() {
            // The other record is free for the next change once no program reads it any more.
            wait_for_programs();
            self.forget_macs(maps, u16::try_from(record ^ 1)?)?;
        }
        // No device.
        if !takes_xdp {
            maps.xdp_ports.set(number, 0, None, 0).context("take the port off XDP's list")?;
        }
        maps.reserve_drops(policy.port, policy.flags)?;
        let nics = wanted.nics.clone();
        self.ports.insert(device.clone(), Entry { record, policy, pairs, nics });
        let gone: Vec<u16> = old_pairs.into_keys().filter(|vid| !counted.contains(vid)).collect();
        self.drop_pairs(maps, device, &gone)
    }

    /// Marks that the device takes no XDP program, so that it is not tried again and again.
    pub fn refuse_xdp(&mut self, maps: &mut Maps, device: &IfName) -> Result<()> {
        let Some(entry) = self.ports.get_mut(device) else { return Ok(()) };
        entry.policy.flags |= XDP_REFUSED;
        maps.policy.set(entry.record, &entry.policy, 0).context("write the policy")
    }

    /// Takes a port out, with its counters.
    pub fn forget(&mut self, maps: &mut Maps, device: &IfName) -> Result<()> {
        let Some(entry) = self.ports.get(device) else { return Ok(()) };
        for index in entry.nics.iter().chain([&entry.policy.ifindex]) {
            unpoint(maps, *index, entry.record / 2)?;
        }
        wait_for_programs();
        let policy = entry.policy;
        let port = policy.port;
        let vids: Vec<u16> = entry.pairs.keys().copied().collect();
        let blocks = policy.blocks;
        self.drop_pairs(maps, device, &vids)?;
        for block in blocks.into_iter().filter(|block| *block != 0) {
            maps.blocks.set(u32::from(block), &[0; 64], 0).context("clear a pair block")?;
        }
        self.ports.remove(device);
        let mut drops = Vec::new();
        batch::each_per_cpu(&maps.drops, usize::MAX, |key: RawDropKey, _| {
            drops.extend((key.port == port).then_some(key));
        })?;
        for key in drops {
            maps.drops.remove(&key).context("remove a drop counter")?;
        }
        self.forget_macs(maps, policy.record)?;
        let number = u32::from(port);
        maps.port_macs.set(number, &Default::default(), 0).context("reset the addresses in use")?;
        maps.storm.set(number, &StormState::default(), 0).context("reset the storm limits")?;
        maps.xdp_ports.set(number, 0, None, 0).context("take the port off XDP's list")?;
        let none = per_cpu(PathStats::default())?;
        maps.forwarded.set(number, none, 0).context("reset what was forwarded")?;
        maps.quota.set(number, &0, 0).context("reset the drop quota")
    }

    /// How many pairs are in use.
    pub fn pairs(&self) -> usize {
        self.ports.values().map(|entry| entry.pairs.len()).sum()
    }

    /// What the programs know of a port.
    pub fn policy(&self, entry: &Entry, links: &Observed) -> PortPolicy {
        let macs = self.allowed_macs.get(&entry.policy.record).cloned();
        entry.policy(macs.unwrap_or_default(), links)
    }

    /// Lists a VM's addresses under a policy record that is not in force yet.
    fn allow_macs(
        &mut self,
        maps: &mut Maps,
        policy: &Policy,
        allowed: &BTreeSet<Mac>,
    ) -> Result<()> {
        self.forget_macs(maps, policy.record)?;
        let listed = self.allowed_macs.entry(policy.record).or_default();
        for Mac(mac) in allowed {
            let key = PortMac { record: policy.record, mac: *mac };
            maps.allowed_macs.insert(&key, &policy.ifindex, 0).with_context(|| {
                format!("list an address (the node has room for {MAX_MACS}): list fewer in security.macs")
            })?;
            listed.insert(Mac(*mac));
        }
        Ok(())
    }

    /// Takes the addresses of a policy record out that is not in force any more.
    fn forget_macs(&mut self, maps: &mut Maps, record: u16) -> Result<()> {
        for Mac(mac) in self.allowed_macs.remove(&record).unwrap_or_default() {
            let key = PortMac { record, mac };
            maps.allowed_macs.remove(&key).context("take an address off the list")?;
        }
        Ok(())
    }

    fn free_port(&self) -> Result<u32> {
        let used: BTreeSet<u32> = self.ports.values().map(|entry| entry.record / 2).collect();
        (0..MAX_PORTS)
            .find(|port| !used.contains(port))
            .with_context(|| format!("all {MAX_PORTS} ports are in use"))
    }

    /// Hands out counters for VIDs that have none. The blocks are read by the programs already, but nobody asks
    /// them for a VID that is not in the allow-list yet.
    fn add_pairs(
        &self,
        maps: &mut Maps,
        policy: &mut Policy,
        vids: &BTreeSet<u16>,
        pairs: &mut BTreeMap<u16, u32>,
    ) -> Result<()> {
        let new: Vec<u16> = vids.iter().filter(|vid| !pairs.contains_key(vid)).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let used: BTreeSet<u32> =
            self.ports.values().flat_map(|entry| entry.pairs.values().copied()).collect();
        let mut free = (1..MAX_PAIRS).filter(|pair| !used.contains(pair));
        let used: BTreeSet<u16> =
            self.ports.values().flat_map(|entry| entry.policy.blocks).collect();
        let mut free_blocks = (1..u16::try_from(MAX_BLOCKS)?).filter(|block| !used.contains(block));
        let mut changed: BTreeMap<usize, [u16; 64]> = BTreeMap::new();
        let mut reset = Vec::new();
        for vid in new {
            let Some(pair) = free.next() else {
                bail!("all {} (port, VID) counters are in use: allow fewer VIDs", MAX_PAIRS - 1);
            };
            let zero = VlanStats {
                ifindex: policy.ifindex,
                port: policy.port,
                vid,
                ..VlanStats::default()
            };
            reset.push((pair, zero));
            let word = usize::from(vid / 64);
            if policy.blocks[word] == 0 {
                policy.blocks[word] = free_blocks.next().context("all pair blocks are in use")?;
                changed.insert(word, [0; 64]);
            }
            let block = match changed.entry(word) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(unread) => {
                    let block = u32::from(policy.blocks[word]);
                    unread.insert(maps.blocks.get(&block, 0).context("read a pair block")?)
                }
            };
            block[usize::from(vid % 64)] = u16::try_from(pair)?;
            pairs.insert(vid, pair);
        }
        batch::set_per_cpu(&maps.stats, &reset).context("reset counters")?;
        for (word, block) in changed {
            let number = u32::from(policy.blocks[word]);
            maps.blocks.set(number, &block, 0).context("write a pair block")?;
        }
        Ok(())
    }

    /// Takes back the counters of VIDs that no packet can reach any more.
    fn drop_pairs(&mut self, maps: &mut Maps, device: &IfName, vids: &[u16]) -> Result<()> {
        let Some(entry) = self.ports.get_mut(device) else { return Ok(()) };
        let mut unused = Vec::new();
        for of_block in vids.chunk_by(|one, next| one / 64 == next / 64) {
            let number = u32::from(entry.policy.blocks[usize::from(of_block[0] / 64)]);
            let mut block = maps.blocks.get(&number, 0).context("read a pair block")?;
            for vid in of_block {
                block[usize::from(vid % 64)] = 0;
                unused.extend(entry.pairs.remove(vid).map(|pair| (pair, VlanStats::default())));
            }
            maps.blocks.set(number, &block, 0).context("write a pair block")?;
        }
        batch::set_per_cpu(&maps.stats, &unused).context("reset counters")
    }
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
