//! The clocks: the programs', and the one on the wall.

/// Nanoseconds since the boot, as the programs count them.
pub fn boot_time() -> u64 {
    clock(libc::CLOCK_BOOTTIME)
}

/// Nanoseconds since the boot, without those asleep: as the programs count them where they ask for the coarse clock.
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
