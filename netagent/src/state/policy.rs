//! What the programs are told of a port.

use std::{collections::BTreeSet, fmt};

use netagent_common::{policy as flags, vlan::Vid};

use super::Hook;
use super::{Admit, Storm};
use crate::{
    names::{IfName, Mac},
    vids::VidSet,
};

/// What the programs are told of a port, and what they are found to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortPolicy {
    /// The network, or for an uplink the cluster network.
    pub network: String,
    /// Flags of [`netagent_common::policy`].
    pub flags: u32,
    /// The bridge.
    pub bridge: Option<IfName>,
    /// The VID of untagged frames.
    pub pvid: Option<Vid>,
    /// The VID that is untagged inside a VLAN-unaware bridge.
    pub bridge_pvid: Option<Vid>,
    /// The allow-list. Of a QinQ port: of the customer's VIDs.
    pub vids: VidSet,
    /// VLANs whose outer tag on the wire is an S-tag.
    pub services: VidSet,
    /// The addresses that the VM may use, where they are listed.
    pub macs: BTreeSet<Mac>,
    /// Most addresses that the VM may use, where that is limited.
    pub mac_limit: u16,
    /// Broadcast, multicast and unknown unicast frames per second that the VM may send.
    pub storm: Storm,
    /// Interface indexes of the NICs beneath an uplink, on which XDP runs.
    pub nics: BTreeSet<u32>,
}

impl PortPolicy {
    /// Whether all of some flags of [`netagent_common::policy`] are set.
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// The VIDs that have counters: 0 for link-local frames, and the VIDs inside the bridge.
    pub fn counted_vids(&self) -> BTreeSet<u16> {
        std::iter::once(0).chain(self.bridge_vids().iter().map(Vid::get)).collect()
    }

    /// The VIDs inside the bridge.
    pub fn bridge_vids(&self) -> VidSet {
        if self.has(flags::TUNNEL) { self.pvid.into_iter().collect() } else { self.vids.clone() }
    }

    /// The same without some of the VIDs inside the bridge: their frames are dropped.
    #[must_use]
    pub fn only(&self, keep: impl Fn(Vid) -> bool) -> Self {
        let mut policy = self.clone();
        policy.pvid = policy.pvid.filter(|vid| keep(*vid));
        policy.bridge_pvid = policy.bridge_pvid.filter(|vid| keep(*vid));
        // Those of a customer are all inside its PVID.
        if !self.has(flags::TUNNEL) {
            policy.vids = self.vids.iter().filter(|vid| keep(*vid)).collect();
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

    /// The programs that such a port can have.
    pub fn hooks(&self) -> &'static [Hook] {
        if self.has(flags::UPLINK) {
            &[Hook::UplinkXdp, Hook::UplinkIn, Hook::UplinkOut]
        } else {
            &[Hook::PortIn, Hook::PortOut]
        }
    }

    /// What kind of port: "uplink", "trunk", "qinq" or "access".
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
        write!(f, "{} in {}, vids {}, pvid ", self.mode(), self.network, self.vids)?;
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

/// The names of what a port with these flags checks or does besides VLANs, as the file has them.
pub fn checks(of: u32) -> impl Iterator<Item = &'static str> {
    [
        (flags::ISOLATED, "isolated"),
        (flags::MAC_GUARD, "macs"),
        (flags::MAC_LIMIT, "maxMacs"),
        (flags::DHCP_GUARD, "dhcpGuard"),
        (flags::RA_GUARD, "raGuard"),
        (flags::STORM, "storm"),
        (flags::PRIORITY_IF_NONZERO, "priorityTags if-nonzero"),
        (flags::PRIORITY_ALWAYS, "priorityTags always"),
    ]
    .into_iter()
    .filter(move |(flag, _)| of & flag != 0)
    .map(|(_, name)| name)
}
