//! The fast path: known unicast goes to the port that the bridge has learned for its destination.
//!
//! TC redirects a frame to the egress hook of that port: the port's program drops, untags and
//! counts as it does for frames from the bridge. A redirect to the other end of a veth pair, and a
//! redirect by XDP, skip the egress hook: then the egress port's decision is made here.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::{
        BPF_F_MMAPABLE, TC_ACT_SHOT, TC_ACT_UNSPEC,
        xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT},
    },
    btf_maps::{Array, DevMap, PerCpuArray},
    helpers::generated::{bpf_ktime_get_coarse_ns, bpf_redirect, bpf_redirect_peer},
    macros::btf_map,
    programs::XdpContext,
};
use netagent_common::{
    BUCKETS, MAX_PORTS, NIC_SLOTS,
    counters::{Direction, Reason, add},
    decide::{Headers, Tagging},
    forward::{
        FdbBucket, FdbEntry, Fresh, PathStats, Source, WAYS, bucket, crossing, epoch, is_reachable,
        may_enter_peer, says_who_is_known, source, who,
    },
    mac::is_group,
    policy::{FAST, FAST_XDP, PER_VLAN, Policy, SERVICES, TUNNEL},
    segments::Frames,
};

use crate::{
    drops,
    maps::{self, Drop},
    packet::{self, Skb},
};

/// The agent's mirror of the bridges' FDBs. The agent writes it by mmap.
#[btf_map]
static FDB: Array<FdbBucket, { BUCKETS as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// How long `FDB` may be used.
#[btf_map]
static FDB_FRESH: Array<Fresh, 1> = Array::new();

/// Frames that the fast path forwarded, by ingress port.
#[btf_map]
static FORWARDED: PerCpuArray<PathStats, { MAX_PORTS as usize }> = PerCpuArray::new();

/// Ports that support XDP_REDIRECT, by port number.
#[btf_map]
static XDP_PORTS: DevMap<{ MAX_PORTS as usize }> = DevMap::new();

/// NICs from which XDP may forward: uplinks, and the active members of a bond, because a bond drops
/// the frames of its other members. Element `ifindex % NIC_SLOTS`.
#[btf_map]
static XDP_NICS: Array<u32, { NIC_SLOTS as usize }> = Array::new();

/// The one element of `FDB_FRESH`, which the agent writes at any time.
#[derive(Clone, Copy)]
struct FdbState(*const Fresh);

impl FdbState {
    #[inline(always)]
    fn read() -> Option<Self> {
        FDB_FRESH.get_ptr(0).map(Self)
    }

    #[inline(always)]
    fn until(self) -> u64 {
        // SAFETY: a word of a map element.
        unsafe { (&raw const (*self.0).until).read_volatile() }
    }

    #[inline(always)]
    fn seed(self) -> u64 {
        // SAFETY: a word of a map element.
        unsafe { (&raw const (*self.0).seed).read_volatile() }
    }
}

/// An entry of `FDB`.
#[derive(Clone, Copy)]
struct Found {
    entry: *mut FdbEntry,
    /// Interface index, as it was read together with the bridge.
    ifindex: u32,
}

impl Found {
    #[inline(always)]
    fn moved(self) -> u32 {
        // SAFETY: a word of a map element.
        unsafe { (&raw const (*self.entry).moved).read_volatile() }
    }

    /// What the entry says about a frame of its station.
    #[inline(always)]
    fn source(self, ifindex: u32, epoch: u32) -> Source {
        // SAFETY: the third word of an entry.
        let marks = unsafe { self.entry.cast::<u64>().add(2).read_volatile() };
        source(self.ifindex, marks, ifindex, epoch)
    }

    #[inline(always)]
    fn mark_moved(self) {
        // SAFETY: a word of a map element.
        unsafe { (&raw mut (*self.entry).moved).write_volatile(1) };
    }

    #[inline(always)]
    fn mark_seen(self, epoch: u32) {
        // SAFETY: a word of a map element.
        unsafe { (&raw mut (*self.entry).epoch).write_volatile(epoch) };
    }
}

/// The port by which the bridge would transmit a frame.
#[derive(Clone, Copy)]
pub struct Egress {
    pub port: &'static Policy,
    /// The fast path may forward the frame; otherwise the bridge must.
    pub bypass: bool,
}

/// The egress port of a frame in this VLAN, if it is known. Must be called for every frame that a
/// port receives: it notices that a station moves. For frames that the bridge must forward, the
/// port is looked up only if they may be too long for it.
#[inline(always)]
pub fn egress(skb: &Skb<'_>, policy: &Policy, vid: u16) -> Option<Egress> {
    let fast = policy.flags & FAST != 0;
    if vid == 0 || !fast && !skb.may_be_too_long() {
        return None;
    }
    let [destination, source] = packet::addresses(skb.linear())?;
    let fdb = FdbState::read()?;
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let settled = fast && is_settled(fdb, policy, vid, source, epoch(now));
    if !settled && !skb.may_be_too_long() {
        return None;
    }
    // After the source: a station announces a move by a broadcast.
    if is_group(destination) || now >= fdb.until() {
        return None;
    }
    let port = other_port(fdb, policy, vid, destination)?;
    Some(Egress { port, bypass: settled && port.flags & FAST != 0 })
}

/// Whether the fast path may forward frames of a source; marks its entry if the bridge must receive
/// this one.
#[inline(always)]
fn is_settled(fdb: FdbState, policy: &Policy, vid: u16, source: u64, epoch: u32) -> bool {
    let Some(found) = find(fdb, policy, vid, source) else { return false };
    match found.source(policy.ifindex, epoch) {
        Source::Settled => return true,
        Source::Moving => {}
        Source::Moved => found.mark_moved(),
        Source::Unseen => found.mark_seen(epoch),
    }
    false
}

/// Sends a frame to its egress port: by a redirect to the port's egress hook, or by the bridge. The
/// frame must be tagged as inside the bridge. Returns the TC action.
#[inline(always)]
pub fn send(skb: &Skb<'_>, policy: &Policy, vid: u16, egress: Egress, packets: Frames) -> i32 {
    let to = egress.port;
    if !skb.fits(to.ifindex) {
        // The bridge drops such a frame before the egress hook, and does not count it.
        let (direction, reason) = (Direction::Transmit, Reason::TooLong);
        let drop = Drop { port: to.port, vid, direction, reason };
        drops::skb(skb.raw(), to.ifindex, packets, drop);
        return if egress.bypass { TC_ACT_SHOT } else { TC_ACT_UNSPEC };
    }
    if !egress.bypass {
        return TC_ACT_UNSPEC;
    }
    count(policy.port, offset_of!(PathStats, tc), packets.count());
    // SAFETY: an interface index and no flags.
    unsafe { bpf_redirect(to.ifindex, 0) as i32 }
}

/// Redirects a frame to the other end of a port's veth pair, and does what the port's egress hook
/// would do. The frame must be tagged as it came in. `None`: the frame must pass the egress hook;
/// it is unchanged.
#[inline(always)]
pub fn into_peer(
    skb: &Skb<'_>,
    policy: &Policy,
    to: &Policy,
    headers: Headers,
    vid: u16,
    tagging: Tagging,
    packets: Frames,
) -> Option<Result<i32, Reason>> {
    if !may_enter_peer(policy, to) || !skb.fits(to.ifindex) || !skb.segments_fit(to.ifindex) {
        return None;
    }
    let retag = crossing(to, headers, tagging)?;
    let bytes = skb.bytes();
    if let Err(reason) = skb.retag(retag) {
        return Some(Err(reason));
    }
    let packets = packets.count();
    maps::count(policy, vid, Direction::Receive, packets, bytes);
    maps::count(to, vid, Direction::Transmit, packets, bytes);
    count(policy.port, offset_of!(PathStats, tc), packets);
    skb.is_for_host();
    // SAFETY: an interface index and no flags.
    Some(Ok(unsafe { bpf_redirect_peer(to.ifindex, 0) as i32 }))
}

/// Whether the bridge knows the port of a station. True while the agent does not say.
#[inline(always)]
pub fn knows(policy: &Policy, vid: u16, destination: u64) -> bool {
    let Some(fdb) = FdbState::read() else { return true };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    !says_who_is_known(fdb.until(), now) || find(fdb, policy, vid, destination).is_some()
}

/// Redirects a frame from an uplink to the port of its destination, or returns XDP_PASS. `vid` and
/// `tagging` are the decision of the uplink's policy.
#[inline(always)]
pub fn xdp(ctx: &XdpContext, policy: &Policy, headers: Headers, vid: u16, tagging: Tagging) -> u32 {
    redirect_xdp(ctx, policy, headers, vid, tagging).unwrap_or(XDP_PASS)
}

#[inline(always)]
fn redirect_xdp(
    ctx: &XdpContext,
    policy: &Policy,
    headers: Headers,
    vid: u16,
    tagging: Tagging,
) -> Option<u32> {
    if policy.flags & (FAST | SERVICES) != FAST || vid == 0 {
        return None;
    }
    let nic = ctx.ingress_ifindex() as u32;
    // SAFETY: the element is one word.
    if unsafe { XDP_NICS.get_ptr(nic & (NIC_SLOTS - 1))?.read_volatile() } != nic {
        return None;
    }
    let bounds = (ctx.data(), ctx.data_end());
    let [destination, source] = packet::addresses(bounds)?;
    if is_group(destination) {
        return None;
    }
    let fdb = FdbState::read()?;
    let found = find(fdb, policy, vid, source)?;
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    // The marks are written at TC ingress, which receives every frame that is passed from here.
    if found.source(policy.ifindex, epoch(now)) != Source::Settled || now >= fdb.until() {
        return None;
    }
    let to = other_port(fdb, policy, vid, destination)?;
    if to.flags & (FAST | FAST_XDP | TUNNEL) != FAST | FAST_XDP {
        return None;
    }
    let retag = crossing(to, headers, tagging)?;
    // TC counts a frame that is too long.
    if !packet::xdp_fits(ctx, to.ifindex, retag) {
        return None;
    }
    // Before the frame is changed: XDP_PASS needs the whole frame.
    if XDP_PORTS.redirect(u32::from(to.port), u64::from(XDP_PASS)) != Ok(XDP_REDIRECT) {
        return None;
    }
    let bytes = packet::xdp_untagged_bytes(ctx, retag.before.is_some());
    if packet::xdp_retag(ctx, [destination, source], retag).is_none() {
        let (direction, reason) = (Direction::Receive, Reason::TagFailed);
        drops::xdp(ctx.ctx, bytes, Drop { port: policy.port, vid, direction, reason });
        return Some(XDP_DROP);
    }
    maps::count(policy, vid, Direction::Receive, 1, bytes);
    maps::count(to, vid, Direction::Transmit, 1, bytes);
    count(policy.port, offset_of!(PathStats, xdp), 1);
    Some(XDP_REDIRECT)
}

/// The FDB entry of a station in the bridge of a policy.
#[inline(always)]
fn find(fdb: FdbState, policy: &Policy, vid: u16, mac: u64) -> Option<Found> {
    let vid = if policy.flags & PER_VLAN != 0 { vid } else { 0 };
    let who = who(mac, vid);
    let entries = FDB.get_ptr_mut(bucket(who, fdb.seed()))?.cast::<FdbEntry>();
    for way in 0..WAYS {
        // SAFETY: one of the bucket's entries.
        let entry = unsafe { entries.add(way) };
        let words = entry.cast::<u64>();
        // SAFETY: the first word of the entry.
        if unsafe { words.read_volatile() } == who {
            // SAFETY: the second word of the entry.
            let at = unsafe { words.add(1).read_volatile() };
            if at as u32 == policy.bridge {
                return Some(Found { entry, ifindex: (at >> 32) as u32 });
            }
        }
    }
    None
}

/// The policy of the port of a station, if it is another port than the ingress port, and reachable.
#[inline(always)]
fn other_port(
    fdb: FdbState,
    policy: &Policy,
    vid: u16,
    destination: u64,
) -> Option<&'static Policy> {
    let found = find(fdb, policy, vid, destination)?;
    if found.moved() != 0 || found.ifindex == policy.ifindex {
        return None;
    }
    let to = maps::policy(found.ifindex)?;
    is_reachable(policy, to, found.ifindex).then_some(to)
}

/// Counts frames that the fast path forwards; `path` is the offset of the counter in [`PathStats`].
#[inline(always)]
fn count(port: u16, path: usize, packets: u64) {
    let Some(stats) = FORWARDED.get_ptr_mut(u32::from(port)) else { return };
    // SAFETY: a counter of this CPU's element; see `maps::count`.
    unsafe { add(stats.byte_add(path).cast(), packets) };
}
