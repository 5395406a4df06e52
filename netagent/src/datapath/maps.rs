//! The maps, opened by their pins.
//!
//! aya opens any map that is pinned under the name; [`check`] compares its definition first.

use std::{fs, mem::size_of, path::Path};

use anyhow::{Context as _, Result, bail};
use aya::{
    Pod,
    maps::{
        Array, DevMap, HashMap, IterableMap as _, LpmTrie, Map, MapData, MapInfo, MapType,
        PerCpuArray, PerCpuHashMap, PerCpuValues, lpm_trie::Key,
    },
    util::nr_cpus,
};
use netagent_common::{
    BUCKETS, MAX_BLOCKS, MAX_DROPS, MAX_IPS, MAX_MACS, MAX_PAIRS, MAX_PORTS, NIC_SLOTS,
    PORT_INDEX_SIZE, PORT_INDEX_SPILL,
    counters::{
        ANY_PORT, ANY_VID, Direction, DropStats, RawDropKey, RawDropSlots, Reason, VlanStats,
    },
    forward::{FdbBucket, Fresh, PathStats},
    limit::{MAC_SLOTS, MacSlot, StormState},
    policy::{Policy, PortIp, PortMac, PortRef},
    sample::{RING_BYTES, SampleFilter, Unsampled, WINDOWS, Window},
    silence::Silence,
};

use super::{fdb, log, pins::Pins, silence::Silences};

/// The map of ports that support XDP_REDIRECT.
const DEVICES: &str = "XDP_PORTS";
/// The map of policies.
pub const POLICY: &str = "POLICY";
/// The map can be mapped into memory (include/uapi/linux/bpf.h).
pub const BPF_F_MMAPABLE: u32 = 1 << 10;

/// A map's definition. A pinned map must have the same one.
struct Spec {
    name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    entries: u32,
    flags: u32,
}

const fn spec<K, V>(name: &'static str, kind: MapType, entries: u32) -> Spec {
    Spec { name, kind, key: size_of::<K>(), value: size_of::<V>(), entries, flags: 0 }
}

/// The definitions in netagent-ebpf/src/maps.rs, forward.rs and drops.rs, and by aya-log-ebpf.
const SPECS: [Spec; 23] = [
    Spec {
        flags: BPF_F_MMAPABLE,
        ..spec::<u32, PortRef>("PORT_INDEX", MapType::Array, PORT_INDEX_SIZE)
    },
    spec::<u32, u32>("PORT_SPILL", MapType::Hash, PORT_INDEX_SPILL),
    spec::<u32, Policy>("POLICY", MapType::Array, 2 * MAX_PORTS),
    spec::<u32, [u16; 64]>("PAIR_BLOCKS", MapType::Array, MAX_BLOCKS),
    spec::<u32, VlanStats>("VLAN_STATS", MapType::PerCpuArray, MAX_PAIRS),
    spec::<u32, RawDropSlots>("DROPS", MapType::PerCpuArray, MAX_PORTS),
    spec::<RawDropKey, DropStats>("MORE_DROPS", MapType::PerCpuHash, MAX_DROPS),
    spec::<u32, u32>("DROP_QUOTA", MapType::Array, MAX_PORTS),
    spec::<PortMac, u32>("ALLOWED_MACS", MapType::Hash, MAX_MACS),
    spec::<Key<PortIp>, u32>("ALLOWED_IPS", MapType::LpmTrie, MAX_IPS),
    spec::<u32, [MacSlot; MAC_SLOTS]>("PORT_MACS", MapType::Array, MAX_PORTS),
    spec::<u32, StormState>("STORM", MapType::Array, MAX_PORTS),
    spec::<u32, Silence>("SILENCE", MapType::Array, MAX_PORTS),
    Spec { flags: BPF_F_MMAPABLE, ..spec::<u32, FdbBucket>("FDB", MapType::Array, BUCKETS) },
    spec::<u32, Fresh>("FDB_FRESH", MapType::Array, 1),
    spec::<u32, PathStats>("FORWARDED", MapType::PerCpuArray, MAX_PORTS),
    spec::<u32, u32>("XDP_NICS", MapType::Array, NIC_SLOTS),
    // An interface index, and no program.
    spec::<u32, [u32; 2]>(DEVICES, MapType::DevMap, MAX_PORTS),
    // A ring buffer has no keys and values; its entries are bytes.
    spec::<(), ()>("DROP_EVENTS", MapType::RingBuf, RING_BYTES),
    spec::<u32, SampleFilter>("MONITOR", MapType::Array, 1),
    spec::<u32, Window>("MONITOR_RATE", MapType::Array, WINDOWS),
    spec::<u32, Unsampled>("MONITOR_MISSED", MapType::PerCpuArray, 1),
    spec::<(), ()>("AYA_LOGS", MapType::RingBuf, log::RING_BYTES),
];

/// Names of the maps.
pub fn names() -> impl Iterator<Item = &'static str> {
    SPECS.iter().map(|spec| spec.name)
}

/// Whether all maps are pinned. An agent that was killed may have pinned some of them only.
pub fn are_there(pins: &Pins) -> bool {
    names().all(|name| pins.maps().join(name).exists())
}

/// Compares the pinned maps with the definitions, and names every difference.
pub fn check(pins: &Pins) -> Result<()> {
    let mut differences = Vec::new();
    for spec in &SPECS {
        let path = pins.maps().join(spec.name);
        if !fs::exists(&path).with_context(|| format!("look at {}", path.display()))? {
            continue;
        }
        let info = MapInfo::from_pin(&path)
            .with_context(|| format!("open the pinned map {}", path.display()))?;
        let mut compare = |what: &str, found: u64, expected: u64| {
            if found != expected {
                differences.push(format!("{}: {what} {found} instead of {expected}", spec.name));
            }
        };
        compare("type", info.map_type()? as u64, spec.kind as u64);
        compare("key size", info.key_size().into(), spec.key as u64);
        compare("value size", info.value_size().into(), spec.value as u64);
        compare("entries", info.max_entries().into(), spec.entries.into());
        // The kernel adds flags of its own.
        compare("flags", (info.map_flags() & spec.flags).into(), spec.flags.into());
    }
    if !differences.is_empty() {
        bail!(
            "the pinned maps belong to another version of netagent ({}): `netagent detach` removes them",
            differences.join(", ")
        );
    }
    Ok(())
}

/// Removes the pin of a device map that aya has made with another value size than ours. aya asks
/// the kernel once per process whether device maps hold programs (since 5.8), and takes a failure
/// (no memory, no right) for a no: a later process would refuse the pin.
pub fn check_devices(pins: &Pins) -> Result<()> {
    let path = pins.maps().join(DEVICES);
    let Some(spec) = SPECS.iter().find(|spec| spec.name == DEVICES) else { return Ok(()) };
    let info = MapInfo::from_pin(&path).with_context(|| format!("open {}", path.display()))?;
    if info.value_size() as usize == spec.value {
        return Ok(());
    }
    fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    bail!(
        "create the map {DEVICES}: the kernel refused to say what it supports (see the log), as \
         without memory; apply again, or restart the daemon"
    )
}

/// The open maps.
pub struct Maps {
    /// Device to policy.
    pub index: Array<MapData, PortRef>,
    /// Device to record, where elements of `index` collide.
    pub spill: HashMap<MapData, u32, u32>,
    /// Policy records.
    pub policy: Array<MapData, Policy>,
    /// Pair numbers.
    pub blocks: Array<MapData, [u16; 64]>,
    /// Traffic.
    pub stats: PerCpuArray<MapData, VlanStats>,
    /// Drops by port: its first keys.
    pub drops: PerCpuArray<MapData, RawDropSlots>,
    /// Drops by all other keys.
    pub more_drops: PerCpuHashMap<MapData, RawDropKey, DropStats>,
    /// Keys of `more_drops` that each port has used.
    pub quota: Array<MapData, u32>,
    /// Addresses that VMs may use, with the interface index of their port.
    pub allowed_macs: HashMap<MapData, PortMac, u32>,
    /// IP prefixes that VMs may use, with the interface index of their port.
    pub allowed_ips: LpmTrie<MapData, PortIp, u32>,
    /// Source addresses of ports that have a limit of them.
    pub port_macs: Array<MapData, [MacSlot; MAC_SLOTS]>,
    /// State of the limits of ports.
    pub storm: Array<MapData, StormState>,
    /// State of the silent ports.
    pub silence: Silences,
    /// Frames that the fast path forwarded, by port.
    pub forwarded: PerCpuArray<MapData, PathStats>,
    /// Ports that support XDP_REDIRECT.
    pub xdp_ports: DevMap<MapData>,
    /// The FDB map; see [`super::fdb`].
    fdb: Array<MapData, FdbBucket>,
}

impl Maps {
    /// Opens the pinned maps.
    pub fn open(pins: &Pins) -> Result<Self> {
        check(pins)?;
        let open = |name| pinned(pins, name);
        Ok(Self {
            index: open("PORT_INDEX")?.try_into()?,
            spill: open("PORT_SPILL")?.try_into()?,
            policy: open("POLICY")?.try_into()?,
            blocks: open("PAIR_BLOCKS")?.try_into()?,
            stats: open("VLAN_STATS")?.try_into()?,
            drops: open("DROPS")?.try_into()?,
            more_drops: open("MORE_DROPS")?.try_into()?,
            quota: open("DROP_QUOTA")?.try_into()?,
            allowed_macs: open("ALLOWED_MACS")?.try_into()?,
            allowed_ips: open("ALLOWED_IPS")?.try_into()?,
            port_macs: open("PORT_MACS")?.try_into()?,
            storm: open("STORM")?.try_into()?,
            silence: Silences::open(pins)?,
            forwarded: open("FORWARDED")?.try_into()?,
            xdp_ports: open(DEVICES)?.try_into()?,
            fdb: open("FDB")?.try_into()?,
        })
    }

    /// Whether the open maps are still the pinned ones.
    pub fn are_pinned(&self, pins: &Pins) -> bool {
        is_pinned(self.policy.map(), pins, POLICY)
    }

    /// ID of the map of policies.
    pub fn policy_id(&self) -> Option<u32> {
        self.policy.map().info().ok().map(|info| info.id())
    }

    /// Makes the keys for drops that find no key of their own: for each port when it gets its
    /// policy, for the reasons that its flags allow; and for frames that belong to no port. The
    /// drops of a port are counted separately, however many VIDs other VMs send.
    pub fn reserve_drops(&mut self, port: u16, flags: u32) -> Result<()> {
        for reason in Reason::ALL {
            for direction in [Direction::Receive, Direction::Transmit] {
                let of_port = reason.occurs(flags, direction);
                let key = RawDropKey {
                    port,
                    vid: ANY_VID,
                    direction: direction as u16,
                    reason: reason as u16,
                };
                // If the map is full, drops of the port are counted under the keys of no port.
                if (of_port || port == ANY_PORT) && self.more_drops.get(&key, 0).is_err() {
                    let zero = per_cpu(DropStats::default())?;
                    let full = self.more_drops.insert(&key, zero, 0).is_err();
                    if full && port == ANY_PORT {
                        bail!("prepare the drop counters");
                    }
                }
            }
        }
        Ok(())
    }

    /// Number of stations in the FDB map.
    pub fn stations(&self) -> Result<usize> {
        fdb::count(self.fdb.map())
    }
}

/// Whether a map is the pinned one.
pub fn is_pinned(map: &MapData, pins: &Pins, name: &str) -> bool {
    map.info().map_or(true, |open| !is_another(&pins.maps().join(name), open.id()))
}

/// Whether there is no pin, or that of another map than the one with this ID. A pin that cannot be
/// read, for lack of memory or of file descriptors, is the one that was there.
pub fn is_another(pin: &Path, id: u32) -> bool {
    fs::exists(pin).is_ok_and(|exists| !exists)
        || MapInfo::from_pin(pin).is_ok_and(|there| there.id() != id)
}

/// Opens the pin of a map.
pub fn pinned(pins: &Pins, name: &str) -> Result<Map> {
    let path = pins.maps().join(name);
    let data = MapData::from_pin(&path)
        .with_context(|| format!("open the pinned map {}", path.display()))?;
    Ok(Map::from_map_data(data)?)
}

/// One value for every CPU.
pub fn per_cpu<T: Pod>(value: T) -> Result<PerCpuValues<T>> {
    let values = vec![value; possible_cpus()?];
    PerCpuValues::try_from(values).context("make per-CPU values")
}

/// Number of values of an element of a per-CPU map.
pub fn possible_cpus() -> Result<usize> {
    let cpus = nr_cpus().map_err(|(path, error)| anyhow::anyhow!("read {path}: {error}"))?;
    Ok(cpus.get() as usize)
}
