//! The decision that every program makes about a frame, as a pure function.

use crate::{
    counters::{Direction, Reason},
    policy::{
        ADMIT_TAGGED, ADMIT_UNTAGGED, LINK_LOCAL_BYPASS, PRIORITY_ALWAYS, PRIORITY_IF_NONZERO,
        PVID_TAGGED, Policy, SERVICES, TUNNEL,
    },
    vlan::{PRIORITY_VID, RESERVED_VID, TPID_C, TPID_S, VID_MASK, is_tpid},
};

/// The headers of a frame that the decision uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// TPID of the outer tag, in the bytes or in the skb metadata; 0 if there is no tag.
    pub tpid: u16,
    /// TCI of the outer tag (PCP, DEI, VID); 0 if there is no tag.
    pub tci: u16,
    /// The Ethertype after the outer tag.
    pub ethertype: u16,
    /// TCI of the tag after the outer one, if the Ethertype announces one; read for QinQ ports
    /// only.
    pub inner_tci: u16,
    /// Destination is 01:80:C2:00:00:00 to 0F.
    pub link_local: bool,
}

/// The change of the tag of a frame that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagging {
    /// Leave the frame as it is.
    Keep,
    /// Add a C-tag with this TCI.
    Push(u16),
    /// Replace the outer tag by a C-tag with this TCI.
    Replace(u16),
    /// Replace the outer tag by an S-tag with this TCI.
    ReplaceByService(u16),
    /// Remove the outer tag.
    Pop,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The frame belongs to this VLAN (0: to none, a link-local frame); its tag is changed.
    Pass(u16, Tagging),
    /// The frame is dropped; the VID of its tag or of the port, 0 if there is none.
    Drop(u16, Reason),
}

/// Decides about a frame at a port: the table in README.md, as code. Receive is towards the bridge,
/// transmit is away from it. `flags` are the flags of the policy, without the optional flags that
/// the program has no code for.
#[inline(always)]
pub fn decide(policy: &Policy, flags: u32, headers: Headers, direction: Direction) -> Verdict {
    if headers.link_local {
        return if flags & LINK_LOCAL_BYPASS != 0 {
            Verdict::Pass(0, Tagging::Keep)
        } else {
            Verdict::Drop(headers.tci & VID_MASK, Reason::LinkLocal)
        };
    }
    match (direction, flags & TUNNEL != 0) {
        (Direction::Receive, false) => receive(policy, flags, headers),
        (Direction::Transmit, false) => transmit(policy, flags, headers),
        (Direction::Receive, true) => into_tunnel(policy, flags, headers),
        (Direction::Transmit, true) => out_of_tunnel(policy, headers),
    }
}

#[inline(always)]
fn receive(policy: &Policy, flags: u32, headers: Headers) -> Verdict {
    let vid = headers.tci & VID_MASK;
    let priority = headers.tci & !VID_MASK;
    // Inside the bridge a service VLAN is an ordinary VLAN. Only on the wire its tag is an S-tag.
    if flags & SERVICES != 0 && headers.tpid != 0 {
        let service = policy.is_service(vid) && policy.allows(vid);
        match headers.tpid {
            TPID_S if service => return Verdict::Pass(vid, Tagging::Replace(headers.tci)),
            TPID_S => return Verdict::Drop(vid, Reason::VlanNotAllowed),
            _ if service => return Verdict::Drop(vid, Reason::VlanNotAllowed),
            _ => {}
        }
    }
    // An 802.1Q bridge ignores a tag of another type: the frame counts as untagged.
    if headers.tpid != TPID_C || vid == PRIORITY_VID {
        if policy.pvid == 0 || flags & ADMIT_UNTAGGED == 0 {
            return Verdict::Drop(0, Reason::Untagged);
        }
        let inside = policy.pvid == policy.bridge_pvid;
        if headers.tpid != TPID_C {
            let tagging = if inside { Tagging::Keep } else { Tagging::Push(policy.pvid) };
            return Verdict::Pass(policy.pvid, tagging);
        }
        // A tag beneath a priority tag would bypass every filter that skips VID 0 (VU#855201).
        if is_tpid(headers.ethertype) {
            return Verdict::Drop(policy.pvid, Reason::StackedTag);
        }
        let tagging = if inside { Tagging::Keep } else { Tagging::Replace(priority | policy.pvid) };
        return Verdict::Pass(policy.pvid, tagging);
    }
    if vid == RESERVED_VID {
        return Verdict::Drop(vid, Reason::ReservedVid);
    }
    if !policy.allows(vid) {
        return Verdict::Drop(vid, Reason::VlanNotAllowed);
    }
    if flags & ADMIT_TAGGED == 0 {
        return Verdict::Drop(vid, Reason::TaggedOnAccess);
    }
    // Inside the bridge this VLAN is untagged. A priority tag keeps PCP and DEI.
    let tagging = if vid == policy.bridge_pvid {
        Tagging::Replace(priority | PRIORITY_VID)
    } else {
        Tagging::Keep
    };
    Verdict::Pass(vid, tagging)
}

#[inline(always)]
fn transmit(policy: &Policy, flags: u32, headers: Headers) -> Verdict {
    let tagged = headers.tpid == TPID_C;
    let priority = headers.tci & !VID_MASK;
    let vid = vid_on_bridge(policy, headers);
    if vid == 0 || !policy.allows(vid) {
        return Verdict::Drop(vid, Reason::EgressFiltered);
    }
    let untag = vid == policy.pvid && flags & PVID_TAGGED == 0;
    // Untagging would expose a second tag. A tag in the bytes without a tag in the metadata is a
    // second tag, too: the bridge keeps its own tag in the metadata. A priority tag does not
    // identify a VLAN.
    let exposed = is_tpid(headers.ethertype) || (headers.tpid != 0 && !tagged);
    if untag && exposed {
        return Verdict::Drop(vid, Reason::StackedTag);
    }
    let priority_tag =
        flags & PRIORITY_ALWAYS != 0 || flags & PRIORITY_IF_NONZERO != 0 && tagged && priority != 0;
    let tagging = match (tagged, untag) {
        (true, true) if priority_tag => Tagging::Replace(priority | PRIORITY_VID),
        (false, true) if priority_tag => Tagging::Push(PRIORITY_VID),
        (true, true) => Tagging::Pop,
        (true, false) if flags & SERVICES != 0 && policy.is_service(vid) => {
            Tagging::ReplaceByService(headers.tci)
        }
        (true, false) if headers.tci & VID_MASK == PRIORITY_VID => Tagging::Replace(priority | vid),
        (true, false) | (false, true) => Tagging::Keep,
        (false, false) => Tagging::Push(vid),
    };
    Verdict::Pass(vid, tagging)
}

/// The VLAN of a frame on the bridge side of a port; 0: none.
#[inline(always)]
fn vid_on_bridge(policy: &Policy, headers: Headers) -> u16 {
    match headers.tci & VID_MASK {
        vid if headers.tpid == TPID_C && vid != PRIORITY_VID => vid,
        _ => policy.untagged_on_bridge(),
    }
}

/// From a customer: the service tag is put above the tags of the frame, with their priority.
#[inline(always)]
fn into_tunnel(policy: &Policy, flags: u32, headers: Headers) -> Verdict {
    let vid = headers.tci & VID_MASK;
    let tagged = headers.tpid == TPID_C;
    // The agent writes no such policy.
    if policy.pvid == 0 {
        return Verdict::Drop(vid, Reason::VlanNotAllowed);
    }
    if tagged && vid != PRIORITY_VID {
        if vid == RESERVED_VID {
            return Verdict::Drop(vid, Reason::ReservedVid);
        }
        if !policy.allows(vid) {
            return Verdict::Drop(vid, Reason::VlanNotAllowed);
        }
        if flags & ADMIT_TAGGED == 0 {
            return Verdict::Drop(vid, Reason::TaggedOnAccess);
        }
    } else if flags & ADMIT_UNTAGGED == 0 {
        return Verdict::Drop(0, Reason::Untagged);
    }
    let priority = if tagged { headers.tci & !VID_MASK } else { 0 };
    Verdict::Pass(policy.pvid, Tagging::Push(priority | policy.pvid))
}

/// To a customer: the service tag is removed. The tag beneath it must have one of the customer's
/// VIDs.
#[inline(always)]
fn out_of_tunnel(policy: &Policy, headers: Headers) -> Verdict {
    let vid = vid_on_bridge(policy, headers);
    if vid == 0 || vid != policy.pvid {
        return Verdict::Drop(vid, Reason::EgressFiltered);
    }
    let customer = headers.inner_tci & VID_MASK;
    let foreign = customer != PRIORITY_VID && !policy.allows(customer);
    if headers.ethertype == TPID_C && foreign {
        return Verdict::Drop(vid, Reason::EgressFiltered);
    }
    let tagged = headers.tpid == TPID_C;
    Verdict::Pass(vid, if tagged { Tagging::Pop } else { Tagging::Keep })
}

#[cfg(test)]
mod tests;
