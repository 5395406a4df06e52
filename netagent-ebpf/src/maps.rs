//! The maps, and the look-ups that more than one program makes.
//!
//! The agent and programs on other CPUs access map memory at the same time. A program therefore has
//! no reference to it: it reads and writes single words by volatile accesses. The exception is a
//! policy record: the agent writes a record only while no program reads it.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, PerCpuHashMap, lpm_trie::Key},
    macros::btf_map,
};
use netagent_common::{
    DROPS_PER_PORT, MAX_BLOCKS, MAX_DROPS, MAX_IPS, MAX_MACS, MAX_PAIRS, MAX_PORTS,
    PORT_INDEX_SIZE, PORT_INDEX_SPILL,
    counters::{
        ANY_PORT, ANY_VID, Direction, DropKey, DropSlots, DropStats, Reason, VlanStats, add,
        count_in_slot,
    },
    guard::{Mac, Owner},
    limit::{MAC_SLOTS, MacSlot, StormState},
    policy::{Ip, Policy, PortIp, PortMac, PortRef},
    silence::Silence,
};

/// Device to policy: element `ifindex % PORT_INDEX_SIZE`. The agent reads it by mmap.
#[btf_map]
static PORT_INDEX: Array<PortRef, { PORT_INDEX_SIZE as usize }, { BPF_F_MMAPABLE as usize }> =
    Array::new();

/// Devices whose element in `PORT_INDEX` belongs to another device: ifindex to record number.
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

/// Key of the drop counters.
pub type Drop = DropKey<Direction, Reason>;

/// Drops by port: its first keys.
#[btf_map]
static DROPS: PerCpuArray<DropSlots<Direction, Reason>, { MAX_PORTS as usize }> =
    PerCpuArray::new();

/// Drops by all other keys.
#[btf_map]
static MORE_DROPS: PerCpuHashMap<Drop, DropStats, { MAX_DROPS as usize }> = PerCpuHashMap::new();

/// Keys of `MORE_DROPS` that a port has used, of `DROPS_PER_PORT`.
#[btf_map]
static DROP_QUOTA: Array<u32, { MAX_PORTS as usize }> = Array::new();

/// The listed addresses that VMs may use. The value is the interface index of the port.
#[btf_map]
static ALLOWED_MACS: HashMap<PortMac, u32, { MAX_MACS as usize }> = HashMap::new();

/// The IP prefixes that VMs may use. The value is the interface index of the port.
#[btf_map]
static ALLOWED_IPS: LpmTrie<PortIp, u32, { MAX_IPS as usize }> = LpmTrie::new();

/// The source addresses of a port that has a limit of them.
#[btf_map]
static PORT_MACS: Array<[MacSlot; MAC_SLOTS], { MAX_PORTS as usize }> = Array::new();

/// State of a port's limits of broadcast, multicast and unknown unicast frames.
#[btf_map]
static STORM: Array<StormState, { MAX_PORTS as usize }> = Array::new();

/// State of the silent ports, by port number.
#[btf_map]
static SILENCE: Array<Silence, { MAX_PORTS as usize }> = Array::new();

/// The policy of a device.
#[inline(always)]
pub fn policy(ifindex: u32) -> Option<&'static Policy> {
    let element = PORT_INDEX.get_ptr(ifindex & (PORT_INDEX_SIZE - 1))?;
    // SAFETY: an element of eight bytes, aligned to eight bytes as all map values are.
    let there = PortRef::from_word(unsafe { element.cast::<u64>().read_volatile() });
    let record = if there.ifindex == ifindex {
        there.record
    } else {
        // SAFETY: the value is one word.
        unsafe { PORT_SPILL.get_ptr(&ifindex)?.read_volatile() }
    };
    // The reference is sound: the agent writes the record that the index does not lead to, and
    // waits for a grace period before it writes the other one.
    POLICY.get(record)
}

/// The VM of a port, by the policy record that the program read.
#[derive(Clone, Copy)]
pub struct Vm {
    pub record: u16,
}

impl Owner for Vm {
    #[inline(always)]
    fn has_mac(self, mac: Mac) -> bool {
        ALLOWED_MACS.get_ptr(&PortMac { record: self.record, mac }).is_some()
    }

    #[inline(always)]
    fn has_ip(self, ip: Ip) -> bool {
        let all = 8 * size_of::<PortIp>() as u32;
        ALLOWED_IPS.get(&Key::new(all, PortIp { record: self.record.into(), ip })).is_some()
    }
}

/// The slots of a port's source addresses, shared between CPUs.
#[inline(always)]
pub fn macs(port: u16) -> Option<*mut [MacSlot; MAC_SLOTS]> {
    PORT_MACS.get_ptr_mut(u32::from(port))
}

/// The state of a port's limits, shared between CPUs.
#[inline(always)]
pub fn storm(port: u16) -> Option<*mut StormState> {
    STORM.get_ptr_mut(u32::from(port))
}

/// The state of a silent port, shared between CPUs and with the agent.
#[inline(always)]
pub fn silence(port: u16) -> Option<*mut Silence> {
    SILENCE.get_ptr_mut(u32::from(port))
}

/// Counts a frame that passes.
#[inline(always)]
pub fn count(policy: &Policy, vid: u16, direction: Direction, packets: u64, bytes: u64) {
    let pair = if vid == policy.pvid {
        policy.pvid_pair
    } else {
        let vid = policy.unknown(usize::from(vid));
        let block = policy.blocks[vid >> 6 & 63];
        let Some(pairs) = PAIR_BLOCKS.get_ptr(u32::from(block)) else { return };
        // SAFETY: one of the 64 numbers of a block.
        unsafe { pairs.cast::<u16>().add(vid & 63).read_volatile() }
    };
    let Some(stats) = VLAN_STATS.get_ptr_mut(u32::from(pair)) else { return };
    // SAFETY: this CPU's element. No other program counts in it meanwhile: TC and XDP programs run
    // with bottom halves disabled.
    unsafe {
        match direction {
            Direction::Receive => {
                add(&raw mut (*stats).rx_packets, packets);
                add(&raw mut (*stats).rx_bytes, bytes);
            }
            Direction::Transmit => {
                add(&raw mut (*stats).tx_packets, packets);
                add(&raw mut (*stats).tx_bytes, bytes);
            }
        }
    }
}

/// Counts a dropped frame: in a slot of its port, or in `MORE_DROPS`. A port that has used up its
/// quota of keys counts under `ANY_VID`. A key that finds the map full is counted under `ANY_PORT`,
/// for which the agent has made the keys: the sums are exact for any traffic.
#[inline(always)]
pub fn count_drop(drop: Drop, packets: u64, bytes: u64) {
    if let Some(slots) = DROPS.get_ptr_mut(u32::from(drop.port)) {
        // SAFETY: this CPU's element; see `count`.
        if unsafe { count_in_slot(slots, drop, packets, bytes) } {
            return;
        }
    }
    count_more(drop, packets, bytes);
}

// Not inlined: nearly all drops find a slot.
#[cold]
#[inline(never)]
fn count_more(drop: Drop, packets: u64, bytes: u64) {
    if add_drop(&drop, packets, bytes) {
        return;
    }
    if take_quota(drop.port) && new_drop(&drop, packets, bytes) {
        return;
    }
    let drop = Drop { vid: ANY_VID, ..drop };
    if add_drop(&drop, packets, bytes) || new_drop(&drop, packets, bytes) {
        return;
    }
    add_drop(&Drop { port: ANY_PORT, ..drop }, packets, bytes);
}

#[inline(always)]
fn add_drop(key: &Drop, packets: u64, bytes: u64) -> bool {
    let Some(stats) = MORE_DROPS.get_ptr_mut(key) else { return false };
    // SAFETY: this CPU's value; see `count`.
    unsafe {
        add(&raw mut (*stats).packets, packets);
        add(&raw mut (*stats).bytes, bytes);
    }
    true
}

/// Makes the key. If another CPU has just made it, the frame is added.
#[inline(always)]
fn new_drop(key: &Drop, packets: u64, bytes: u64) -> bool {
    const BPF_NOEXIST: u64 = 1;
    let stats = DropStats { packets, bytes };
    MORE_DROPS.insert(key, &stats, BPF_NOEXIST).is_ok() || add_drop(key, packets, bytes)
}

#[inline(always)]
fn take_quota(port: u16) -> bool {
    let Some(used) = DROP_QUOTA.get_ptr_mut(u32::from(port)) else { return false };
    // SAFETY: a word of a map element, shared between CPUs. A lost update lets a port have one more
    // key; the size of the map is the bound.
    unsafe {
        let keys = used.read_volatile();
        if keys >= DROPS_PER_PORT {
            return false;
        }
        used.write_volatile(keys + 1);
    }
    true
}
