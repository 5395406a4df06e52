//! An array map in memory (mmap). Kernel 5.5 and later support it for maps with BPF_F_MMAPABLE
//! (commit fc9702273e2e). It reads the whole map without a system call, and writes a single word.

use std::{
    io,
    ops::Deref,
    os::fd::{AsFd as _, AsRawFd as _},
    ptr::{self, NonNull},
    slice,
    sync::atomic::AtomicU64,
};

use aya::maps::{MapData, MapType};

use super::maps::BPF_F_MMAPABLE;

/// The elements of a map.
pub struct Memory<V> {
    start: NonNull<V>,
    count: usize,
}

/// A value that consists of atomic words.
///
/// # Safety
///
/// All bytes of the type belong to atomics: programs may write the memory while a reference to it
/// exists. Any bytes are a valid value.
pub unsafe trait AtomicWords {}
// SAFETY: an atomic word.
unsafe impl AtomicWords for AtomicU64 {}
// SAFETY: an array has no padding.
unsafe impl<T: AtomicWords, const N: usize> AtomicWords for [T; N] {}

impl<V: AtomicWords> Memory<V> {
    /// Maps all elements of a map. Fails if it is not an array map of such values that can be
    /// mapped.
    pub fn of(map: &MapData) -> io::Result<Self> {
        // The kernel gives each element a multiple of eight bytes.
        const { assert!(size_of::<V>().is_multiple_of(8) && size_of::<V>() > 0) };
        let info = map.info().map_err(io::Error::other)?;
        let is_array = info.map_type().map_err(io::Error::other)? == MapType::Array;
        let fits = info.value_size() as usize == size_of::<V>();
        if !is_array || !fits || info.map_flags() & BPF_F_MMAPABLE == 0 {
            return Err(io::Error::other("not an mmapable array of such values"));
        }
        let count = info.max_entries() as usize;
        let fd = map.fd().as_fd().as_raw_fd();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of an open descriptor, at an address that the kernel chooses.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), count * size_of::<V>(), access, libc::MAP_SHARED, fd, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, count })
    }
}

impl<V> Deref for Memory<V> {
    type Target = [V];

    fn deref(&self) -> &[V] {
        // SAFETY: `of` has mapped so many elements, which stay mapped while `self` exists. They
        // consist of atomics, so that programs may write them meanwhile.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl<V> Drop for Memory<V> {
    fn drop(&mut self) {
        // SAFETY: the mapping that `of` has made. No reference to it exists any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.count * size_of::<V>()) };
    }
}

// SAFETY: any thread may access atomics, and unmap the memory.
unsafe impl<V: AtomicWords> Send for Memory<V> {}
// SAFETY: any thread may access atomics.
unsafe impl<V: AtomicWords> Sync for Memory<V> {}

/// The two fields of four bytes in a word.
pub fn halves(word: u64) -> [u32; 2] {
    let [one, two, three, four, rest @ ..] = word.to_ne_bytes();
    [u32::from_ne_bytes([one, two, three, four]), u32::from_ne_bytes(rest)]
}
