//! Attachments as items: each a port; for each combination of bridge and VLANs a network; for each
//! bridge that the file does not name a cluster network without an uplink.

use std::collections::BTreeSet;

use netagent_cni::{Attachment, Owner};
use netagent_common::vlan::Vid;

use super::{Bridge, Kept};
use crate::{
    config::Extra,
    intent::{
        HostIntent, Intent, Native, NetworkIntent, Origin, PortIntent, SecurityIntent,
        SegmentIntent, Sourced,
    },
    names::{Cidr, IfName},
    state::{FastPath, Filtering, Observed, PodInterface},
    vids::VidSet,
};

/// All items.
pub fn intent(kept: &Kept, file: Option<&Intent>) -> Intent {
    let mut intent = Intent::default();
    let mut networks = BTreeSet::new();
    for (name, bridge) in &kept.bridges {
        let origin = Origin::Containers(name.clone());
        let segment = segment_of(name, file).unwrap_or_else(|| {
            let segment = SegmentIntent {
                name: name.to_string(),
                bridge: Some(name.clone()),
                filtering: match bridge {
                    Bridge { created: true, aware: false, .. } => Filtering::Off,
                    _ => Filtering::Auto,
                },
                snooping: None,
                uplink: None,
                fast_path: FastPath::default(),
            };
            intent.segments.push(Sourced { origin: origin.clone(), value: segment });
            name.to_string()
        });
        if bridge.promiscuous {
            intent.promiscuous.push(Sourced { origin: origin.clone(), value: segment.clone() });
        }
        for (vlan, gateways) in &bridge.gateways {
            let host = host(&segment, *vlan, gateways, bridge.forced);
            intent.hosts.push(Sourced { origin: origin.clone(), value: host });
        }
    }
    for attachment in &kept.attachments {
        let origin = origin(attachment);
        // What cannot be read was refused when it came.
        let (Ok(bridge), Ok(device), Ok(extra)) =
            (attachment.bridge.parse(), attachment.device.parse(), extra(attachment))
        else {
            continue;
        };
        let name = extra.network.clone().unwrap_or_else(|| {
            let segment = segment_of(&bridge, file).unwrap_or_else(|| bridge.to_string());
            let network = network(attachment, &extra, segment);
            let name = network.name.clone();
            if networks.insert(name.clone()) {
                intent.networks.push(Sourced { origin: origin.clone(), value: network });
            }
            name
        });
        let port = port(attachment, &extra, device, name);
        intent.ports.push(Sourced { origin, value: port });
    }
    intent
}

/// The cluster network of the file that has this bridge.
fn segment_of(bridge: &IfName, file: Option<&Intent>) -> Option<String> {
    let mut segments = file?.segments.iter().map(|segment| &segment.value);
    let is_its = |segment: &&SegmentIntent| match &segment.bridge {
        Some(name) => name == bridge,
        None => format!("{}-br", segment.name) == bridge.as_str(),
    };
    segments.find(is_its).map(|segment| segment.name.clone())
}

/// The origin of the items of an attachment: its pod, otherwise its container.
pub fn origin(attachment: &Attachment) -> Origin {
    let interface = attachment.ifname.clone();
    match attachment.owner.clone() {
        Some(Owner { namespace, pod }) => Origin::Pod(PodInterface { namespace, pod, interface }),
        None => Origin::Container { id: attachment.container_id.clone(), interface },
    }
}

/// The key `netagent` of the configuration.
pub fn extra(attachment: &Attachment) -> Result<Extra, String> {
    let text = serde_json::to_string(&attachment.extra).map_err(|error| error.to_string())?;
    Extra::read(&text).map_err(|error| format!("netagent: {error}"))
}

/// The network of an attachment. Its name says what it is, so that it is the same for each pod.
fn network(attachment: &Attachment, extra: &Extra, segment: String) -> NetworkIntent {
    let Attachment { bridge, vlan, trunk, extra: keys, .. } = attachment;
    let vids: VidSet = trunk.iter().copied().filter_map(Vid::new).collect();
    let vlan = Vid::new(*vlan);
    let what = match (vlan, vids.is_empty()) {
        (None, true) => "untagged".to_owned(),
        (Some(vid), true) => vid.to_string(),
        (None, false) => vids.to_string(),
        (Some(vid), false) => format!("{vids} native {vid}"),
    };
    let others = keys.iter().filter(|(key, _)| !["security", "silent"].contains(&key.as_str()));
    let others: Vec<String> = others.map(|(key, value)| format!(" {key}={value}")).collect();
    let mut network = NetworkIntent {
        name: format!("{bridge}/{what}{}", others.concat()).replace('"', ""),
        segment,
        vlan: vlan.filter(|_| vids.is_empty()),
        // As the bridge plugin: a trunk without `vlan` has the native VLAN 1.
        native: (!vids.is_empty()).then_some(Native(vlan.or(Some(Vid::MIN)))),
        trunk: (!vids.is_empty()).then_some(vids),
        native_tagged: None,
        qinq: None,
        customer_vids: None,
        tpid: None,
        admit: None,
        priority_tags: None,
        security: SecurityIntent::default(),
        fast_path: None,
    };
    extra.extend(&mut network);
    network
}

fn port(attachment: &Attachment, extra: &Extra, device: IfName, network: String) -> PortIntent {
    let mut security = extra.security.clone();
    if let Some(mac) = attachment.only_mac.as_deref().and_then(|mac| mac.parse().ok()) {
        security.macs.get_or_insert_with(|| vec![mac]);
    }
    // Its MTU is that of the pair, which the plugin has made.
    // Also off: the network of a running pod may have changed.
    let (hairpin, port_isolation) = (Some(attachment.hairpin), Some(attachment.isolated));
    let silent = extra.silent;
    PortIntent { device, network, mtu: None, hairpin, port_isolation, silent, security }
}

fn host(segment: &str, vlan: u16, gateways: &BTreeSet<Cidr>, forced: bool) -> HostIntent {
    HostIntent {
        segment: segment.to_owned(),
        index: None,
        vlan: Vid::new(vlan),
        mtu: None,
        addresses: gateways.iter().copied().collect(),
        gateways: vec![],
        metric: None,
        routes: vec![],
        dhcp: BTreeSet::new(),
        // Its routes are those of the node.
        accept_ra: Some(false),
        keep_foreign: !forced,
    }
}

/// Adds the gateways of an attachment to its bridge. As the bridge plugin: a bridge has one IPv4
/// address, and IPv6 addresses whose subnets do not overlap.
pub fn add_gateways(
    bridge: &mut Bridge,
    name: &IfName,
    attachment: &Attachment,
    links: &Observed,
) -> Result<(), String> {
    let interface = match attachment.vlan {
        0 => name.clone(),
        vlan => format!("{name}.{vlan}").parse()?,
    };
    bridge.forced |= attachment.force_address;
    let known = bridge.gateways.entry(attachment.vlan).or_default();
    for text in &attachment.gateways {
        let gateway: Cidr = text.parse()?;
        let found = links.link(&interface).into_iter().flat_map(|link| link.addresses.keys());
        let others: Vec<Cidr> = found.chain(known.iter()).copied().collect();
        if others.contains(&gateway) {
            known.insert(gateway);
            continue;
        }
        let clashes = |other: &&Cidr| {
            let is_v4 = gateway.address.is_ipv4();
            other.address.is_ipv4() == is_v4
                && (is_v4 || other.contains(gateway.address) || gateway.contains(other.address))
        };
        if others.iter().any(|other| clashes(&other)) {
            if !attachment.force_address {
                return Err(format!(
                    "{:?} already has an IP address different from {gateway}",
                    interface.as_str()
                ));
            }
            known.retain(|other| !clashes(&other));
        }
        known.insert(gateway);
    }
    Ok(())
}
