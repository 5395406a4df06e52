//! Waits for programs that may still use old values of maps.

use std::{thread, time::Duration};

/// Longer than any program runs.
const LONG: Duration = Duration::from_millis(100);

/// Returns when all programs that run now have ended: MEMBARRIER_CMD_GLOBAL (4.3, commit
/// 5b25b13ab08f) is synchronize_rcu(). A kernel with nohz_full refuses the command: then a fixed
/// time is waited.
pub fn wait_for_programs() {
    // SAFETY: no pointers.
    let failed =
        unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) } != 0;
    if failed {
        thread::sleep(LONG);
    }
}
