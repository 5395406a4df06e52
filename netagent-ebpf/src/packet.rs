//! Reads the headers of a frame and changes its tag. All unsafe access to packets is here.

use core::{num::NonZeroU32, ptr::NonNull};

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::{__sk_buff, xdp_md},
    helpers::generated::{
        bpf_check_mtu, bpf_skb_change_type, bpf_skb_load_bytes, bpf_skb_vlan_pop,
        bpf_skb_vlan_push, bpf_xdp_adjust_head, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
    programs::{TcContext, XdpContext},
};
use netagent_common::{
    counters::{Direction, Reason},
    decide::{Headers, Tagging},
    forward::Retag,
    guard::Bytes as _,
    mac::is_link_local,
    policy::TUNNEL,
    sample::CAPTURE,
    segments::{Frames, longest_segment, segments},
    vlan::{TPID_C, TPID_S, is_tpid},
};

/// Length of an Ethernet header.
const ETHERNET: usize = 14;
/// Length of a tag.
const TAG_LENGTH: usize = 4;
/// Length of a tag as a difference of lengths.
const TAG_DIFFERENCE: i32 = 4;
/// The longest frame that fits every device: the smallest MTU (ETH_MIN_MTU), an Ethernet header, a
/// tag.
const ALWAYS_FITS: u64 = (68 + ETHERNET + TAG_LENGTH) as u64;
/// Bytes of a frame above the MTU of the device.
const ABOVE_MTU: u64 = (ETHERNET + TAG_LENGTH) as u64;
/// `gso_size` of a frame whose segments have any length, those of its fragments (GSO_BY_FRAGS):
/// SCTP, by sockets of this node. The kernel takes none of a guest.
const BY_FRAGS: u32 = 0xffff;
/// The kernel allows a frame one tag above MTU and Ethernet header, whether it has a tag or not
/// (VLAN_HLEN in `__is_skb_forwardable` and `xdp_ok_fwd_dev`).
const TAG_ALLOWANCE: i32 = TAG_DIFFERENCE;
/// The verifier follows offsets into a frame up to here (MAX_PACKET_OFF).
const MAX_OFFSET: u64 = 0xffff;
/// Result of `bpf_check_mtu` for a frame that is too long (BPF_MTU_CHK_RET_FRAG_NEEDED).
const FRAG_NEEDED: i64 = 1;

/// Whether the kernel can push a tag over a tag in the metadata. Before 6.12 (commit 938863727076)
/// that left `mac_len` four bytes too long after TC ingress, and the kernel cut four bytes out of
/// the frame.
#[unsafe(no_mangle)]
static CAN_STACK_TAGS: Global<u8> = Global::new(0);

/// A frame that is an skb.
pub struct Skb<'a>(pub &'a TcContext);

impl Skb<'_> {
    /// The context of the program.
    pub fn raw(&self) -> *mut __sk_buff {
        self.0.as_ptr().cast()
    }

    /// The device on whose hook the program runs.
    pub fn ifindex(&self) -> u32 {
        // SAFETY: the verifier checks field reads of the context.
        unsafe { (*self.raw()).ifindex }
    }

    /// The device by which the frame came into the node; 0: the node itself has sent it.
    pub fn origin_ifindex(&self) -> u32 {
        // SAFETY: the verifier checks field reads of the context.
        unsafe { (*self.raw()).ingress_ifindex }
    }

    /// Number of frames: the segments of a GSO frame, otherwise one.
    #[inline(always)]
    pub fn packets(&self) -> Frames {
        // SAFETY: the context.
        Frames::from_word(unsafe { count_frames(self.raw()) })
    }

    /// Bytes, with the Ethernet header, without the tag in the metadata.
    pub fn bytes(&self) -> u64 {
        u64::from(self.0.len())
    }

    /// Start and end of the linear part.
    #[inline(always)]
    pub fn linear(&self) -> (usize, usize) {
        (self.0.data(), self.0.data_end())
    }

    /// The headers. The kernel moves the outer tag into the metadata before TC ingress
    /// (`skb_vlan_untag`), and the bridge keeps its tag there: on transmit a tag in the bytes is an
    /// inner tag, unless the node itself has made the frame (a packet socket). `flags` as in
    /// [`netagent_common::decide::decide`].
    #[inline(always)]
    pub fn headers(&self, flags: u32, direction: Direction) -> Result<Headers, Reason> {
        if self.0.data() + ETHERNET > self.0.data_end() {
            // The linear part is shorter than the header. The pointers are read and checked again
            // below.
            self.0.pull_data(ETHERNET as u32).map_err(|_| Reason::Malformed)?;
        }
        let (start, end) = self.linear();
        let (link_local, ethertype) = ethernet(start, end)?;
        // SAFETY: the verifier checks field reads of the context.
        let (present, tci, proto) = unsafe {
            let skb = &*self.raw();
            (skb.vlan_present, skb.vlan_tci, skb.vlan_proto)
        };
        let mut headers = Headers { tpid: 0, tci: 0, ethertype, inner_tci: 0, link_local };
        if present != 0 {
            headers.tpid = u16::from_be(proto as u16);
            headers.tci = tci as u16;
        } else if is_tpid(ethertype)
            && (matches!(direction, Direction::Receive) || self.origin_ifindex() == 0)
        {
            return tag_in_bytes(start, end, ethertype, link_local);
        }
        if flags & TUNNEL != 0 && is_tpid(ethertype) {
            headers.inner_tci = u16::from_be_bytes(self.read(ETHERNET).ok_or(Reason::Malformed)?);
        }
        Ok(headers)
    }

    /// Changes the outer tag, in the metadata if possible: then the bytes do not move.
    #[inline(always)]
    pub fn tag(&self, tagging: Tagging) -> Result<(), Reason> {
        match tagging {
            Tagging::Keep => Ok(()),
            Tagging::Push(tci) => self.push(TPID_C, tci),
            Tagging::Replace(tci) => {
                self.pop()?;
                self.push(TPID_C, tci)
            }
            Tagging::ReplaceByService(tci) => {
                self.pop()?;
                self.push(TPID_S, tci)
            }
            Tagging::Pop => self.pop(),
        }
    }

    /// Changes the C-tag in the metadata.
    #[inline(always)]
    pub fn retag(&self, Retag { before, after }: Retag) -> Result<(), Reason> {
        if before == after {
            return Ok(());
        }
        if before.is_some() {
            self.pop()?;
        }
        match after {
            Some(tci) => self.push(TPID_C, tci),
            None => Ok(()),
        }
    }

    /// Whether the frame is longer than the smallest MTU allows.
    #[inline(always)]
    pub fn may_be_too_long(&self) -> bool {
        self.bytes() > ALWAYS_FITS
    }

    /// Whether the bridge would transmit the frame by a device (`is_skb_forwardable`): it is a GSO
    /// frame, or its length without the tag in the metadata is at most MTU + Ethernet header + tag.
    #[inline(always)]
    pub fn fits(&self, ifindex: u32) -> bool {
        if !self.may_be_too_long() {
            return true;
        }
        let (skb, mut mtu) = (self.raw().cast(), 0);
        // SAFETY: the context, and a variable of this function.
        unsafe { bpf_check_mtu(skb, ifindex, &raw mut mtu, -TAG_ALLOWANCE, 0) != FRAG_NEEDED }
    }

    /// Whether each segment of a GSO frame would fit a device as a frame. The bridge does not ask.
    #[inline(always)]
    pub fn segments_fit(&self, ifindex: u32) -> bool {
        // SAFETY: the verifier checks field reads of the context.
        let size = unsafe { (*self.raw()).gso_size };
        if size == 0 || size == BY_FRAGS {
            return true;
        }
        let (skb, mut mtu) = (self.raw().cast(), 0);
        // For a GSO frame the result says nothing. The helper writes the MTU in any case, unless
        // there is no such device.
        // SAFETY: the context, and a variable of this function.
        let found = unsafe { bpf_check_mtu(skb, ifindex, &raw mut mtu, 0, 0) } >= 0;
        // SAFETY: the context.
        !found || unsafe { measure_segment(self.raw()) } <= u64::from(mtu) + ABOVE_MTU
    }

    /// Marks the frame as addressed to the receiving host. The device that received the frame has
    /// another address and marked it as addressed to another host.
    #[inline(always)]
    pub fn is_for_host(&self) {
        const PACKET_HOST: u32 = 0;
        // SAFETY: the context.
        unsafe { bpf_skb_change_type(self.raw(), PACKET_HOST) };
    }

    #[inline(always)]
    fn push(&self, tpid: u16, tci: u16) -> Result<(), Reason> {
        // SAFETY: the verifier checks field reads of the context.
        if CAN_STACK_TAGS.load() == 0 && unsafe { (*self.raw()).vlan_present } != 0 {
            return Err(Reason::StackedTag);
        }
        // SAFETY: the context.
        let result = unsafe { bpf_skb_vlan_push(self.raw(), tpid.to_be(), tci) };
        if result == 0 { Ok(()) } else { Err(Reason::TagFailed) }
    }

    #[inline(always)]
    fn pop(&self) -> Result<(), Reason> {
        // SAFETY: the context.
        let result = unsafe { bpf_skb_vlan_pop(self.raw()) };
        if result == 0 { Ok(()) } else { Err(Reason::TagFailed) }
    }
}

/// The headers of a frame at XDP, from its bytes. A tag that the NIC has moved into the metadata is
/// invisible.
#[inline(always)]
pub fn xdp_headers(ctx: &XdpContext) -> Result<Headers, Reason> {
    let (start, end) = (ctx.data(), ctx.data_end());
    let (link_local, ethertype) = ethernet(start, end)?;
    if is_tpid(ethertype) {
        tag_in_bytes(start, end, ethertype, link_local)
    } else {
        Ok(Headers { tpid: 0, tci: 0, ethertype, inner_tci: 0, link_local })
    }
}

/// Destination and source address, as numbers, if they are within these bounds of a packet.
#[inline(always)]
pub fn addresses((start, end): (usize, usize)) -> Option<[u64; 2]> {
    // The last word first: one check of the bounds.
    let rest = word::<u32>(start, end, 8).ok()?;
    let first = word::<u16>(start, end, 6).ok()?;
    Some([destination(start, end).ok()?, u64::from(first) | u64::from(rest) << 16])
}

#[inline(always)]
fn destination(start: usize, end: usize) -> Result<u64, Reason> {
    const { assert!(cfg!(target_endian = "little"), "the first byte of a word is its lowest") };
    let rest = word::<u16>(start, end, 4)?;
    Ok(u64::from(word::<u32>(start, end, 0)?) | u64::from(rest) << 32)
}

/// Whether the frame is link-local, and its Ethertype.
#[inline(always)]
fn ethernet(start: usize, end: usize) -> Result<(bool, u16), Reason> {
    // The last word first: one check of the bounds.
    let ethertype = u16::from_be(word(start, end, 12)?);
    Ok((is_link_local(destination(start, end)?), ethertype))
}

#[inline(always)]
fn tag_in_bytes(start: usize, end: usize, tpid: u16, link_local: bool) -> Result<Headers, Reason> {
    let ethertype = u16::from_be(word(start, end, ETHERNET + 2)?);
    let tci = u16::from_be(word(start, end, ETHERNET)?);
    Ok(Headers { tpid, tci, ethertype, inner_tci: 0, link_local })
}

/// A word at an offset that is a multiple of its size, or `Malformed` if the linear part of the
/// frame ends before it. One load: the machine (x86-64, arm64) reads words at any address, or the
/// verifier refuses the program.
#[inline(always)]
fn word<T: Copy>(start: usize, end: usize, offset: usize) -> Result<T, Reason> {
    if start + offset + size_of::<T>() > end {
        return Err(Reason::Malformed);
    }
    // SAFETY: within the packet, as just checked; aligned as the machine requires.
    Ok(unsafe { *((start + offset) as *const T) })
}

/// The argument of a global function. The verifier follows that once, and knows nothing of what it
/// returns: without CAP_PERFMON it gives up if it knows many numbers (`explore_alu_limits`).
#[inline(always)]
pub unsafe fn context(skb: *mut __sk_buff) -> TcContext {
    // SAFETY: a context. The verifier refuses a comparison with 0.
    TcContext::new(unsafe { NonNull::new_unchecked(skb) })
}

/// [`Skb::packets`], as a global function.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn count_frames(skb: *mut __sk_buff) -> u64 {
    // SAFETY: the verifier checks field reads of the context.
    let (size, counted, length) = unsafe { ((*skb).gso_size, (*skb).gso_segs, (*skb).len) };
    let frames = match NonZeroU32::new(size) {
        None => Frames::ONE,
        // The kernel counts modulo 65,536: that a short frame does not reach.
        Some(_) if counted != 0 && u16::try_from(length).is_ok() => Frames::counted(counted),
        // SAFETY: as above.
        Some(size) => segments(&Skb(&unsafe { context(skb) }), size),
    };
    frames.word()
}

/// The length of a GSO frame's longest segment, as a global function.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn measure_segment(skb: *mut __sk_buff) -> u64 {
    // SAFETY: the verifier checks field reads of the context.
    let size = unsafe { (*skb).gso_size };
    // SAFETY: the context.
    longest_segment(&Skb(&unsafe { context(skb) }), size)
}

/// Bytes of a frame for the counters.
#[inline(always)]
pub fn skb_bytes(skb: *mut __sk_buff) -> u64 {
    // SAFETY: the verifier checks field reads of the context.
    u64::from(unsafe { (*skb).len })
}

/// Whether XDP can transmit a frame by a device after a change of its tag. The frame must be in one
/// buffer, because not every device supports several (NETDEV_XDP_ACT_NDO_XMIT_SG). Its length with
/// the tag must be at most MTU + Ethernet header + tag (`xdp_ok_fwd_dev`).
#[inline(always)]
pub fn xdp_fits(ctx: &XdpContext, ifindex: u32, retag: Retag) -> bool {
    let tag = |tci: Option<u16>| if tci.is_some() { TAG_DIFFERENCE } else { 0 };
    let growth = tag(retag.after) - tag(retag.before) - TAG_ALLOWANCE;
    let mut mtu = 0;
    // SAFETY: the context, and a variable of this function.
    unsafe {
        let bytes = bpf_xdp_get_buff_len(ctx.ctx);
        // A difference of the pointers needs CAP_PERFMON. The bound is for the verifier.
        bytes <= MAX_OFFSET
            && ctx.data() + bytes as usize <= ctx.data_end()
            && (bytes <= ALWAYS_FITS - TAG_LENGTH as u64
                || bpf_check_mtu(ctx.ctx.cast(), ifindex, &raw mut mtu, growth, 0) == 0)
    }
}

/// Bytes of a whole frame at XDP without the outer tag: TC counts them so, with the tag in the
/// metadata.
#[inline(always)]
pub fn xdp_untagged_bytes(ctx: &XdpContext, tagged: bool) -> u64 {
    // SAFETY: the context.
    let bytes = unsafe { bpf_xdp_get_buff_len(ctx.ctx) };
    if tagged { bytes - TAG_LENGTH as u64 } else { bytes }
}

/// Changes the C-tag of a frame at XDP; `None`: the change failed, and the frame must be dropped.
#[inline(always)]
pub fn xdp_retag(
    ctx: &XdpContext,
    [destination, source]: [u64; 2],
    Retag { before, after }: Retag,
) -> Option<()> {
    let moved = match (before, after) {
        (None, None) => return Some(()),
        (Some(before), Some(after)) if before == after => return Some(()),
        (Some(_), Some(_)) => 0,
        (Some(_), None) => TAG_DIFFERENCE,
        (None, Some(_)) => -TAG_DIFFERENCE,
    };
    if moved != 0 {
        // SAFETY: the context.
        if unsafe { bpf_xdp_adjust_head(ctx.ctx, moved) } != 0 {
            return None;
        }
        let middle = (destination >> 32) as u32 | (source as u32) << 16;
        write(ctx, 0, [destination as u32, middle, (source >> 16) as u32])?;
    }
    let Some(tci) = after else { return Some(()) };
    write(ctx, 12, [TPID_C.to_be(), tci.to_be()])
}

#[inline(always)]
fn write<T: Copy>(ctx: &XdpContext, offset: usize, words: T) -> Option<()> {
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + offset + size_of::<T>() > end {
        return None;
    }
    // SAFETY: within the packet, as just checked; aligned as the machine requires.
    unsafe { *((start + offset) as *mut T) = words };
    Some(())
}

/// Fields of a sample that depend on the hook.
pub struct Copied {
    pub ifindex: u32,
    pub length: u32,
    pub captured: u32,
    pub tpid: u16,
    pub tci: u16,
}

/// Copies the beginning of a frame, which is dropped at a device, to `CAPTURE` bytes.
#[inline(always)]
pub fn copy_skb(skb: *mut __sk_buff, ifindex: u32, to: *mut u8) -> Copied {
    // SAFETY: the verifier checks field reads of the context, and that the copy stays within the
    // buffer.
    unsafe {
        let length = (*skb).len;
        let captured = capture(length);
        let failed = bpf_skb_load_bytes(skb.cast(), 0, to.cast(), captured);
        let (tpid, tci) = match (*skb).vlan_present {
            0 => (0, 0),
            _ => (u16::from_be((*skb).vlan_proto as u16), (*skb).vlan_tci as u16),
        };
        let captured = if failed == 0 { captured } else { 0 };
        Copied { ifindex, length, captured, tpid, tci }
    }
}

/// Copies the beginning of a frame at XDP. Its tags are in the bytes.
#[inline(always)]
pub fn copy_xdp(xdp: *mut xdp_md, to: *mut u8) -> Copied {
    // SAFETY: the verifier checks the context, and that the copy stays within the buffer.
    unsafe {
        let length = bpf_xdp_get_buff_len(xdp) as u32;
        let captured = capture(length);
        let failed = bpf_xdp_load_bytes(xdp, 0, to.cast(), captured);
        let captured = if failed == 0 { captured } else { 0 };
        Copied { ifindex: (*xdp).ingress_ifindex, length, captured, tpid: 0, tci: 0 }
    }
}

/// Number of bytes to copy, from 1 to `CAPTURE`, in a form from which the verifier of 6.1 learns
/// both bounds: it learns nothing from a comparison with 0. For an empty frame the helpers refuse
/// the number.
#[inline(always)]
fn capture(length: u32) -> u32 {
    const { assert!(CAPTURE.is_power_of_two()) };
    let most = CAPTURE as u32;
    (length.min(most).wrapping_sub(1) & (most - 1)) + 1
}
