//! From a port of the file to what its programs are told.

use std::collections::BTreeSet;

use netagent_common::{
    policy::{
        ADMIT_TAGGED, ADMIT_UNTAGGED, BRIDGE_STRIPS, LINK_LOCAL_BYPASS, PVID_TAGGED, TAGS_IN_BYTES,
        TRUNK, UPLINK,
    },
    vlan::Vid,
};

use crate::state::{Admit, Port, PortPolicy, Role};

/// What a port's policy depends on besides the port.
#[derive(Clone, Copy)]
pub struct Surroundings {
    /// The bridge filters VLANs itself, and strips the PVID's tag.
    pub aware: bool,
    /// The VID that the node itself uses untagged on this bridge.
    pub host_untagged: Option<Vid>,
    /// XDP is on, and sees all tags.
    pub tags_in_bytes: bool,
}

/// The policy.
pub fn compile(port: &Port, nics: BTreeSet<u32>, around: Surroundings) -> PortPolicy {
    let mut flags = match port.admit {
        Admit::All => ADMIT_UNTAGGED | ADMIT_TAGGED,
        Admit::Tagged => ADMIT_TAGGED,
        Admit::UntaggedAndPriority => ADMIT_UNTAGGED,
    };
    flags |= match port.role {
        Role::Uplink { .. } => UPLINK | LINK_LOCAL_BYPASS,
        Role::Trunk => TRUNK,
        Role::Access => 0,
    };
    if port.pvid.is_some() {
        flags |= match (port.pvid_tagged, around.aware) {
            (true, _) => PVID_TAGGED,
            (false, true) => BRIDGE_STRIPS,
            (false, false) => 0,
        };
    }
    if around.tags_in_bytes {
        flags |= TAGS_IN_BYTES;
    }
    PortPolicy {
        // As much as the map's field holds, or the next comparison would find a difference.
        network: cut(&port.network, 32),
        flags,
        pvid: port.pvid,
        bridge_pvid: if around.aware { None } else { around.host_untagged },
        vids: port.vids.clone(),
        nics,
    }
}

fn cut(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
