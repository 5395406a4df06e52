//! What the datapath shows to be desired, where neither a file nor a daemon says so: each port that
//! has a policy.

use std::collections::BTreeSet;

use crate::{
    names::IfName,
    state::{
        Admit, Bridge, Code, Desired, FastPath, Filtering, Finding, Observed, ObservedDatapath,
        Port, PriorityTags, Role, Security, Subject,
    },
    vids::VidSet,
};

/// A finding for each port that has a policy and whose device does not exist.
pub fn missing(desired: &Desired, links: &Observed) -> Vec<Finding> {
    let of_vms = desired.ports.iter().filter(|(_, port)| !matches!(port.role, Role::Uplink { .. }));
    let missing = of_vms.filter(|(device, _)| links.link(device).is_none());
    let finding = |(device, _): (&IfName, &Port)| {
        let text = format!("{device}: no such device");
        let remedy = "`netagent run` takes it when it appears";
        Finding::new(Subject::Port(device.clone()), Code::DeviceMissing, text, remedy)
    };
    missing.map(finding).collect()
}

/// The desired state as far as the policies tell.
pub fn desired(links: &Observed, datapath: &ObservedDatapath) -> Desired {
    let mut desired = Desired::default();
    for (device, known) in &datapath.ports {
        let policy = &known.policy;
        let Some(bridge) = policy.bridge.clone() else { continue };
        let role = match policy.mode() {
            "uplink" => {
                let members = links.ports_of(device).filter(|(_, link)| link.member.is_some());
                let members: BTreeSet<_> = members.map(|(nic, _)| nic.clone()).collect();
                let is_bond = links.bonds().any(|(name, ..)| name == device);
                let nics = if is_bond { members } else { [device.clone()].into() };
                Role::Uplink { nics, xdp: false }
            }
            "qinq" => Role::Tunnel,
            "trunk" => Role::Trunk,
            _ => Role::Access,
        };
        let segment = match role {
            Role::Uplink { .. } => policy.network.clone(),
            _ => bridge.to_string(),
        };
        let is_uplink = matches!(role, Role::Uplink { .. });
        let entry = desired.bridges.entry(bridge.clone()).or_insert_with(|| Bridge {
            segment: segment.clone(),
            filtering: Filtering::Auto,
            snooping: None,
            mtu: None,
            native: None,
            mac_of: None,
            promiscuous: false,
        });
        if is_uplink {
            entry.segment = segment;
        }
        let port = Port {
            bridge,
            network: policy.network.clone(),
            role,
            pvid: policy.pvid,
            pvid_tagged: false,
            vids: policy.bridge_vids(),
            admit: Admit::All,
            priority_tags: PriorityTags::Never,
            customer_vids: VidSet::default(),
            services: VidSet::default(),
            security: Security::default(),
            fast_path: FastPath::Off,
            mtu: None,
            hairpin: None,
            port_isolation: None,
            silent: false,
            pod: None,
            origin: String::new(),
        };
        desired.ports.insert(device.clone(), port);
    }
    desired
}
