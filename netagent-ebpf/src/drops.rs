//! A dropped frame is counted. While `netagent monitor` runs, a sample of it is taken: the window
//! of each port bounds the cost.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    btf_maps::{Array, PerCpuArray, RingBuf},
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::btf_map,
};
use netagent_common::{
    MAX_PORTS,
    counters::add,
    sample::{RING_BYTES, Sample, SampleFilter, Unsampled, WINDOWS, Window, window},
    segments::Frames,
};

use crate::{
    log,
    maps::{self, Drop},
    packet::{Copied, copy_skb, copy_xdp, skb_bytes},
};

/// The samples.
#[btf_map]
static DROP_EVENTS: RingBuf<Sample, { RING_BYTES as usize }> = RingBuf::new();

/// The filter of the monitor.
#[btf_map]
static MONITOR: Array<SampleFilter, 1> = Array::new();

/// The window of each port; the last element is for devices that are not a port.
#[btf_map]
static MONITOR_RATE: Array<Window, { WINDOWS as usize }> = Array::new();

/// Drops without a sample.
#[btf_map]
static MONITOR_MISSED: PerCpuArray<Unsampled, 1> = PerCpuArray::new();

/// Counts a frame that is dropped at a device, and takes a sample of it.
// Not inlined, with few arguments: the code for frames that pass keeps its registers.
#[cold]
#[inline(never)]
pub fn skb(skb: *mut __sk_buff, ifindex: u32, packets: Frames, drop: Drop) {
    log::fault(ifindex, &drop);
    maps::count_drop(drop, packets.count(), skb_bytes(skb));
    let Some(time) = wanted(&drop) else { return };
    take(time, &drop, |to| copy_skb(skb, ifindex, to));
}

/// Counts a frame that XDP drops, with its bytes without the tag, and takes a sample of it.
#[cold]
#[inline(never)]
pub fn xdp(xdp: *mut xdp_md, bytes: u64, drop: Drop) {
    // SAFETY: the verifier checks field reads of the context.
    log::fault(unsafe { (*xdp).ingress_ifindex }, &drop);
    maps::count_drop(drop, 1, bytes);
    let Some(time) = wanted(&drop) else { return };
    take(time, &drop, |to| copy_xdp(xdp, to));
}

/// The time, if a monitor runs, its filter matches the drop, and the port's window has a sample
/// left. The window comes last: drops that the filter does not match do not use it.
#[inline(always)]
fn wanted(drop: &Drop) -> Option<u64> {
    let shared = MONITOR.get_ptr_mut(0)?;
    // SAFETY: a word of a map element.
    let until = unsafe { (&raw const (*shared).until).read_volatile() };
    if until == 0 {
        return None;
    }
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_boot_ns() };
    if time >= until {
        // The monitor is gone: later drops need not read the clock. A monitor that is only late
        // extends the time within a second.
        // SAFETY: a word of a map element.
        unsafe { (&raw mut (*shared).until).write_volatile(0) };
        return None;
    }
    // SAFETY: words of a map element. The monitor changes them before it sets `until` only.
    let filter = unsafe {
        SampleFilter {
            until,
            port: (&raw const (*shared).port).read_volatile(),
            vid: (&raw const (*shared).vid).read_volatile(),
            reason: (&raw const (*shared).reason).read_volatile(),
            limit: (&raw const (*shared).limit).read_volatile(),
        }
    };
    if !filter.wants(drop.port, drop.vid, drop.reason as u16) {
        missed(offset_of!(Unsampled, filtered));
        return None;
    }
    let element = u32::from(drop.port).min(MAX_PORTS);
    let of_port = MONITOR_RATE.get_ptr_mut(element)?;
    // SAFETY: words of a map element, shared between CPUs: a lost update lets a port have one more
    // sample.
    let (number, taken) = unsafe { (&raw mut (*of_port).number, &raw mut (*of_port).taken) };
    // SAFETY: words of a map element.
    let before = unsafe { Window { number: number.read_volatile(), taken: taken.read_volatile() } };
    let Some(after) = before.take(window(time), filter.limit) else {
        missed(offset_of!(Unsampled, limited));
        return None;
    };
    // SAFETY: words of a map element.
    unsafe {
        number.write_volatile(after.number);
        taken.write_volatile(after.taken);
    }
    Some(time)
}

/// Fills a sample in place, in the ring.
#[inline(always)]
fn take(time: u64, drop: &Drop, copy: impl FnOnce(*mut u8) -> Copied) {
    let Some(mut entry) = DROP_EVENTS.reserve(0) else {
        missed(offset_of!(Unsampled, lost));
        return;
    };
    let sample = entry.as_mut_ptr();
    // SAFETY: the entry has the size and alignment of a sample. Only this program has it until it
    // is submitted.
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

/// Counts a drop without a sample; `counter` is the offset of the counter in [`Unsampled`].
#[inline(always)]
fn missed(counter: usize) {
    let Some(missed) = MONITOR_MISSED.get_ptr_mut(0) else { return };
    // SAFETY: a counter of this CPU's element; see `maps::count`.
    unsafe { add(missed.byte_add(counter).cast(), 1) };
}
