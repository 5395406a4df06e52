//! Compiles a desired port into the policy for its programs.

use std::collections::BTreeSet;

use netagent_common::{
    policy::{
        ADMIT_TAGGED, ADMIT_UNTAGGED, BRIDGE_STRIPS, DHCP_GUARD, FAST, FAST_XDP, IP_GUARD,
        ISOLATED, ISOLATION, LINK_LOCAL_BYPASS, MAC_GUARD, MAC_LIMIT, PEER, PER_VLAN,
        PRIORITY_ALWAYS, PRIORITY_IF_NONZERO, PVID_TAGGED, QUERIER_GUARD, RA_GUARD, SERVICES,
        SILENT, STORM, TAGS_IN_BYTES, TRUNK, TUNNEL, UPLINK,
    },
    vlan::Vid,
};

use crate::{
    names::IfName,
    state::{Admit, FastPath, Port, PortPolicy, PriorityTags, Role, Storm},
};

/// The facts outside a port that its policy depends on.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
pub struct Surroundings {
    /// The bridge filters VLANs itself and removes the tag of the PVID.
    pub aware: bool,
    /// The VID of the node's untagged interface on this bridge.
    pub host_untagged: Option<Vid>,
    /// The bridge has isolated ports.
    pub isolation: bool,
    /// The uplink has XDP, and XDP sees all tags.
    pub tags_in_bytes: bool,
    /// A VM port: the device supports `XDP_REDIRECT`. An uplink: it has XDP, and XDP sees all tags.
    pub xdp_frames: bool,
    /// A VM port: `bpf_redirect_peer` may deliver frames to the other end of the veth pair.
    pub peer: bool,
    /// Rules of others need every frame on the bridge.
    pub needs_bridge: bool,
}

/// Compiles the policy of a port.
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
        Role::Tunnel => TUNNEL,
    };
    flags |= match port.priority_tags {
        PriorityTags::Never => 0,
        PriorityTags::IfNonzero => PRIORITY_IF_NONZERO,
        PriorityTags::Always => PRIORITY_ALWAYS,
    };
    let security = &port.security;
    let fast_path = if around.needs_bridge { FastPath::Off } else { port.fast_path };
    for (flag, set) in [
        (PVID_TAGGED, port.pvid.is_some() && port.pvid_tagged),
        (BRIDGE_STRIPS, around.aware && port.bridge_untags()),
        (TAGS_IN_BYTES, around.tags_in_bytes),
        (FAST, fast_path != FastPath::Off),
        (FAST_XDP, fast_path == FastPath::Xdp && around.xdp_frames),
        (PEER, fast_path != FastPath::Off && around.peer),
        (PER_VLAN, around.aware),
        (SERVICES, !port.services.is_empty()),
        (ISOLATION, around.isolation),
        (ISOLATED, security.isolated),
        (LINK_LOCAL_BYPASS, security.allow_link_local),
        (MAC_GUARD, !security.macs.is_empty()),
        (IP_GUARD, !security.addresses.is_empty()),
        (MAC_LIMIT, security.max_macs.is_some()),
        (DHCP_GUARD, security.dhcp_guard),
        (RA_GUARD, security.ra_guard),
        (QUERIER_GUARD, security.querier_guard),
        (STORM, security.storm != Storm::default()),
        (SILENT, port.silent),
    ] {
        if set {
            flags |= flag;
        }
    }
    let of_customer = matches!(port.role, Role::Tunnel);
    PortPolicy {
        // Truncated to the map's field: otherwise the comparison with the map would always differ.
        network: cut(&port.network, 32),
        flags,
        bridge: Some(port.bridge.clone()),
        pvid: port.pvid,
        bridge_pvid: if around.aware { None } else { around.host_untagged },
        allowed: if of_customer { &port.customer_vids } else { &port.vids }.clone(),
        services: port.services.clone(),
        macs: security.macs.clone(),
        addresses: security.addresses.clone(),
        mac_limit: security.max_macs.unwrap_or_default(),
        storm: security.storm,
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

/// What a change of a policy means for a port, for an operator: old and new.
pub fn differences(name: &IfName, old: &PortPolicy, new: &PortPolicy) -> Vec<String> {
    let mut lines = Vec::new();
    let mut differ = |what: &str, old: String, new: String| {
        if old != new {
            lines.push(format!("{name}: {what} {old} → {new}"));
        }
    };
    let vlans = |policy: &PortPolicy| match policy.bridge_vids() {
        none if none.is_empty() => "none".to_owned(),
        some => some.to_string(),
    };
    let untagged =
        |policy: &PortPolicy| policy.pvid.map_or_else(|| "none".to_owned(), |vid| vid.to_string());
    differ("network", old.network.clone(), new.network.clone());
    differ("VLAN", vlans(old), vlans(new));
    if old.mode() != "access" || new.mode() != "access" {
        differ("VLAN of untagged frames", untagged(old), untagged(new));
    }
    lines
}
