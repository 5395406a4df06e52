//! Where netagent differs from the kernel's bridge on purpose: always by dropping what the bridge
//! lets through.
//!
//! Written by the words of 802.1Q and of the README, not by looking at `decide`.

use std::collections::HashMap;

use super::{
    policy::{Admit, Native, Policy, Port, UPLINK},
    sent::{C, Content, S, Sent},
};

/// A purposeful difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// `admit: untagged-and-priority`: an access port takes no tags, not even its own VLAN's. The
    /// kernel has no acceptable frame types; a VM that may tag can hide a second tag beneath (VLAN
    /// hopping).
    TagNotAdmitted,
    /// `admit: tagged`: likewise the other way about.
    UntaggedNotAdmitted,
    /// No link-local group passes to or from a VM: a bridge without STP forwards BPDUs, and with
    /// them a VM could reach the switch's spanning tree.
    LinkLocal,
    /// A tag beneath a priority tag would slip through wherever VID 0 is skipped (VU#855201).
    TagUnderPriorityTag,
    /// Before 6.12 `bpf_skb_vlan_push` cannot push a tag over another (kernel commit 938863727076).
    ServiceTagBefore612,
    /// A second tag would come to light as the first is removed (VLAN hopping).
    StackedTag,
    /// XDP takes the inner tag for the outer one where the outer one hides in the metadata, which
    /// no NIC does with VLAN offload off, but a veth does. It may drop too much, never too little.
    HiddenTagAtXdp,
    /// A VLAN-unaware bridge knows an address in one place, whatever the VLAN: a frame to it goes
    /// only there.
    SharedLearning,
}

/// What the rules depend on besides policy and frame.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// Whether the kernel can push a tag over another (6.12).
    pub stacks_tags: bool,
}

/// The VLAN to which a bridge of C-tags assigns a frame; `None`: it is dropped.
pub fn vlan(port: &Port, sent: &Sent) -> Option<u16> {
    // No station has such an address. A short frame has its number for an address.
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

/// The rule that stops a frame as it comes in.
pub fn on_entry(policy: &Policy, port: &Port, sent: &Sent, around: Around) -> Option<Rule> {
    let outer = sent.tags.first().map(|(tpid, tci)| (*tpid, tci & 0xfff));
    let inner = sent.tags.get(1).map(|(tpid, tci)| (*tpid, tci & 0xfff));
    if is_link_local(sent.destination) {
        // The other end is a VM even if this one is not.
        return Some(Rule::LinkLocal);
    }
    if policy.xdp && sent.from == UPLINK && sent.hidden
        // Only these tags are taken out of the bytes.
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

/// The rule that stops a frame of a VLAN as it goes out.
pub fn on_exit(port: &Port, sent: &Sent, vid: u16) -> Option<Rule> {
    let beneath = match sent.tags {
        [(C, _), beneath @ ..] => beneath,
        // Not a tag to this bridge: beneath the one that it adds.
        other => other,
    };
    let untagged = port.native == Native::Untagged(vid);
    (untagged && is_tag(beneath.first().copied())).then_some(Rule::StackedTag)
}

/// Where a bridge that has one table for all VLANs knows the stations.
#[derive(Default)]
pub struct Shared(HashMap<[u8; 6], usize>);

impl Shared {
    /// A frame came in and was let in.
    pub fn learn(&mut self, sent: &Sent) {
        if !sent.is_short() {
            self.0.insert(sent.source, sent.from);
        }
    }

    /// The rule that stops a frame from going out of a port.
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
