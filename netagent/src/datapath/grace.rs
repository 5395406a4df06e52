//! Waits for programs that may still use what they have read.

use std::{thread, time::Duration};

use rustix::thread::{MembarrierCommand, membarrier};

/// Much longer than a program runs.
const LONG: Duration = Duration::from_millis(100);

/// Returns after every program that runs now has ended: MEMBARRIER_CMD_GLOBAL (since Linux 4.3,
/// commit 5b25b13ab08f) is synchronize_rcu(). A kernel with nohz_full processors refuses it; then
/// this sleeps.
pub fn wait_for_programs() {
    if membarrier(MembarrierCommand::Global).is_err() {
        thread::sleep(LONG);
    }
}
