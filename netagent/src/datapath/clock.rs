//! Clocks: those of the programs, and wall time.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the boot (`bpf_ktime_get_boot_ns`).
pub fn boot_time() -> u64 {
    clock(ClockId::Boottime)
}

/// Nanoseconds since the boot without suspend (`bpf_ktime_get_coarse_ns`).
pub fn monotonic_time() -> u64 {
    clock(ClockId::Monotonic)
}

/// Nanoseconds since 1970.
pub fn wall_time() -> u64 {
    clock(ClockId::Realtime)
}

fn clock(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
