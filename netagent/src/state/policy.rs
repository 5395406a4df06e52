//! The policy of a port, as the programs apply it.

use std::{collections::BTreeSet, fmt};

use netagent_common::{policy as flags, vlan::Vid};
use serde::{Deserialize, Serialize};

use super::{Admit, Hook, Storm};
use crate::{
    names::{Addresses, IfName, Mac},
    vids::VidSet,
};

/// The policy of a port: the one to write to the maps, or the one read from them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortPolicy {
    /// The network of a VM port, or the cluster network of an uplink.
    pub network: String,
    /// Flags of [`netagent_common::policy`].
    pub flags: u32,
    /// The bridge.
    pub bridge: Option<IfName>,
    /// The VID of untagged frames.
    pub pvid: Option<Vid>,
    /// The VID that is untagged inside a VLAN-unaware bridge.
    pub bridge_pvid: Option<Vid>,
    /// The allow-list. A QinQ port has an allow-list of the customer's VIDs.
    pub allowed: VidSet,
    /// VLANs whose outer tag on the wire is an S-tag.
    pub services: VidSet,
    /// The only addresses that the VM may use; empty: any.
    pub macs: BTreeSet<Mac>,
    /// The only IP addresses that the VM may use; empty: any.
    pub addresses: BTreeSet<Addresses>,
    /// Maximum number of addresses that the VM may use; 0: no limit.
    pub mac_limit: u16,
    /// Limits of the broadcast, multicast and unknown unicast frames from the VM.
    pub storm: Storm,
    /// Interface indexes of an uplink's NICs, on which XDP runs.
    pub nics: BTreeSet<u32>,
}

impl PortPolicy {
    /// Whether all of these flags of [`netagent_common::policy`] are set.
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// The VIDs that have counters: 0 for link-local frames, and the VIDs inside the bridge.
    pub fn counted_vids(&self) -> BTreeSet<u16> {
        std::iter::once(0).chain(self.bridge_vids().iter().map(Vid::get)).collect()
    }

    /// The VIDs inside the bridge.
    pub fn bridge_vids(&self) -> VidSet {
        if self.has(flags::TUNNEL) { self.pvid.into_iter().collect() } else { self.allowed.clone() }
    }

    /// A copy without the VIDs inside the bridge that `keep` rejects: their frames are dropped.
    #[must_use]
    pub fn only(&self, keep: impl Fn(Vid) -> bool) -> Self {
        let mut policy = self.clone();
        policy.pvid = policy.pvid.filter(|vid| keep(*vid));
        policy.bridge_pvid = policy.bridge_pvid.filter(|vid| keep(*vid));
        // All VIDs of a customer are inside its PVID.
        if !self.has(flags::TUNNEL) {
            policy.allowed = self.allowed.iter().filter(|vid| keep(*vid)).collect();
        }
        policy
    }

    /// The admitted frame types.
    pub fn admit(&self) -> Admit {
        match (self.has(flags::ADMIT_UNTAGGED), self.has(flags::ADMIT_TAGGED)) {
            (true, false) => Admit::UntaggedAndPriority,
            (false, _) => Admit::Tagged,
            (true, true) => Admit::All,
        }
    }

    /// The programs that a port with this policy can have.
    pub fn hooks(&self) -> &'static [Hook] {
        if self.has(flags::UPLINK) {
            &[Hook::UplinkXdp, Hook::UplinkIn, Hook::UplinkOut]
        } else {
            &[Hook::PortIn, Hook::PortOut]
        }
    }

    /// The kind of port: "uplink", "trunk", "qinq" or "access".
    pub fn mode(&self) -> &'static str {
        if self.has(flags::UPLINK) {
            "uplink"
        } else if self.has(flags::TUNNEL) {
            "qinq"
        } else if self.has(flags::TRUNK) {
            "trunk"
        } else {
            "access"
        }
    }
}

impl fmt::Display for PortPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}, vids {}, pvid ", self.mode(), self.network, self.allowed)?;
        match self.pvid {
            Some(vid) => vid.fmt(f)?,
            None => f.write_str("none")?,
        }
        f.write_str(if self.has(flags::PVID_TAGGED) { " tagged" } else { "" })?;
        write!(f, ", admit {}", self.admit().name())?;
        if self.has(flags::SERVICES) {
            write!(f, ", services {}", self.services)?;
        }
        for check in checks(self.flags) {
            write!(f, ", {check}")?;
        }
        f.write_str(if self.has(flags::TAGS_IN_BYTES) { ", early drop by XDP" } else { "" })
    }
}

/// The checks and options besides VLANs that these flags enable, by their names in the file.
pub fn checks(of: u32) -> impl Iterator<Item = &'static str> {
    [
        (flags::ISOLATED, "isolated"),
        (flags::MAC_GUARD, "macs"),
        (flags::IP_GUARD, "addresses"),
        (flags::MAC_LIMIT, "maxMacs"),
        (flags::DHCP_GUARD, "dhcpGuard"),
        (flags::RA_GUARD, "raGuard"),
        (flags::QUERIER_GUARD, "mcastQuerierGuard"),
        (flags::STORM, "storm"),
        (flags::SILENT, "silent"),
        (flags::PRIORITY_IF_NONZERO, "priorityTags if-nonzero"),
        (flags::PRIORITY_ALWAYS, "priorityTags always"),
    ]
    .into_iter()
    .filter(move |(flag, _)| of & flag != 0)
    .map(|(_, name)| name)
}
