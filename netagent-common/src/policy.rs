//! What a port may send and receive, and the decision that every program makes with it.

use crate::{
    counters::{Direction, Reason},
    vlan::{PRIORITY_VID, RESERVED_VID, TPID_C, VID_MASK, is_tpid},
};

/// Admit untagged and priority-tagged frames (802.1Q: acceptable frame types).
pub const ADMIT_UNTAGGED: u32 = 1 << 0;
/// Admit tagged frames.
pub const ADMIT_TAGGED: u32 = 1 << 1;
/// Transmit the PVID's frames tagged ("native: tagged"), instead of untagged.
pub const PVID_TAGGED: u32 = 1 << 2;
/// Pass link-local groups without any VLAN policy: an uplink, where LACP, LLDP and STP must survive.
pub const LINK_LOCAL_BYPASS: u32 = 1 << 3;
/// The bridge removes the PVID's tag on this port (VLAN-aware, "PVID Egress Untagged").
pub const BRIDGE_STRIPS: u32 = 1 << 4;
/// No NIC under this uplink takes the tag out of the bytes: XDP sees it, and may drop early.
pub const TAGS_IN_BYTES: u32 = 1 << 5;
/// The port is an uplink.
pub const UPLINK: u32 = 1 << 6;
/// The port is a trunk (informational: the allow-list decides).
pub const TRUNK: u32 = 1 << 7;
/// The uplink took no XDP program; the agent's note to itself.
pub const XDP_REFUSED: u32 = 1 << 8;

/// Policy of one port. Two records per port: the programs read one while the agent writes the other, and one
/// eight-byte store of a [`PortRef`] switches between them, so that a packet sees the old or the new policy, never
/// a mixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Policy {
    /// Interface index of the device.
    pub ifindex: u32,
    /// Combination of the flags of this module.
    pub flags: u32,
    /// Dense number of the port.
    pub port: u16,
    /// The VID that untagged frames get; 0: none, they are dropped.
    pub pvid: u16,
    /// The VID whose frames are untagged inside a VLAN-unaware bridge (the host's own, untagged VLAN); 0: none.
    pub bridge_pvid: u16,
    /// The counters of `pvid`: nearly all frames of an access port, found without a second look-up.
    pub pvid_pair: u16,
    /// Name of the device, padded with NUL.
    pub device: [u8; 16],
    /// Name of the network, or of the cluster network of an uplink; cut after 32 bytes, padded with NUL.
    pub network: [u8; 32],
    /// The allow-list: bit `vid % 64` of word `vid / 64`.
    pub vids: [u64; 64],
    /// For each word of the allow-list the block that has the pair numbers of its 64 VIDs; 0: none.
    pub blocks: [u16; 64],
}

impl Policy {
    /// A port that drops everything.
    pub const EMPTY: Self = Self {
        ifindex: 0,
        flags: 0,
        port: 0,
        pvid: 0,
        bridge_pvid: 0,
        pvid_pair: 0,
        device: [0; 16],
        network: [0; 32],
        vids: [0; 64],
        blocks: [0; 64],
    };

    /// Whether a VID (12 bits) is in the allow-list.
    #[inline(always)]
    pub const fn allows(&self, vid: u16) -> bool {
        // The masks cannot change a 12-bit VID; they are what the verifier sees.
        self.vids[((vid & VID_MASK) >> 6) as usize] >> (vid & 63) & 1 == 1
    }

    /// Whether all of some flags are set.
    #[inline(always)]
    pub const fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// The VID of frames that are untagged on the bridge's side of this port; 0: none are.
    #[inline(always)]
    const fn untagged_on_bridge(&self) -> u16 {
        if self.has(BRIDGE_STRIPS) { self.pvid } else { self.bridge_pvid }
    }
}

/// Where a device's policy is: the value of the port index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PortRef {
    /// The interface index that this element is for; 0: none.
    pub ifindex: u32,
    /// Record number: twice the port number, plus which of the two records.
    pub record: u32,
}

/// What the decision needs to know of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// TPID of the outer tag, wherever it is (bytes or skb metadata); 0 if there is none.
    pub tpid: u16,
    /// TCI of the outer tag (PCP, DEI, VID); 0 if there is none.
    pub tci: u16,
    /// The Ethertype behind the outer tag.
    pub ethertype: u16,
    /// Destination is 01:80:C2:00:00:00 to 0F.
    pub link_local: bool,
}

/// What to do with the tag of a frame that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagging {
    /// Leave the frame as it is.
    Keep,
    /// Add a C-tag with this TCI.
    Push(u16),
    /// Replace the outer tag by a C-tag with this TCI.
    Replace(u16),
    /// Remove the outer tag.
    Pop,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Belongs to this VLAN (0: to none, a link-local frame), after this change of its tag.
    Pass(u16, Tagging),
    /// Dropped; the VID that it carried or was given, 0 if none.
    Drop(u16, Reason),
}

/// Decides about a frame at a port: the table of the design, as code. Receive is towards the bridge, transmit
/// away from it.
#[inline(always)]
pub fn decide(policy: &Policy, headers: Headers, direction: Direction) -> Verdict {
    if headers.link_local {
        return if policy.has(LINK_LOCAL_BYPASS) {
            Verdict::Pass(0, Tagging::Keep)
        } else {
            Verdict::Drop(headers.tci & VID_MASK, Reason::LinkLocal)
        };
    }
    match direction {
        Direction::Receive => receive(policy, headers),
        Direction::Transmit => transmit(policy, headers),
    }
}

#[inline(always)]
fn receive(policy: &Policy, headers: Headers) -> Verdict {
    let vid = headers.tci & VID_MASK;
    let priority = headers.tci & !VID_MASK;
    // An 802.1Q bridge does not look into a tag of another type: the frame counts as untagged.
    if headers.tpid != TPID_C || vid == PRIORITY_VID {
        if policy.pvid == 0 || !policy.has(ADMIT_UNTAGGED) {
            return Verdict::Drop(0, Reason::Untagged);
        }
        let inside = policy.pvid == policy.bridge_pvid;
        if headers.tpid != TPID_C {
            let tagging = if inside { Tagging::Keep } else { Tagging::Push(policy.pvid) };
            return Verdict::Pass(policy.pvid, tagging);
        }
        // A tag beneath a priority tag would slip through wherever VID 0 is skipped (VU#855201).
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
    if !policy.has(ADMIT_TAGGED) {
        return Verdict::Drop(vid, Reason::TaggedOnAccess);
    }
    // Inside the bridge this VLAN is untagged; a priority tag keeps PCP and DEI.
    let tagging = if vid == policy.bridge_pvid {
        Tagging::Replace(priority | PRIORITY_VID)
    } else {
        Tagging::Keep
    };
    Verdict::Pass(vid, tagging)
}

#[inline(always)]
fn transmit(policy: &Policy, headers: Headers) -> Verdict {
    let tagged = headers.tpid == TPID_C;
    let priority = headers.tci & !VID_MASK;
    let vid = match headers.tci & VID_MASK {
        vid if tagged && vid != PRIORITY_VID => vid,
        _ => policy.untagged_on_bridge(),
    };
    if vid == 0 || !policy.allows(vid) {
        return Verdict::Drop(vid, Reason::EgressFiltered);
    }
    let untag = vid == policy.pvid && !policy.has(PVID_TAGGED);
    // Where no tag of ours stays above it, a second tag would come to light. A tag in the bytes without one in
    // the metadata is such a second tag: the bridge keeps its own in the metadata.
    let exposed = is_tpid(headers.ethertype) || (headers.tpid != 0 && !tagged);
    if untag && exposed {
        return Verdict::Drop(vid, Reason::StackedTag);
    }
    let tagging = match (tagged, untag) {
        (true, true) => Tagging::Pop,
        (true, false) if headers.tci & VID_MASK == PRIORITY_VID => Tagging::Replace(priority | vid),
        (true, false) | (false, true) => Tagging::Keep,
        (false, false) => Tagging::Push(vid),
    };
    Verdict::Pass(vid, tagging)
}

#[cfg(feature = "user")]
mod user {
    use super::{Policy, PortRef};

    // SAFETY: repr(C), integers only, no padding (asserted below).
    unsafe impl aya::Pod for Policy {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PortRef {}
}

#[cfg(test)]
mod tests;
