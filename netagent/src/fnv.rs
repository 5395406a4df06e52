//! FNV-1a (draft-eastlake-fnv), 64 bits: names that persist or that people type. It does not depend
//! on the version of the compiler, and keeps nothing secret.

/// The hash of these bytes.
pub fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
