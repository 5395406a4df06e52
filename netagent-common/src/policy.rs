//! The policy of a port: the frames that it may send and receive.

use crate::vlan::VID_MASK;

/// Admit untagged and priority-tagged frames (802.1Q: acceptable frame types).
pub const ADMIT_UNTAGGED: u32 = 1;
/// Admit tagged frames.
pub const ADMIT_TAGGED: u32 = 1 << 1;
/// Transmit the PVID's frames tagged ("native: tagged"), instead of untagged.
pub const PVID_TAGGED: u32 = 1 << 2;
/// Pass link-local groups without a VLAN policy: an uplink, for LACP, LLDP and STP, or a VM's port
/// with `allowLinkLocal`.
pub const LINK_LOCAL_BYPASS: u32 = 1 << 3;
/// The bridge removes the PVID's tag on this port (VLAN-aware, "PVID Egress Untagged").
pub const BRIDGE_STRIPS: u32 = 1 << 4;
/// No NIC of this uplink moves the tag into the metadata: XDP sees it, and may drop early.
pub const TAGS_IN_BYTES: u32 = 1 << 5;
/// The port is an uplink.
pub const UPLINK: u32 = 1 << 6;
/// The port is a trunk (informational: the allow-list decides).
pub const TRUNK: u32 = 1 << 7;
/// The uplink does not support XDP programs. Only the agent uses this flag.
pub const XDP_REFUSED: u32 = 1 << 8;
/// The port may exchange frames with the uplink only.
pub const ISOLATED: u32 = 1 << 9;
/// The bridge has isolated ports: the egress hook looks up the ingress port.
pub const ISOLATION: u32 = 1 << 10;
/// The VM may use its listed addresses only.
pub const MAC_GUARD: u32 = 1 << 11;
/// The VM may use `mac_limit` addresses.
pub const MAC_LIMIT: u32 = 1 << 12;
/// The VM must not be a DHCP server.
pub const DHCP_GUARD: u32 = 1 << 13;
/// The VM must not be an IPv6 router.
pub const RA_GUARD: u32 = 1 << 14;
/// Broadcast, multicast or unknown unicast from the VM is limited.
pub const STORM: u32 = 1 << 15;
/// QinQ (dot1q-tunnel): `pvid` is the service VLAN, and `vids` lists the customer's VIDs.
pub const TUNNEL: u32 = 1 << 16;
/// The VLANs in `services` of this uplink are service VLANs: their outer tag on the wire is an
/// S-tag.
pub const SERVICES: u32 = 1 << 17;
/// Frames of the PVID that have a priority reach the VM priority-tagged (VID 0).
pub const PRIORITY_IF_NONZERO: u32 = 1 << 18;
/// Frames of the PVID reach the VM priority-tagged, with a priority or without.
pub const PRIORITY_ALWAYS: u32 = 1 << 19;
/// Frames from and to this port may bypass the bridge.
pub const FAST: u32 = 1 << 20;
/// The bridge has a separate FDB for each VLAN.
pub const PER_VLAN: u32 = 1 << 21;
/// A VM's port supports XDP_REDIRECT. An uplink: at least one of its ports does.
pub const FAST_XDP: u32 = 1 << 22;
/// The port is a veth without a queue whose other end is in another namespace: `bpf_redirect_peer`
/// works.
pub const PEER: u32 = 1 << 23;

/// The port stays silent until its VM sends frames of its own, or the agent is told.
pub const SILENT: u32 = 1 << 24;
/// The VM must not be a multicast querier.
pub const QUERIER_GUARD: u32 = 1 << 25;
/// The VM may only use the listed IP addresses.
pub const IP_GUARD: u32 = 1 << 26;

/// Flags that few ports have. A program is loaded with the code for the optional flags of its port
/// only.
pub const OPTIONAL: u32 = ISOLATION
    | MAC_GUARD
    | MAC_LIMIT
    | DHCP_GUARD
    | RA_GUARD
    | QUERIER_GUARD
    | IP_GUARD
    | STORM
    | TUNNEL
    | SERVICES
    | PRIORITY_IF_NONZERO
    | PRIORITY_ALWAYS
    | FAST_XDP
    | SILENT;

/// Policy of one port. Each port has two records: the programs read one while the agent writes the
/// other. One eight-byte store of a [`PortRef`] switches between them, so that a frame is judged by
/// the old or the new policy.
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
    /// The VID that is untagged inside a VLAN-unaware bridge (the host's untagged VLAN); 0: none.
    pub bridge_pvid: u16,
    /// The pair number of `pvid`, which saves a look-up for nearly all frames of an access port.
    pub pvid_pair: u16,
    /// The number of this record: part of the key of the VM's addresses, with [`MAC_GUARD`].
    pub record: u16,
    /// Maximum number of source addresses, with [`MAC_LIMIT`].
    pub mac_limit: u16,
    /// Broadcast frames per second that the VM may send; 0: no limit.
    pub broadcast_limit: u32,
    /// Multicast frames per second that the VM may send; 0: no limit.
    pub multicast_limit: u32,
    /// Unicast frames per second to unknown stations that the VM may send; 0: no limit.
    pub unknown_limit: u32,
    /// Interface index of the bridge.
    pub bridge: u32,
    /// Zero; see [`unknown`](Self::unknown).
    pub zero: u32,
    /// Name of the device, padded with NUL.
    pub device: [u8; 16],
    /// Name of the network, or of the cluster network of an uplink; cut after 32 bytes, padded with
    /// NUL.
    pub network: [u8; 32],
    /// The allow-list: bit `vid % 64` of word `vid / 64`. With [`TUNNEL`]: the customer's VIDs.
    pub vids: [u64; 64],
    /// The service VLANs, with [`SERVICES`]: bits as in `vids`.
    pub services: [u64; 64],
    /// For each word of the allow-list the block with the pair numbers of its 64 VIDs; 0: none.
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
        record: 0,
        mac_limit: 0,
        broadcast_limit: 0,
        multicast_limit: 0,
        unknown_limit: 0,
        bridge: 0,
        zero: 0,
        device: [0; 16],
        network: [0; 32],
        vids: [0; 64],
        services: [0; 64],
        blocks: [0; 64],
    };

    /// Whether a VID (12 bits) is in the allow-list.
    #[inline(always)]
    pub const fn allows(&self, vid: u16) -> bool {
        // The masks do not change a 12-bit VID; the verifier needs them.
        self.vids[((vid & VID_MASK) >> 6) as usize] >> (vid & 63) & 1 == 1
    }

    /// Whether a VID (12 bits) is that of a service VLAN.
    #[inline(always)]
    pub const fn is_service(&self, vid: u16) -> bool {
        self.services[((vid & VID_MASK) >> 6) as usize] >> (vid & 63) & 1 == 1
    }

    /// The number, without what the verifier knows of it. An index that it knows on one path and
    /// not on another is refused to programs without CAP_PERFMON; see [`load`].
    #[inline(always)]
    pub const fn unknown(&self, number: usize) -> usize {
        number ^ self.zero as usize
    }

    /// Whether all of some flags are set.
    #[inline(always)]
    pub const fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// The VID of frames that are untagged on the bridge side of this port; 0: none.
    #[inline(always)]
    pub fn untagged_on_bridge(&self) -> u16 {
        let (pvid, bridge_pvid) = (load(&self.pvid), load(&self.bridge_pvid));
        if self.has(BRIDGE_STRIPS) { pvid } else { bridge_pvid }
    }
}

/// Reads a field by an instruction of its own. The compiler would otherwise make one load at a
/// computed offset of two, which the verifier refuses to programs without CAP_PERFMON, as the CPU
/// may compute it wrongly ahead of the branch (Spectre v1).
#[inline(always)]
pub fn load<T: Copy>(field: &T) -> T {
    // SAFETY: a reference.
    unsafe { core::ptr::from_ref(field).read_volatile() }
}

/// An address that a VM may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct PortMac {
    /// Number of the policy record: the addresses change together with the policy.
    pub record: u16,
    /// The address.
    pub mac: [u8; 6],
}

/// IP addresses that a VM may use: the data of a key, of whose bits the prefix length counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct PortIp {
    /// Number of the policy record: the addresses change together with the policy.
    pub record: u32,
    /// The address; IPv4 as [`mapped`].
    pub ip: Ip,
}

/// An IPv6 address: words, each in network byte order. For bytes, the compiler calls memset, whose
/// loop is refused to programs without CAP_PERFMON.
pub type Ip = [u32; 4];

/// An IPv6 address.
#[inline(always)]
pub fn v6(bytes: [u8; 16]) -> Ip {
    let word =
        |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4), word(8), word(12)]
}

/// An IPv4 address as IPv6 address (RFC 4291 §2.5.5.2).
#[inline(always)]
pub const fn mapped(bytes: [u8; 4]) -> Ip {
    [0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), u32::from_ne_bytes(bytes)]
}

/// The policy record of a device: the value of the port index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct PortRef {
    /// Interface index of the device; 0: none.
    pub ifindex: u32,
    /// Record number: twice the port number, plus which of the two records.
    pub record: u32,
}

impl PortRef {
    /// The reference in an element of the port index, which is read as one word: the agent switches
    /// both fields by one store.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        let [a, b, c, d, record @ ..] = word.to_ne_bytes();
        Self { ifindex: u32::from_ne_bytes([a, b, c, d]), record: u32::from_ne_bytes(record) }
    }
}

#[cfg(feature = "user")]
mod user {
    use super::{Policy, PortIp, PortMac, PortRef};

    // SAFETY: repr(C), integers only, no padding (asserted in the tests of `decide`).
    unsafe impl aya::Pod for Policy {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PortRef {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PortMac {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PortIp {}
}

#[cfg(test)]
mod tests;
