//! An array map as memory, which the kernel allows where the map has BPF_F_MMAPABLE (since 5.5, commit fc9702273e2e): reading
//! all of it is no system call, and one word of it can be written.

use std::{
    io,
    ops::Deref,
    os::fd::{AsFd as _, AsRawFd as _},
    ptr::{self, NonNull},
    slice,
    sync::atomic::AtomicU64,
};

use aya::maps::MapData;

/// The elements of a map.
pub struct Memory<V> {
    start: NonNull<V>,
    count: usize,
}

/// What may change at any time.
pub trait Words {}
impl Words for AtomicU64 {}
impl<T: Words, const N: usize> Words for [T; N] {}

impl<V: Words> Memory<V> {
    /// Maps so many elements of a map that has them.
    pub fn of(map: &MapData, count: u32) -> io::Result<Self> {
        let count = count as usize;
        let fd = map.fd().as_fd().as_raw_fd();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of a descriptor that is open, wherever the kernel puts it.
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
        // SAFETY: so many elements are mapped as long as this lives, and they are words that may change at any time.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl<V> Drop for Memory<V> {
    fn drop(&mut self) {
        // SAFETY: the mapping that this has made, which nothing refers to any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.count * size_of::<V>()) };
    }
}

// SAFETY: words that may change at any time.
unsafe impl<V: Words> Send for Memory<V> {}
// SAFETY: as above.
unsafe impl<V: Words> Sync for Memory<V> {}

/// The two fields of four bytes that a word is made of.
pub fn halves(word: u64) -> [u32; 2] {
    let [one, two, three, four, rest @ ..] = word.to_ne_bytes();
    [u32::from_ne_bytes([one, two, three, four]), u32::from_ne_bytes(rest)]
}
