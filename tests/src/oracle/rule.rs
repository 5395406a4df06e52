//! The intended differences between netagent and the kernel's bridge: netagent drops frames that
//! the bridge forwards.
//!
//! Derived from 802.1Q and the README, not from `decide`.

use std::collections::HashMap;

use super::{
    policy::{Admit, Native, Policy, Port, UPLINK},
    sent::{C, Content, S, Sent},
};

/// An intended difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// `admit: untagged-and-priority`: an access port admits no tags, not even of its own VLAN. The
    /// kernel has no acceptable frame types. A VM that may send tags can hide a second tag beneath
    /// (VLAN hopping).
    TagNotAdmitted,
    /// `admit: tagged`: a port admits no untagged frames.
    UntaggedNotAdmitted,
    /// No link-local group passes to or from a VM: a bridge without STP forwards BPDUs, which would
    /// let a VM take part in the spanning tree of the switch.
    LinkLocal,
    /// Devices that skip VID 0 would take the tag beneath a priority tag (VU#855201).
    TagUnderPriorityTag,
    /// Before 6.12 `bpf_skb_vlan_push` cannot push a tag over another (kernel commit 938863727076).
    ServiceTagBefore612,
    /// A second tag would become the outer one when the first is removed (VLAN hopping).
    StackedTag,
    /// XDP takes the inner tag for the outer one if the outer one is hidden in the metadata. A veth
    /// hides tags; a NIC with VLAN offload off does not. XDP may drop too many frames, never too
    /// few.
    HiddenTagAtXdp,
    /// A VLAN-unaware bridge knows an address at one port, in all VLANs, and sends frames to it
    /// only there.
    SharedLearning,
}

/// The conditions of rules besides policy and frame.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// Whether the kernel can push a tag over another (6.12).
    pub stacks_tags: bool,
}

/// The VLAN to which a bridge of C-tags assigns a frame. `None`: the bridge drops the frame.
pub fn vlan(port: &Port, sent: &Sent) -> Option<u16> {
    // No station has such an address. The source of a short frame is its number.
    let nobody = (is_group(sent.source) || sent.source == [0; 6]) && !sent.is_short();
    if matches!(sent.content, Content::Cut(_)) || nobody {
        return None;
    }
    match sent.tags.first() {
        Some((C, tci)) if tci & 0xfff != 0 => {
            Some(tci & 0xfff).filter(|vid| port.vids.contains(vid))
        }
        _ => port.native.vid(),
    }
}

/// The rule that drops a frame on entry.
pub fn on_entry(policy: &Policy, port: &Port, sent: &Sent, around: Around) -> Option<Rule> {
    let outer = sent.tags.first().map(|(tpid, tci)| (*tpid, tci & 0xfff));
    let inner = sent.tags.get(1).map(|(tpid, tci)| (*tpid, tci & 0xfff));
    if is_link_local(sent.destination) {
        // The other end is a VM even if this end is not.
        return Some(Rule::LinkLocal);
    }
    if policy.xdp && sent.from == UPLINK && sent.hidden
        // The kernel moves only these tags out of the bytes.
        && matches!(outer, Some((C | S, _)))
        && let Some((C, vid)) = inner
        && vid != 0 && !port.vids.contains(&vid)
    {
        return Some(Rule::HiddenTagAtXdp);
    }
    match outer {
        Some((C, 1..)) => (port.admit == Admit::Untagged).then_some(Rule::TagNotAdmitted),
        _ if port.admit == Admit::Tagged => Some(Rule::UntaggedNotAdmitted),
        Some((C, 0)) if is_tag(inner) => Some(Rule::TagUnderPriorityTag),
        Some((S, _)) if !around.stacks_tags => Some(Rule::ServiceTagBefore612),
        _ => None,
    }
}

/// The rule that drops a frame of a VLAN on exit.
pub fn on_exit(port: &Port, sent: &Sent, vid: u16) -> Option<Rule> {
    let beneath = match sent.tags {
        [(C, _), beneath @ ..] => beneath,
        // This bridge does not see such a tag: it stays beneath the tag that the bridge adds.
        other => other,
    };
    let untagged = port.native == Native::Untagged(vid);
    (untagged && is_tag(beneath.first().copied())).then_some(Rule::StackedTag)
}

/// The stations of a bridge that has one table for all VLANs.
#[derive(Default)]
pub struct Shared(HashMap<[u8; 6], usize>);

impl Shared {
    /// Learns from a frame that was admitted.
    pub fn learn(&mut self, sent: &Sent) {
        if !sent.is_short() {
            self.0.insert(sent.source, sent.from);
        }
    }

    /// The rule that keeps a frame from leaving by a port.
    pub fn rule(&self, sent: &Sent, port: usize) -> Option<Rule> {
        let known = self.0.get(&sent.destination)?;
        (*known != port).then_some(Rule::SharedLearning)
    }
}

fn is_tag(tag: Option<(u16, u16)>) -> bool {
    matches!(tag, Some((C | S, _)))
}

pub fn is_group(address: [u8; 6]) -> bool {
    address[0] & 1 == 1
}

pub fn is_link_local(address: [u8; 6]) -> bool {
    matches!(address, [0x01, 0x80, 0xc2, 0, 0, 0..16])
}
