//! Numbers that other clients do not have: transactions, and delays, so that nodes that start
//! together do not ask together.

use std::{collections::hash_map::RandomState, hash::BuildHasher as _, time::Duration};

use crate::names::IfName;

/// A generator (xorshift64).
pub struct Random(u64);

impl Random {
    /// The generator of an interface.
    pub fn of(name: &IfName) -> Self {
        Self::seeded(RandomState::new().hash_one(name))
    }

    /// A generator whose numbers are known.
    pub const fn seeded(seed: u64) -> Self {
        // The first numbers of small seeds would be alike.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number.
    pub fn number(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 32).unwrap_or_default()
    }

    /// A time up to this one, in milliseconds.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        let most = u32::try_from(most.as_millis()).unwrap_or(u32::MAX);
        Duration::from_millis(u64::from(self.number() % most.saturating_add(1)))
    }
}
