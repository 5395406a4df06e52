//! The checks of a VM's port besides VLANs. Each check is behind its flag: see `FLAGS`.

use aya_ebpf::helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use netagent_common::{
    counters::Reason,
    guard::{self, GUARDS},
    limit::{admit_mac, admit_rate},
    mac::is_group,
    policy::{ISOLATED, ISOLATION, MAC_LIMIT, Policy, STORM, UPLINK},
};

use crate::{
    forward, maps,
    packet::{Skb, addresses},
};

const BROADCAST: u64 = 0xffff_ffff_ffff;

/// Checks a frame from a VM. Returns the reason to drop it.
#[inline(always)]
pub fn from_vm(skb: &Skb<'_>, policy: &Policy, flags: u32, vid: u16) -> Option<Reason> {
    if flags & GUARDS != 0
        && let Err(reason) = guard::check(flags, skb, |mac| maps::owns(policy.record, mac))
    {
        return Some(reason);
    }
    if flags & MAC_LIMIT != 0 && !may_use_address(skb, policy) {
        return Some(Reason::MacLimit);
    }
    if flags & STORM != 0 { storm(skb, policy, vid) } else { None }
}

/// Checks a frame to a VM. Returns the reason to drop it.
#[inline(always)]
pub fn to_vm(skb: &Skb<'_>, policy: &Policy, flags: u32, _vid: u16) -> Option<Reason> {
    if flags & ISOLATION == 0 {
        return None;
    }
    // A frame of the node itself has no ingress port.
    let from = maps::policy(skb.origin_ifindex())?;
    let isolated = (from.flags | policy.flags) & ISOLATED != 0;
    (isolated && from.flags & UPLINK == 0).then_some(Reason::Isolated)
}

#[inline(always)]
fn may_use_address(skb: &Skb<'_>, policy: &Policy) -> bool {
    let Some([_, source]) = addresses(skb.linear()) else { return false };
    let Some(slots) = maps::macs(policy.port) else { return false };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    // SAFETY: a map element.
    unsafe { admit_mac(slots, policy.mac_limit, source, now) }
}

#[inline(always)]
fn storm(skb: &Skb<'_>, policy: &Policy, vid: u16) -> Option<Reason> {
    let [destination, _] = addresses(skb.linear())?;
    if !is_group(destination)
        && (policy.unknown_limit == 0 || forward::knows(policy, vid, destination))
    {
        return None;
    }
    let state = maps::storm(policy.port)?;
    // SAFETY: places in a map element.
    let [broadcast, multicast, unknown] = unsafe {
        [&raw mut (*state).broadcast, &raw mut (*state).multicast, &raw mut (*state).unknown]
    };
    let (due, limit, reason) = if destination == BROADCAST {
        (broadcast, policy.broadcast_limit, Reason::BroadcastStorm)
    } else if is_group(destination) {
        (multicast, policy.multicast_limit, Reason::MulticastStorm)
    } else {
        (unknown, policy.unknown_limit, Reason::UnknownStorm)
    };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: one word of a map element.
    match admit_rate(unsafe { due.read_volatile() }, limit, skb.packets(), now) {
        Some(later) => {
            // SAFETY: one word of a map element.
            unsafe { due.write_volatile(later) };
            None
        }
        None => Some(reason),
    }
}
