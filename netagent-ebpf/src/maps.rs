//! The maps, and the look-ups that more than one program makes.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, PerCpuArray, PerCpuHashMap},
    macros::btf_map,
};
use netagent_common::{
    DROPS_PER_PORT, MAX_BLOCKS, MAX_DROPS, MAX_MACS, MAX_PAIRS, MAX_PORTS, PORT_INDEX_SIZE,
    PORT_INDEX_SPILL,
    counters::{
        ANY_PORT, ANY_VID, Direction, DropKey, DropSlots, DropStats, Reason, VlanStats,
        count_in_slot,
    },
    guard::Mac,
    limit::{MAC_SLOTS, MacSlot, StormState},
    policy::{Policy, PortMac, PortRef},
};

/// Device to policy: element `ifindex % PORT_INDEX_SIZE`. The agent maps it into its memory to read it.
#[btf_map]
static PORT_INDEX: Array<PortRef, { PORT_INDEX_SIZE as usize }, { BPF_F_MMAPABLE as usize }> =
    Array::new();

/// Devices whose element in `PORT_INDEX` belongs to another one: ifindex to record number.
#[btf_map]
static PORT_SPILL: HashMap<u32, u32, { PORT_INDEX_SPILL as usize }> = HashMap::new();

/// Two policy records per port.
#[btf_map]
static POLICY: Array<Policy, { 2 * MAX_PORTS as usize }> = Array::new();

/// Pair numbers of 64 VIDs of a port; 0: no pair.
#[btf_map]
static PAIR_BLOCKS: Array<[u16; 64], { MAX_BLOCKS as usize }> = Array::new();

/// Traffic by pair number.
#[btf_map]
static VLAN_STATS: PerCpuArray<VlanStats, { MAX_PAIRS as usize }> = PerCpuArray::new();

/// What drops are counted by.
pub type Drop = DropKey<Direction, Reason>;

/// Drops by port: the first keys of each.
#[btf_map]
static DROPS: PerCpuArray<DropSlots<Direction, Reason>, { MAX_PORTS as usize }> =
    PerCpuArray::new();

/// Drops of all other keys.
#[btf_map]
static MORE_DROPS: PerCpuHashMap<Drop, DropStats, { MAX_DROPS as usize }> = PerCpuHashMap::new();

/// How many keys of `MORE_DROPS` a port has used, of `DROPS_PER_PORT`.
#[btf_map]
static DROP_QUOTA: Array<u32, { MAX_PORTS as usize }> = Array::new();

/// The addresses that VMs may use, where they are listed: to the interface index of the port.
#[btf_map]
static ALLOWED_MACS: HashMap<PortMac, u32, { MAX_MACS as usize }> = HashMap::new();

/// The source addresses that a port uses, where they are limited.
#[btf_map]
static PORT_MACS: Array<[MacSlot; MAC_SLOTS], { MAX_PORTS as usize }> = Array::new();

/// What a port has used of its limits of broadcast, multicast and unknown unicast.
#[btf_map]
static STORM: Array<StormState, { MAX_PORTS as usize }> = Array::new();

/// The policy of a device.
#[inline(always)]
pub fn policy(ifindex: u32) -> Option<&'static Policy> {
    let slot = PORT_INDEX.get(ifindex & (PORT_INDEX_SIZE - 1))?;
    let record = if slot.ifindex == ifindex {
        slot.record
    } else {
        // SAFETY: the value is one aligned word, which the agent replaces whole.
        unsafe { *PORT_SPILL.get(&ifindex)? }
    };
    POLICY.get(record)
}

/// Whether a VM may use an address: it is listed with the policy record that is in force.
#[inline(always)]
pub fn owns(record: u16, mac: Mac) -> bool {
    ALLOWED_MACS.get_ptr(&PortMac { record, mac }).is_some()
}

/// The slots of a port's source addresses. Shared between CPUs: whoever writes tears nothing, as each word has a meaning of
/// its own.
#[inline(always)]
pub fn macs(port: u16) -> Option<*mut [MacSlot; MAC_SLOTS]> {
    PORT_MACS.get_ptr_mut(u32::from(port))
}

/// What a port has used of its limits; shared between CPUs.
#[inline(always)]
pub fn storm(port: u16) -> Option<*mut StormState> {
    STORM.get_ptr_mut(u32::from(port))
}

/// Counts a frame that passes.
#[inline(always)]
pub fn count(policy: &Policy, vid: u16, direction: Direction, packets: u64, bytes: u64) {
    let pair = if vid == policy.pvid {
        policy.pvid_pair
    } else {
        let block = policy.blocks[usize::from(vid >> 6 & 63)];
        let Some(pairs) = PAIR_BLOCKS.get(u32::from(block)) else { return };
        pairs[usize::from(vid & 63)]
    };
    let Some(stats) = VLAN_STATS.get_ptr_mut(u32::from(pair)) else { return };
    // SAFETY: this CPU's element, and no other program runs on this CPU between here and the end: TC and XDP
    // programs run with bottom halves off.
    let stats = unsafe { &mut *stats };
    match direction {
        Direction::Receive => {
            stats.rx_packets += packets;
            stats.rx_bytes += bytes;
        }
        Direction::Transmit => {
            stats.tx_packets += packets;
            stats.tx_bytes += bytes;
        }
    }
}

/// Counts a frame that is dropped: under one of its port's first keys, or among the others. A port that has used up its quota of keys counts under `ANY_VID`, and
/// what finds no room in the map under `ANY_PORT`, whose keys the agent made beforehand: the sums stay exact,
/// whatever a VM sends.
#[inline(always)]
pub fn count_drop(drop: Drop, bytes: u64) {
    if let Some(slots) = DROPS.get_ptr_mut(u32::from(drop.port)) {
        // SAFETY: this CPU's element; see `count`.
        if count_in_slot(unsafe { &mut *slots }, drop, bytes) {
            return;
        }
    }
    count_more(drop, bytes);
}

// Not inlined: a flood is of few keys.
#[cold]
#[inline(never)]
fn count_more(drop: Drop, bytes: u64) {
    if add_drop(&drop, bytes) {
        return;
    }
    if take_quota(drop.port) && new_drop(&drop, bytes) {
        return;
    }
    let drop = Drop { vid: ANY_VID, ..drop };
    if add_drop(&drop, bytes) || new_drop(&drop, bytes) {
        return;
    }
    add_drop(&Drop { port: ANY_PORT, ..drop }, bytes);
}

#[inline(always)]
fn add_drop(key: &Drop, bytes: u64) -> bool {
    let Some(stats) = MORE_DROPS.get_ptr_mut(key) else { return false };
    // SAFETY: this CPU's value; see `count`.
    unsafe {
        (*stats).packets += 1;
        (*stats).bytes += bytes;
    }
    true
}

/// Makes the key; another CPU may have been faster.
#[inline(always)]
fn new_drop(key: &Drop, bytes: u64) -> bool {
    const BPF_NOEXIST: u64 = 1;
    let stats = DropStats { packets: 1, bytes };
    MORE_DROPS.insert(key, &stats, BPF_NOEXIST).is_ok() || add_drop(key, bytes)
}

#[inline(always)]
fn take_quota(port: u16) -> bool {
    let Some(used) = DROP_QUOTA.get_ptr_mut(u32::from(port)) else { return false };
    // SAFETY: a word of a map element, shared between CPUs. A lost update lets a port have a key more;
    // the map's size is the bound.
    unsafe {
        if *used >= DROPS_PER_PORT {
            return false;
        }
        *used += 1;
    }
    true
}
