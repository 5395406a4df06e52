//! The clock of leases and lifetimes.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time since the boot, with suspend.
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Seconds since the boot.
pub fn boot_seconds() -> u64 {
    since_boot().as_secs()
}
