//! The VLAN options of the CNI bridge plugin.

use super::{bridge_plugin::Case, sends};
use crate::frame::C;

/// Without `vlan`: untagged frames, one segment.
pub fn no_vlan() -> Case {
    Case {
        options: "none",
        networks: "  plain: { clusterNetwork: oob }",
        ports: "[{ device: vm-a, network: plain }, { device: vm-b, network: plain }, { device: vm-c, network: plain }]",
        rows: vec![
            sends("vm-a", &[]).reaches("vm-b", &[]).reaches("vm-c", &[]).reaches("wire", &[]),
            // The plugin's bridge ignores tags here.
            sends("vm-a", &[(C, 100)]).dropped_at("vm-a", "vlan-not-allowed"),
            sends("wire", &[(C, 100)]).dropped_at("wire", "vlan-not-allowed"),
        ],
        last: vec![
            sends("wire", &[]).reaches("vm-a", &[]).reaches("vm-b", &[]).reaches("vm-c", &[]),
            sends("vm-c", &[]).reaches("vm-a", &[]).reaches("vm-b", &[]).reaches("wire", &[]),
        ],
    }
}

/// `vlan: 100`, without VLAN 1 on the port: containers reach each other inside a VLAN only.
pub fn vlan() -> Case {
    Case {
        options: "vlan: 100, preserveDefaultVlan: false",
        networks: "  v100: { clusterNetwork: oob, vlan: 100 }\n  v200: { clusterNetwork: oob, vlan: 200 }",
        ports: "[{ device: vm-a, network: v100 }, { device: vm-b, network: v100 }, { device: vm-c, network: v200 }]",
        rows: vec![
            sends("vm-a", &[]).reaches("vm-b", &[]).reaches("wire", &[(C, 100)]),
            sends("vm-c", &[]).reaches("wire", &[(C, 200)]),
            sends("vm-a", &[(C, 200)]).dropped_at("vm-a", "vlan-not-allowed"),
            sends("vm-c", &[(C, 100)]).dropped_at("vm-c", "vlan-not-allowed"),
            // The plugin's bridge admits the VLAN's own tag. netagent admits it with `admit: all`.
            sends("vm-a", &[(C, 100)]).dropped_at("vm-a", "tagged-on-access"),
            // No container's port has VLAN 1, which is untagged on the wire.
            sends("vm-a", &[(C, 1)]).dropped_at("vm-a", "vlan-not-allowed"),
            sends("wire", &[]),
        ],
        last: vec![
            sends("wire", &[(C, 100)]).reaches("vm-a", &[]).reaches("vm-b", &[]),
            sends("wire", &[(C, 200)]).reaches("vm-c", &[]),
            sends("vm-b", &[]).reaches("vm-a", &[]).reaches("wire", &[(C, 100)]),
        ],
    }
}

/// `preserveDefaultVlan: true`: VLAN 1 stays on the port. The plugin's container receives its
/// frames untagged, like frames of VLAN 100. A netagent port has one untagged VLAN; the other VLAN
/// is tagged.
pub fn default_vlan_preserved() -> Case {
    Case {
        options: "vlan: 100, preserveDefaultVlan: true",
        networks: "  both: { clusterNetwork: oob, trunk: 1, native: 100 }
  v100: { clusterNetwork: oob, vlan: 100 }\n  plain: { clusterNetwork: oob }",
        ports: "[{ device: vm-a, network: both }, { device: vm-b, network: v100 }, { device: vm-c, network: plain }]",
        rows: vec![
            sends("vm-a", &[]).reaches("vm-b", &[]).reaches("wire", &[(C, 100)]),
            sends("vm-a", &[(C, 1)]).reaches("vm-c", &[]).reaches("wire", &[]),
            sends("vm-c", &[]).reaches("vm-a", &[(C, 1)]).reaches("wire", &[]),
            sends("vm-a", &[(C, 200)]).dropped_at("vm-a", "vlan-not-allowed"),
        ],
        last: vec![
            sends("wire", &[]).reaches("vm-a", &[(C, 1)]).reaches("vm-c", &[]),
            sends("wire", &[(C, 100)]).reaches("vm-a", &[]).reaches("vm-b", &[]),
            sends("vm-b", &[]).reaches("vm-a", &[]).reaches("wire", &[(C, 100)]),
        ],
    }
}

/// `vlanTrunk` alone: its VLANs are tagged, and VLAN 1 is untagged.
pub fn trunk() -> Case {
    let mut rows = Vec::new();
    for vid in [101, 200, 205, 210] {
        rows.push(sends("vm-a", &[(C, vid)]).reaches("wire", &[(C, vid)]));
        rows.push(sends("wire", &[(C, vid)]).reaches("vm-a", &[(C, vid)]));
    }
    for vid in [100, 102, 199, 211] {
        rows.push(sends("vm-a", &[(C, vid)]).dropped_at("vm-a", "vlan-not-allowed"));
    }
    rows.push(sends("vm-a", &[]).reaches("vm-c", &[]).reaches("wire", &[]));
    rows.push(sends("vm-a", &[(C, 1)]).reaches("vm-c", &[]).reaches("wire", &[]));
    rows.push(sends("vm-b", &[]).reaches("wire", &[(C, 211)]));
    Case {
        options: "vlanTrunk: [{ id: 101 }, { minID: 200, maxID: 210 }]",
        networks: "  some: { clusterNetwork: oob, trunk: '101,200-210', native: 1 }
  next: { clusterNetwork: oob, vlan: 211 }\n  plain: { clusterNetwork: oob }",
        ports: "[{ device: vm-a, network: some }, { device: vm-b, network: next }, { device: vm-c, network: plain }]",
        rows,
        last: vec![
            sends("wire", &[(C, 211)]).reaches("vm-b", &[]),
            sends("wire", &[]).reaches("vm-a", &[]).reaches("vm-c", &[]),
            sends("vm-c", &[]).reaches("vm-a", &[]).reaches("wire", &[]),
        ],
    }
}

/// `vlan` and `vlanTrunk`: `vlan` is untagged, `vlanTrunk` is tagged, and there is no VLAN 1.
pub fn trunk_with_native() -> Case {
    Case {
        options: "vlan: 100, vlanTrunk: [{ id: 101 }, { minID: 200, maxID: 210 }]",
        networks: "  some: { clusterNetwork: oob, trunk: '101,200-210', native: 100 }
  v100: { clusterNetwork: oob, vlan: 100 }\n  v210: { clusterNetwork: oob, vlan: 210 }",
        ports: "[{ device: vm-a, network: some }, { device: vm-b, network: v100 }, { device: vm-c, network: v210 }]",
        rows: vec![
            sends("vm-a", &[]).reaches("vm-b", &[]).reaches("wire", &[(C, 100)]),
            sends("vm-a", &[(C, 100)]).reaches("vm-b", &[]).reaches("wire", &[(C, 100)]),
            sends("vm-a", &[(C, 101)]).reaches("wire", &[(C, 101)]),
            sends("vm-a", &[(C, 210)]).reaches("vm-c", &[]).reaches("wire", &[(C, 210)]),
            sends("vm-c", &[]).reaches("vm-a", &[(C, 210)]).reaches("wire", &[(C, 210)]),
            sends("vm-a", &[(C, 1)]).dropped_at("vm-a", "vlan-not-allowed"),
            sends("wire", &[]),
        ],
        last: vec![
            sends("wire", &[(C, 100)]).reaches("vm-a", &[]).reaches("vm-b", &[]),
            sends("wire", &[(C, 210)]).reaches("vm-a", &[(C, 210)]).reaches("vm-c", &[]),
            sends("vm-b", &[]).reaches("vm-a", &[]).reaches("wire", &[(C, 100)]),
        ],
    }
}
