//! The clocks of the programs, and the wall clock.

/// Nanoseconds since boot (CLOCK_BOOTTIME), as in samples.
pub fn boot_time() -> u64 {
    clock(libc::CLOCK_BOOTTIME)
}

/// Nanoseconds since boot without suspend (CLOCK_MONOTONIC): the programs' coarse clock.
pub fn monotonic_time() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970.
pub fn wall_time() -> u64 {
    clock(libc::CLOCK_REALTIME)
}

fn clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a buffer of the right type; these clocks exist.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
