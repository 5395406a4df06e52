//! Past the bridge: known unicast goes straight to the port behind which the bridge has learned its station.
//!
//! By TC the frame enters the other port's egress hook, as it would from the bridge: what that port drops, untags and
//! counts is the same on both ways. Where the port is one end of a veth pair the frame can appear at the other end at once;
//! there, and by XDP, no such hook comes, so the other port's decision is made here.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT},
    btf_maps::{Array, DevMap, HashMap, PerCpuArray},
    helpers::generated::{bpf_ktime_get_coarse_ns, bpf_redirect, bpf_redirect_peer},
    macros::btf_map,
    programs::XdpContext,
};
use netagent_common::{
    MAX_PORTS, MAX_STATIONS, NIC_SLOTS,
    counters::{Direction, Reason},
    decide::{Headers, Tagging, Verdict, decide},
    forward::{Fresh, PathStats, Place, Station, epoch},
    policy::{FAST, FAST_XDP, ISOLATED, PEER, PER_VLAN, Policy, SERVICES, TUNNEL, UPLINK},
    vlan::TPID_C,
};

use crate::{
    maps,
    packet::{self, Skb},
};

/// Where the bridges' stations are: the agent's copy of what they have learned.
#[btf_map]
static FDB: HashMap<Station, Place, { MAX_STATIONS as usize }> = HashMap::new();

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
    let place = FDB.get_ptr_mut(&station(policy, vid, source))?;
    // SAFETY: takes nothing, and gives the time.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    // SAFETY: words of a map element, which have a meaning each; see `Place`.
    let known = unsafe { (*place).comes_from(policy.ifindex, epoch(now)) };
    // After the source: a broadcast is how a station tells that it has moved.
    if !known || destination[0] & 1 != 0 || !is_fresh(now) {
        return None;
    }
    other_port(policy, vid, destination)
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
pub fn knows(policy: &Policy, vid: u16, destination: [u8; 6]) -> bool {
    // SAFETY: takes nothing, and gives the time.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    FDB.get_ptr(&station(policy, vid, destination)).is_some() || !is_fresh(now)
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
    if destination[0] & 1 != 0 {
        return None;
    }
    let place = FDB.get_ptr(&station(policy, vid, source))?;
    // SAFETY: takes nothing, and gives the time.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    // A frame that the bridge is to see gets its mark from `tc`, behind us.
    // SAFETY: words of a map element, only read.
    let known = unsafe { (*place).is(policy.ifindex) && (*place).epoch == epoch(now) };
    if !known || !is_fresh(now) {
        return None;
    }
    let to = other_port(policy, vid, destination)?;
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

#[inline(always)]
fn station(policy: &Policy, vid: u16, mac: [u8; 6]) -> Station {
    let vid = if policy.flags & PER_VLAN != 0 { vid } else { 0 };
    Station { bridge: policy.bridge, vid, mac }
}

#[inline(always)]
fn is_fresh(now: u64) -> bool {
    FDB_FRESH.get(0).is_some_and(|fresh| now < fresh.until)
}

/// The policy of the port behind which a station is, if that is another one, of this bridge, and takes such frames. An
/// interface index may be that of another device by now; then its policy is not one of this bridge.
#[inline(always)]
fn other_port(policy: &Policy, vid: u16, destination: [u8; 6]) -> Option<&'static Policy> {
    let place = FDB.get_ptr(&station(policy, vid, destination))?;
    // SAFETY: words of a map element, only read.
    let (ifindex, moved) = unsafe { ((*place).ifindex, (*place).moved) };
    if moved != 0 || ifindex == policy.ifindex {
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
