//! Waiting for programs that may still use what they have read.

use std::{thread, time::Duration};

/// Far longer than any program runs.
const LONG: Duration = Duration::from_millis(100);

/// Returns when every program that runs now has come to its end: MEMBARRIER_CMD_GLOBAL (since 4.3, commit 5b25b13ab08f) is
/// synchronize_rcu(). A kernel that keeps its ticks off some processors (nohz_full) refuses it; there it is waited.
pub fn wait_for_programs() {
    // SAFETY: no pointers.
    let failed =
        unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) } != 0;
    if failed {
        thread::sleep(LONG);
    }
}
