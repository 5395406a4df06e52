//! Counters by (port, VID): the numbers of these pairs, and the blocks in which programs look them
//! up.
//!
//! A block has the pair numbers of 64 VIDs of one port. A policy record has the numbers of its
//! blocks.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use netagent_common::{MAX_BLOCKS, MAX_PAIRS, counters::VlanStats, policy::Policy};

use super::{batch, maps::Maps};

/// Pair numbers of a port by VID; 0 stands for link-local frames.
pub type Pairs = BTreeMap<u16, u32>;

/// VIDs in a block.
const VIDS: u16 = 64;

/// Reads the pairs of each policy.
pub fn read<'a>(
    maps: &Maps,
    policies: impl Iterator<Item = &'a Policy> + Clone,
) -> Result<Vec<Pairs>> {
    let highest = policies.clone().flat_map(|policy| policy.blocks).max().unwrap_or(0);
    let mut blocks = Vec::new();
    batch::each(&maps.blocks, usize::from(highest) + 1, |_, block| blocks.push(block))?;
    let of_policy = |policy: &Policy| {
        let mut pairs = Pairs::new();
        for (first, number) in (0..).step_by(VIDS.into()).zip(policy.blocks) {
            if number != 0 {
                let block: &[u16; 64] =
                    blocks.get(usize::from(number)).context("read a pair block")?;
                let used = (first..).zip(block).filter(|(_, pair)| **pair != 0);
                pairs.extend(used.map(|(vid, pair)| (vid, u32::from(*pair))));
            }
        }
        Ok(pairs)
    };
    policies.map(of_policy).collect()
}

/// Numbers that no port uses.
pub struct Free {
    pairs: Vec<u32>,
    blocks: Vec<u32>,
}

impl Free {
    /// The numbers that these ports do not use.
    pub fn beside<'a>(ports: impl Iterator<Item = (&'a Policy, &'a Pairs)> + Clone) -> Self {
        let blocks = ports.clone().flat_map(|(policy, _)| policy.blocks).map(u32::from);
        let pairs = ports.flat_map(|(_, pairs)| pairs.values().copied());
        Self { pairs: unused(MAX_PAIRS, pairs), blocks: unused(MAX_BLOCKS, blocks) }
    }
}

/// In descending order: the lowest number is taken first, so that used numbers stay close together.
fn unused(most: u32, used: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut free = vec![true; most as usize];
    for number in used {
        if let Some(free) = free.get_mut(number as usize) {
            *free = false;
        }
    }
    (1..most).rev().filter(|number| free[*number as usize]).collect()
}

/// Allocates counters for the counted VIDs of a policy that no program reads yet. Returns the old
/// and the new pairs of the port.
///
/// Programs read some of the blocks already, but no VID that the old policy does not allow.
pub fn add(
    maps: &mut Maps,
    mut free: Free,
    policy: &mut Policy,
    counted: &BTreeSet<u16>,
    old: Option<(&Policy, &Pairs)>,
) -> Result<Pairs> {
    let mut pairs = old.map(|(_, pairs)| pairs.clone()).unwrap_or_default();
    let new: Vec<u16> = counted.iter().filter(|vid| !pairs.contains_key(vid)).copied().collect();
    let mut reset = Vec::new();
    for vid in &new {
        let pair = free.pairs.pop().with_context(|| {
            format!("all {} counters of (port, VLAN) are in use: allow fewer VLANs", MAX_PAIRS - 1)
        })?;
        pairs.insert(*vid, pair);
        let (ifindex, port) = (policy.ifindex, policy.port);
        reset.push((pair, VlanStats { ifindex, port, vid: *vid, ..VlanStats::default() }));
    }
    let had = old.map_or([0; 64], |(policy, _)| policy.blocks);
    for word in counted.iter().map(|vid| usize::from(vid / VIDS)) {
        if policy.blocks[word] == 0 {
            policy.blocks[word] = match had[word] {
                0 => u16::try_from(free.blocks.pop().context("all pair blocks are in use")?)?,
                block => block,
            };
        }
    }
    batch::set_per_cpu(&maps.stats, &reset).context("reset counters")?;
    write(maps, &policy.blocks, &pairs, &new)?;
    Ok(pairs)
}

/// Frees the counters of VIDs that are not counted any more; `blocks` contain their numbers.
pub fn trim(
    maps: &mut Maps,
    blocks: &[u16; 64],
    counted: &BTreeSet<u16>,
    pairs: &mut Pairs,
) -> Result<()> {
    let gone: Vec<u16> = pairs.keys().filter(|vid| !counted.contains(vid)).copied().collect();
    drop(maps, blocks, pairs, &gone)
}

/// Frees the counters of VIDs that no program uses any more; `blocks` contain their numbers.
pub fn drop(maps: &mut Maps, blocks: &[u16; 64], pairs: &mut Pairs, vids: &[u16]) -> Result<()> {
    let unused = vids.iter().filter_map(|vid| Some((pairs.remove(vid)?, VlanStats::default())));
    let unused: Vec<_> = unused.collect();
    write(maps, blocks, pairs, vids)?;
    batch::set_per_cpu(&maps.stats, &unused).context("reset counters")
}

/// Writes the blocks that contain some VIDs.
fn write(maps: &mut Maps, blocks: &[u16; 64], pairs: &Pairs, vids: &[u16]) -> Result<()> {
    let words: BTreeSet<u16> = vids.iter().map(|vid| vid / VIDS).collect();
    for word in words {
        let mut block = [0; VIDS as usize];
        for (vid, pair) in pairs.range(word * VIDS..(word + 1) * VIDS) {
            block[usize::from(vid % VIDS)] = u16::try_from(*pair)?;
        }
        let number = u32::from(blocks[usize::from(word)]);
        maps.blocks.set(number, &block, 0).context("write a pair block")?;
    }
    Ok(())
}
