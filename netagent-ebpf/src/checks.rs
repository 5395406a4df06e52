//! The checks of a VM's port besides VLANs. Each check is behind its flag: see `FLAGS`.

use core::{
    mem::{offset_of, transmute},
    ops::ControlFlow,
};

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns},
};
use netagent_common::{
    counters::Reason,
    guard::{self, GUARDS},
    limit::{Admission, MAC_SLOTS, MacSlot, StormState, admit_rate},
    mac::is_group,
    policy::{ISOLATED, ISOLATION, MAC_LIMIT, Policy, SILENT, STORM, UPLINK, load},
    segments::Frames,
    silence::{TOLD, is_unprompted},
};

use crate::{
    FLAGS, forward, maps,
    packet::{Skb, addresses, context},
    repeat::{Body, repeat},
};

const BROADCAST: u64 = 0xffff_ffff_ffff;

/// Checks a frame from a VM. Returns the reason to drop it.
#[inline(always)]
pub fn from_vm(
    skb: &Skb<'_>,
    policy: &Policy,
    flags: u32,
    vid: u16,
    packets: Frames,
) -> Option<Reason> {
    let record = policy.record;
    if flags & GUARDS != 0 {
        // SAFETY: the context.
        let refused = unsafe { guards(skb.raw(), flags, u32::from(record)) };
        if refused != 0 {
            // SAFETY: what `guards` returns.
            return Some(unsafe { transmute::<u16, Reason>(refused as u16) });
        }
    }
    if flags & SILENT != 0 && is_silent(skb, policy) {
        return Some(Reason::Silent);
    }
    if flags & MAC_LIMIT != 0 && !may_use_address(skb, policy) {
        return Some(Reason::MacLimit);
    }
    if flags & STORM != 0 { storm(skb, policy, vid, packets) } else { None }
}

/// The reason why a guard refuses a frame; 0: none does.
///
/// # Safety
///
/// The pointer is the context.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn guards(skb: *mut __sk_buff, flags: u32, record: u32) -> u32 {
    const { assert!(Reason::Malformed as u16 != 0) };
    let flags = flags & FLAGS.load();
    if flags & GUARDS == 0 {
        return 0;
    }
    // SAFETY: the context.
    let skb = unsafe { context(skb) };
    match guard::check(flags, &Skb(&skb), maps::Vm { record: record as u16 }) {
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}

/// Whether a frame is unprompted, otherwise 0.
///
/// # Safety
///
/// The pointer is the context.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn unprompted(skb: *mut __sk_buff) -> u32 {
    if FLAGS.load() & SILENT == 0 {
        return 0;
    }
    // SAFETY: the context.
    let skb = unsafe { context(skb) };
    u32::from(is_unprompted(&Skb(&skb)))
}

/// Checks a frame to a VM. Returns the reason to drop it.
#[inline(always)]
pub fn to_vm(
    skb: &Skb<'_>,
    policy: &Policy,
    flags: u32,
    _vid: u16,
    _packets: Frames,
) -> Option<Reason> {
    if flags & ISOLATION == 0 {
        return None;
    }
    // A frame of the node itself has no ingress port.
    let from = maps::policy(skb.origin_ifindex())?;
    let isolated = (from.flags | policy.flags) & ISOLATED != 0;
    (isolated && from.flags & UPLINK == 0).then_some(Reason::Isolated)
}

/// Whether a frame is dropped as the port is silent. The first other frame ends the silence.
#[inline(always)]
fn is_silent(skb: &Skb<'_>, policy: &Policy) -> bool {
    let Some(state) = maps::silence(policy.port) else { return false };
    // SAFETY: the words of a map element, `own` and `told` in one.
    let (mac, over) = unsafe { (state.cast::<u64>(), state.cast::<u64>().add(1)) };
    // SAFETY: as above.
    let over = unsafe { over.read_volatile() };
    if over != 0 && over != u64::from(TOLD) << 32 {
        return false;
    }
    let Some([_, source]) = addresses(skb.linear()) else { return true };
    // SAFETY: as above.
    unsafe { mac.write_volatile(source) };
    // SAFETY: the context.
    if over == 0 && unsafe { unprompted(skb.raw()) } != 0 {
        return true;
    }
    // SAFETY: as above.
    unsafe { (&raw mut (*state).own).write_volatile(1) };
    false
}

#[inline(always)]
fn may_use_address(skb: &Skb<'_>, policy: &Policy) -> bool {
    let Some([_, source]) = addresses(skb.linear()) else { return false };
    let Some(slots) = maps::macs(policy.port) else { return false };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let mut admission = Admission::new(policy, source, now);
    repeat(u32::from(policy.mac_limit), Slots { slots, admission: &raw mut admission });
    // SAFETY: a map element.
    unsafe { admission.admits(slots) }
}

/// The slots of a port, one after the other.
struct Slots {
    slots: *mut [MacSlot; MAC_SLOTS],
    admission: *mut Admission,
}

impl Body for Slots {
    #[inline(always)]
    fn step(&mut self, number: u64) -> ControlFlow<()> {
        let number = number as usize % MAC_SLOTS;
        // SAFETY: one of the slots, and the admission that `may_use_address` has.
        unsafe { (*self.admission).look(number, self.slots.cast::<MacSlot>().add(number)) }
    }
}

#[inline(always)]
fn storm(skb: &Skb<'_>, policy: &Policy, vid: u16, packets: Frames) -> Option<Reason> {
    let [destination, _] = addresses(skb.linear())?;
    if !is_group(destination)
        && (policy.unknown_limit == 0 || forward::knows(policy, vid, destination))
    {
        return None;
    }
    let state = maps::storm(policy.port)?;
    let limits = [&policy.broadcast_limit, &policy.multicast_limit, &policy.unknown_limit];
    let [broadcast, multicast, unknown] = limits.map(load);
    let (place, limit, reason) = if destination == BROADCAST {
        (offset_of!(StormState, broadcast), broadcast, Reason::BroadcastStorm)
    } else if is_group(destination) {
        (offset_of!(StormState, multicast), multicast, Reason::MulticastStorm)
    } else {
        (offset_of!(StormState, unknown), unknown, Reason::UnknownStorm)
    };
    let place = policy.unknown(place);
    if place > size_of::<StormState>() - size_of::<u64>() {
        return None;
    }
    // SAFETY: a field of a map element.
    let due = unsafe { state.byte_add(place).cast::<u64>() };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: one word of a map element.
    match admit_rate(unsafe { due.read_volatile() }, limit, packets.most(), now) {
        Some(later) => {
            // SAFETY: one word of a map element.
            unsafe { due.write_volatile(later) };
            None
        }
        None => Some(reason),
    }
}
