//! The order in which items are judged.

use super::{
    Devices, Intent, Item, Origin, Rejection, Site, Sourced,
    claims::Claim,
    host,
    items::HostIntent,
    node::Node,
    patterns,
    problem::Problem,
    segment::{self, bridge_name},
};
use crate::{
    names::IfName,
    state::{Desired, Finding},
};

/// What all items together ask for.
pub struct Judgement {
    /// The accepted items.
    pub desired: Desired,
    /// The rejected ones.
    pub rejections: Vec<Rejection>,
    /// The devices that match a pattern and that it leaves alone.
    pub left_alone: Vec<Finding>,
}

/// Judges all items: the sources in their order, in each source first what others refer to, and
/// last the devices that match a pattern.
pub fn judge(intents: &[Intent], devices: &Devices) -> Judgement {
    let mut node = Node::default();
    let mut rejections = Vec::new();
    for intent in intents {
        node.begin_source(created(intent, &node).into_iter());
        let mut record = |node: &mut Node, site: Site, result: Result<(), Problem>| {
            if let Err(problem) = result {
                let Site { origin, item, key: _ } = site;
                node.reject(item.clone());
                rejections.push(Rejection { origin, item, problem });
            }
        };
        for Sourced { origin, value } in &intent.segments {
            let site = segment_site(origin, &value.name);
            let hosts = intent.hosts.iter().map(|host| &host.value);
            let hosts: Vec<_> = hosts.filter(|host| host.segment == value.name).collect();
            let result = node.add_segment(&site, value, &hosts);
            record(&mut node, site, result);
        }
        for Sourced { origin, value } in &intent.promiscuous {
            let site = segment_site(origin, value);
            let result = node.set_promiscuous(value);
            record(&mut node, site, result);
        }
        for Sourced { origin, value } in &intent.hosts {
            let site = host_site(origin, value);
            let result = node.add_host(&site, value);
            record(&mut node, site, result);
        }
        for Sourced { origin, value } in &intent.leases {
            let site =
                Site::new(origin, Item::Lease(value.interface.clone(), value.address.family()));
            let result = node.add_lease(&site, value);
            record(&mut node, site, result);
        }
        // In a clash of a service VLAN with a VLAN of the same source, the service VLAN is wrong.
        let (services, others): (Vec<_>, Vec<_>) =
            intent.networks.iter().partition(|network| network.value.service().is_some());
        for Sourced { origin, value } in others.into_iter().chain(services) {
            let site = Site::new(origin, Item::Network(value.name.clone()));
            let result = node.add_network(&site, value);
            record(&mut node, site, result);
        }
        for Sourced { origin, value } in &intent.ports {
            let site = Site::new(origin, Item::Port(value.device.clone()));
            let result = node.add_port(&site, value);
            record(&mut node, site, result);
        }
        for Sourced { origin, value } in &intent.patterns {
            let site = Site::new(origin, Item::Pattern(value.device.clone()));
            let result = node.add_pattern(&site, value);
            record(&mut node, site, result);
        }
    }
    let left_alone = patterns::apply(intents, devices, &mut node, &mut rejections);
    Judgement { desired: node.desired(), rejections, left_alone }
}

/// The claims of a source to devices that the agent creates, by priority.
fn created(intent: &Intent, node: &Node) -> Vec<Claim> {
    let segments = || {
        let segments = intent.segments.iter();
        segments.map(|segment| (segment_site(&segment.origin, &segment.value.name), &segment.value))
    };
    let bonds = segments().filter_map(|(site, value)| segment::bond_claim(&site, value));
    let bridges = segments().filter_map(|(site, value)| segment::bridge_claim(&site, value));
    let bridge_of = |name: &str| -> Option<IfName> {
        let own = intent.segments.iter().find(|segment| segment.value.name == name);
        own.map_or_else(|| node.bridge_of(name), |segment| bridge_name(&segment.value).ok())
    };
    let hosts = intent.hosts.iter().filter_map(|Sourced { origin, value }| {
        host::claim(&host_site(origin, value), value, &bridge_of(&value.segment)?)
    });
    bonds.chain(bridges).chain(hosts).collect()
}

fn segment_site(origin: &Origin, name: &str) -> Site {
    Site::new(origin, Item::Segment(name.to_owned()))
}

fn host_site(origin: &Origin, host: &HostIntent) -> Site {
    Site::new(origin, Item::Host { segment: host.segment.clone(), index: host.index })
}
