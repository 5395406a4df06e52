//! What becomes of a dropped frame: it is counted, and while `netagent monitor` reads, a sample of it is taken. What a VM
//! can make that cost is bounded by its port's window.

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    btf_maps::{Array, PerCpuArray, RingBuf},
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::btf_map,
};
use netagent_common::{
    MAX_PORTS,
    sample::{RING_BYTES, Sample, SampleFilter, Unsampled, WINDOWS, Window, window},
};

use crate::{
    maps::{self, Drop},
    packet::{Copied, copy_skb, copy_xdp, skb_bytes, xdp_bytes},
};

/// The samples.
#[btf_map]
static DROP_EVENTS: RingBuf<Sample, { RING_BYTES as usize }> = RingBuf::new();

/// What the monitor wants.
#[btf_map]
static MONITOR: Array<SampleFilter, 1> = Array::new();

/// How many samples each port has had of late; the last element is for what is no port of ours.
#[btf_map]
static MONITOR_RATE: Array<Window, { WINDOWS as usize }> = Array::new();

/// Drops without a sample.
#[btf_map]
static MONITOR_MISSED: PerCpuArray<Unsampled, 1> = PerCpuArray::new();

/// Counts a frame that is dropped, and takes a sample of it.
// Not inlined, and one call with no more than what the caller has at hand: the registers of those that pass stay theirs.
#[cold]
#[inline(never)]
pub fn skb(skb: *mut __sk_buff, drop: Drop) {
    maps::count_drop(drop, skb_bytes(skb));
    let Some(time) = wanted(&drop) else { return };
    take(time, &drop, |to| copy_skb(skb, to));
}

/// The same at XDP.
#[cold]
#[inline(never)]
pub fn xdp(xdp: *mut xdp_md, drop: Drop) {
    maps::count_drop(drop, xdp_bytes(xdp));
    let Some(time) = wanted(&drop) else { return };
    take(time, &drop, |to| copy_xdp(xdp, to));
}

/// The time, if somebody reads, wants this drop, and has not had enough of the port. The port's window comes last:
/// what nobody asked for does not use it up.
#[inline(always)]
fn wanted(drop: &Drop) -> Option<u64> {
    let place = MONITOR.get_ptr_mut(0)?;
    // SAFETY: words that the monitor replaces; what it wants stays the same as long as it runs.
    let filter = unsafe { *place };
    let until = filter.until;
    if until == 0 {
        return None;
    }
    // SAFETY: takes nothing, and gives the time.
    let time = unsafe { bpf_ktime_get_boot_ns() };
    if time >= until {
        // The monitor is gone, and the clock need not be asked again. One that was only late says so within a second.
        // SAFETY: one aligned word.
        unsafe { (*place).until = 0 };
        return None;
    }
    if !filter.wants(drop.port, drop.vid, drop.reason as u16) {
        missed(|missed| missed.filtered += 1);
        return None;
    }
    let element = u32::from(drop.port).min(MAX_PORTS);
    let of_port = MONITOR_RATE.get_ptr_mut(element)?;
    // SAFETY: two words of a map element, shared between CPUs: a lost update lets a port have a sample more.
    if !unsafe { (*of_port).take(window(time), filter.limit) } {
        missed(|missed| missed.limited += 1);
        return None;
    }
    Some(time)
}

/// Fills a sample in place, in the ring.
#[inline(always)]
fn take(time: u64, drop: &Drop, copy: impl FnOnce(*mut u8) -> Copied) {
    let Some(mut entry) = DROP_EVENTS.reserve(0) else {
        missed(|missed| missed.lost += 1);
        return;
    };
    let sample = entry.as_mut_ptr();
    // SAFETY: within the entry, which is aligned for it and this program's alone until it is submitted.
    unsafe {
        let copied = copy((&raw mut (*sample).bytes).cast());
        (*sample).time = time;
        (*sample).ifindex = copied.ifindex;
        (*sample).length = copied.length;
        (*sample).captured = copied.captured;
        (*sample).port = drop.port;
        (*sample).vid = drop.vid;
        (*sample).direction = drop.direction as u16;
        (*sample).reason = drop.reason as u16;
        (*sample).tpid = copied.tpid;
        (*sample).tci = copied.tci;
    }
    entry.submit(0);
}

#[inline(always)]
fn missed(add: impl FnOnce(&mut Unsampled)) {
    let Some(missed) = MONITOR_MISSED.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's element; see `maps::count`.
    add(unsafe { &mut *missed });
}
