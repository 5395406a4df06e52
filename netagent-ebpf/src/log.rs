//! The log of the programs: drops that point to a fault, not to a policy. The agent freezes the
//! level when it loads a program; below that level the verifier removes the code.

use aya_log_ebpf::{
    debug,
    macro_support::{Level, level_enabled},
    warn,
};
use netagent_common::counters::Reason;

use crate::maps::Drop;

/// Logs a drop at a device, if its reason points to a fault.
#[inline(always)]
pub fn fault(ifindex: u32, drop: &Drop) {
    // The macros check the level, too. Checked first, it leaves nothing of the match but its own
    // load.
    if !level_enabled(Level::Error) {
        return;
    }
    match drop.reason {
        Reason::NoPolicy => warn!((), "ifindex {}: no policy for the device", ifindex),
        Reason::TagFailed => warn!((), "ifindex {}: failed to change the VLAN tag", ifindex),
        Reason::Malformed => debug!((), "ifindex {}: malformed frame", ifindex),
        _ => {}
    }
}
