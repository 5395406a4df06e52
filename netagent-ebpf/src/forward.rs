//! Past the bridge: known unicast goes straight to the port behind which the bridge has learned its station.
//!
//! By TC the frame enters the other port's egress hook, as it would from the bridge: what that port drops, untags and
//! counts is the same on both ways. Where the port is one end of a veth pair the frame can appear at the other end at once;
//! there, and by XDP, no such hook comes, so the other port's decision is made here.

use aya_ebpf::{
    bindings::{
        BPF_F_MMAPABLE,
        xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT},
    },
    btf_maps::{Array, DevMap, PerCpuArray},
    helpers::generated::{bpf_ktime_get_coarse_ns, bpf_redirect, bpf_redirect_peer},
    macros::btf_map,
    programs::XdpContext,
};
use netagent_common::{
    BUCKETS, MAX_PORTS, NIC_SLOTS,
    counters::{Direction, Reason},
    decide::{Headers, Tagging, Verdict, decide},
    forward::{FdbBucket, FdbEntry, Fresh, PathStats, WAYS, bucket, epoch, who},
    mac::is_group,
    policy::{FAST, FAST_XDP, ISOLATED, PEER, PER_VLAN, Policy, SERVICES, TUNNEL, UPLINK},
    vlan::TPID_C,
};

use crate::{
    maps,
    packet::{self, Skb},
};

/// Where the bridges' stations are: the agent's copy of what they have learned. It writes the map as memory.
#[btf_map]
static FDB: Array<FdbBucket, { BUCKETS as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Whether that may be trusted.
#[btf_map]
static FDB_FRESH: Array<Fresh, 1> = Array::new();

/// Frames that did not go by the bridge, by the port that received them.
#[btf_map]
static FORWARDED: PerCpuArray<PathStats, { MAX_PORTS as usize }> = PerCpuArray::new();

/// Ports that take frames from XDP, by port number.
#[btf_map]
static XDP_PORTS: DevMap<{ MAX_PORTS as usize }> = DevMap::new();

/// NICs whose frames count: uplinks, and of a bond the members in use, as it drops what the others receive. Element `ifindex %
/// NIC_SLOTS`.
#[btf_map]
static XDP_NICS: Array<u32, { NIC_SLOTS as usize }> = Array::new();

/// The port to which a frame in this VLAN goes past the bridge, if that is known. To be asked of every frame that a port
/// receives: it is how the move of a station is noticed.
#[inline(always)]
pub fn port(skb: &Skb<'_>, policy: &Policy, vid: u16) -> Option<&'static Policy> {
    if policy.flags & FAST == 0 || vid == 0 {
        return None;
    }
    let [destination, source] = packet::addresses(skb.linear())?;
    let fresh = FDB_FRESH.get(0)?;
    let (entry, _) = find(fresh, policy, vid, source)?;
    // SAFETY: takes nothing, and gives the time.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    // SAFETY: words of a map element, which have a meaning each; see `FdbEntry`.
    let known = unsafe { (*entry).comes_from(policy.ifindex, epoch(now)) };
    // After the source: a broadcast is how a station tells that it has moved.
    if !known || is_group(destination) || now >= fresh.until {
        return None;
    }
    other_port(fresh, policy, vid, destination)
}

/// Sends a frame, which is as it would be inside the bridge, to another port's egress hook; what to return to TC.
#[inline(always)]
pub fn redirect(skb: &Skb<'_>, policy: &Policy, to: &Policy) -> i32 {
    count(policy.port, |stats| stats.tc += skb.packets());
    // SAFETY: an interface index and no flags.
    unsafe { bpf_redirect(to.ifindex, 0) as i32 }
}

/// Puts a frame, which is as it came in, behind another port at once: what that port's egress hook would do is done here.
/// `None`: it cannot go so, and is as it was.
#[inline(always)]
pub fn into_peer(
    skb: &Skb<'_>,
    policy: &Policy,
    to: &Policy,
    headers: Headers,
    vid: u16,
    tagging: Tagging,
) -> Option<Result<i32, Reason>> {
    // Whatever needs a closer look at the other port has it at its egress hook.
    let plain = to.flags & (PEER | TUNNEL) == PEER
        && policy.flags & (TUNNEL | SERVICES) == 0
        && (policy.flags & UPLINK != 0 || (policy.flags | to.flags) & ISOLATED == 0);
    if !plain || !skb.fits(to.ifindex) {
        return None;
    }
    let (before, after) = across(to, headers, tagging)?;
    let bytes = skb.bytes();
    if let Err(reason) = skb.retag(before, after) {
        return Some(Err(reason));
    }
    let packets = skb.packets();
    maps::count(policy, vid, Direction::Receive, packets, bytes);
    maps::count(to, vid, Direction::Transmit, packets, bytes);
    count(policy.port, |stats| stats.tc += packets);
    skb.is_for_host();
    // SAFETY: an interface index and no flags.
    Some(Ok(unsafe { bpf_redirect_peer(to.ifindex, 0) as i32 }))
}

/// Whether the bridge knows where a frame goes; told without the agent, it does.
#[inline(always)]
pub fn knows(policy: &Policy, vid: u16, destination: u64) -> bool {
    let Some(fresh) = FDB_FRESH.get(0) else { return true };
    // SAFETY: takes nothing, and gives the time.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    now >= fresh.until || find(fresh, policy, vid, destination).is_some()
}

/// The same at XDP. `vid` and `tagging` are what the uplink's policy has decided.
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
    if *XDP_NICS.get(nic & (NIC_SLOTS - 1))? != nic {
        return None;
    }
    let bounds = (ctx.data(), ctx.data_end());
    let [destination, source] = packet::addresses(bounds)?;
    if is_group(destination) {
        return None;
    }
    let fresh = FDB_FRESH.get(0)?;
    let (entry, ifindex) = find(fresh, policy, vid, source)?;
    // SAFETY: takes nothing, and gives the time.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    // A frame that the bridge is to see gets its mark from `tc`, behind us.
    // SAFETY: words of a map element, only read.
    let marks = unsafe { ((*entry).moved, (*entry).epoch) };
    if ifindex != policy.ifindex || marks != (0, epoch(now)) || now >= fresh.until {
        return None;
    }
    let to = other_port(fresh, policy, vid, destination)?;
    if to.flags & (FAST_XDP | TUNNEL) != FAST_XDP || !packet::xdp_fits(ctx, to.ifindex) {
        return None;
    }
    let (before, after) = across(to, headers, tagging)?;
    // Before the frame is changed: one that cannot go there is still whole.
    if XDP_PORTS.redirect(u32::from(to.port), u64::from(XDP_PASS)) != Ok(XDP_REDIRECT) {
        return None;
    }
    let bytes = packet::xdp_untagged_bytes(ctx, before.is_some());
    if packet::xdp_retag(ctx, [destination, source], before, after).is_none() {
        return Some(XDP_DROP);
    }
    maps::count(policy, vid, Direction::Receive, 1, bytes);
    maps::count(to, vid, Direction::Transmit, 1, bytes);
    count(policy.port, |stats| stats.xdp += 1);
    Some(XDP_REDIRECT)
}

/// The C-tag of a frame as it comes in and as it leaves by another port, where `tagging` is what the first port does. `None`: the
/// other port does not let it through, which it counts at its egress hook; or there is another kind of tag.
#[inline(always)]
fn across(to: &Policy, headers: Headers, tagging: Tagging) -> Option<(Option<u16>, Option<u16>)> {
    let before = match headers.tpid {
        0 => None,
        TPID_C => Some(headers.tci),
        _ => return None,
    };
    let inside = retag(before, tagging)?;
    let on_bridge = match inside {
        Some(tci) => Headers { tpid: TPID_C, tci, ..headers },
        None => Headers { tpid: 0, tci: 0, ..headers },
    };
    match decide(to, to.flags & !(TUNNEL | SERVICES), on_bridge, Direction::Transmit) {
        Verdict::Pass(_, tagging) => Some((before, retag(inside, tagging)?)),
        Verdict::Drop(..) => None,
    }
}

/// The C-tag after a change; `None`: what XDP does not do.
#[inline(always)]
#[expect(clippy::option_option, reason = "whether there is a tag, and whether it can be told")]
fn retag(tag: Option<u16>, tagging: Tagging) -> Option<Option<u16>> {
    match tagging {
        Tagging::Keep => Some(tag),
        Tagging::Push(tci) if tag.is_none() => Some(Some(tci)),
        Tagging::Replace(tci) => Some(Some(tci)),
        Tagging::Pop => Some(None),
        Tagging::Push(_) | Tagging::ReplaceByService(_) => None,
    }
}

/// The entry of a station, and the interface index of the port behind which it is.
#[inline(always)]
fn find(fresh: &Fresh, policy: &Policy, vid: u16, mac: u64) -> Option<(*mut FdbEntry, u32)> {
    let vid = if policy.flags & PER_VLAN != 0 { vid } else { 0 };
    let who = who(mac, vid);
    let entries = FDB.get_ptr_mut(bucket(who, fresh.seed))?.cast::<FdbEntry>();
    for way in 0..WAYS {
        // SAFETY: one of the bucket's entries.
        let entry = unsafe { entries.add(way) };
        let words = entry.cast::<u64>();
        // SAFETY: the entry's first word, read at once: the agent may be writing to it just now.
        if unsafe { words.read_volatile() } == who {
            // SAFETY: the second, as the first.
            let at = unsafe { words.add(1).read_volatile() };
            if at as u32 == policy.bridge {
                return Some((entry, (at >> 32) as u32));
            }
        }
    }
    None
}

/// The policy of the port behind which a station is, if that is another one, of this bridge, and takes such frames. An
/// interface index may be that of another device by now; then its policy is not one of this bridge.
#[inline(always)]
fn other_port(
    fresh: &Fresh,
    policy: &Policy,
    vid: u16,
    destination: u64,
) -> Option<&'static Policy> {
    let (entry, ifindex) = find(fresh, policy, vid, destination)?;
    // SAFETY: a word of a map element, only read.
    if unsafe { (*entry).moved } != 0 || ifindex == policy.ifindex {
        return None;
    }
    let to = maps::policy(ifindex)?;
    (to.bridge == policy.bridge && to.ifindex == ifindex && to.flags & FAST != 0).then_some(to)
}

#[inline(always)]
fn count(port: u16, add: impl FnOnce(&mut PathStats)) {
    let Some(stats) = FORWARDED.get_ptr_mut(u32::from(port)) else { return };
    // SAFETY: this CPU's element; see `maps::count`.
    add(unsafe { &mut *stats });
}
