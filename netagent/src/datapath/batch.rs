//! Reads and writes many elements of a map by one system call.
//!
//! The kernel supports this for arrays and hash maps since 5.6 (commits cb4d03ab499d, 057996380a42,
//! aa2e93b8e58e), for per-CPU arrays since 5.13 (f008d732ab18). It reads a hash map bucket by
//! bucket: while programs write to the map, no element is returned twice or missed.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{IterableMap, MapData, PerCpuValues},
};

use super::maps::possible_cpus;

/// Elements of a system call. On a large machine such a chunk of a per-CPU map has less than a MiB.
const CHUNK: usize = 256;

/// `BPF_MAP_LOOKUP_BATCH` and `BPF_MAP_UPDATE_BATCH` (include/uapi/linux/bpf.h).
const LOOKUP: libc::c_long = 24;
const UPDATE: libc::c_long = 26;

/// The part of `union bpf_attr` for these commands; `from` and `to` are `in_batch` and `out_batch`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Visits the elements of a map; the first `most` elements of an array.
pub fn each<K: Pod, V: Pod>(
    map: &impl IterableMap<K, V>,
    most: usize,
    mut visit: impl FnMut(K, V),
) -> Result<()> {
    walk(map.map(), 1, most, |key, values: &[V]| values.iter().for_each(|value| visit(key, *value)))
}

/// Visits the elements of a per-CPU map.
pub fn each_per_cpu<K: Pod, V: Pod>(
    map: &impl IterableMap<K, PerCpuValues<V>>,
    most: usize,
    visit: impl FnMut(K, &[V]),
) -> Result<()> {
    walk(map.map(), cpus::<V>()?, most, visit)
}

/// Sets elements of an array.
pub fn set<V: Pod>(map: &impl IterableMap<u32, V>, elements: &[(u32, V)]) -> Result<()> {
    update(map.map(), 1, elements)
}

/// Sets elements of a per-CPU array to one value for every CPU.
pub fn set_per_cpu<V: Pod>(
    map: &impl IterableMap<u32, PerCpuValues<V>>,
    elements: &[(u32, V)],
) -> Result<()> {
    update(map.map(), cpus::<V>()?, elements)
}

fn update<V: Pod>(map: &MapData, values_per_key: usize, elements: &[(u32, V)]) -> Result<()> {
    for chunk in elements.chunks(CHUNK) {
        let keys: Vec<u32> = chunk.iter().map(|(key, _)| *key).collect();
        let values: Vec<V> = chunk
            .iter()
            .flat_map(|(_, value)| std::iter::repeat_n(*value, values_per_key))
            .collect();
        let mut batch = Attributes {
            keys: keys.as_ptr() as u64,
            values: values.as_ptr() as u64,
            count: u32::try_from(chunk.len())?,
            ..Attributes::default()
        };
        // SAFETY: the kernel reads `count` keys, and `values_per_key` values for each.
        unsafe { bpf(UPDATE, map, &mut batch)? };
    }
    Ok(())
}

/// Number of possible CPUs. The kernel gives each value a multiple of eight bytes.
fn cpus<V>() -> Result<usize> {
    const { assert!(size_of::<V>().is_multiple_of(8)) };
    possible_cpus()
}

fn walk<K: Pod, V: Pod>(
    map: &MapData,
    values_per_key: usize,
    most: usize,
    mut visit: impl FnMut(K, &[V]),
) -> Result<()> {
    // The position of the kernel: a key in an array, the number of a bucket in a hash map.
    let mut place = vec![0_u8; size_of::<K>().max(size_of::<u32>())];
    let mut keys: Vec<K> = Vec::with_capacity(CHUNK);
    let mut values: Vec<V> = Vec::with_capacity(CHUNK * values_per_key);
    let (mut left, mut begun) = (most, false);
    while left > 0 {
        let mut batch = Attributes {
            from: if begun { place.as_ptr() as u64 } else { 0 },
            to: place.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(left.min(CHUNK))?,
            ..Attributes::default()
        };
        // SAFETY: the buffers have room for `count` keys, for `values_per_key` values of each, and
        // for the position. The typed map guarantees the sizes.
        let more = match unsafe { bpf(LOOKUP, map, &mut batch) } {
            Ok(()) => true,
            // The end of the map; the call has returned elements, too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                let name = map.info()?.name_as_str().unwrap_or_default().to_owned();
                return Err(error).with_context(|| format!("read the elements of the map {name}"));
            }
        };
        let count = batch.count as usize;
        // SAFETY: the kernel has written `count` elements; any bytes are a valid value of a `Pod`.
        unsafe {
            keys.set_len(count);
            values.set_len(count * values_per_key);
        }
        for (key, values) in keys.iter().zip(values.chunks_exact(values_per_key)) {
            visit(*key, values);
        }
        if !more {
            break;
        }
        (left, begun) = (left.saturating_sub(count), true);
    }
    Ok(())
}

/// # Safety
///
/// The pointers in `batch` are valid for `count` elements of this map.
unsafe fn bpf(command: libc::c_long, map: &MapData, batch: &mut Attributes) -> io::Result<()> {
    batch.map_fd = map.fd().as_fd().as_raw_fd().unsigned_abs();
    // SAFETY: the pointers are valid, says the caller.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(batch), size_of::<Attributes>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
