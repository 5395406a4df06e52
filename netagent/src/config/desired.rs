//! All parts together: what one says of another, and what each becomes in the desired state.

use super::{
    at::Section,
    claims::Claims,
    error::Fault,
    host::{self, Subnets},
    name::{ClusterName, NetworkName},
    network::{self, Network, choices},
    qinq, raw,
    room::Room,
    security,
    segment::{Segment, Uplink},
};
use crate::{
    state::{Admit, Desired, Port, PriorityTags, Role, Security},
    vids::VidSet,
};

/// The cluster network that carries the node.
const MGMT: &str = "mgmt";

/// The desired state.
pub fn desired(
    cluster_networks: Section<ClusterName, raw::ClusterNetwork>,
    networks: Section<NetworkName, raw::Network>,
    ports: Vec<raw::Port>,
) -> Result<Desired, Fault> {
    let segments = cluster_networks.0.into_iter().map(|(name, raw)| Segment::new(name, raw));
    let segments: Vec<_> = segments.collect::<Result<_, _>>()?;
    let networks =
        networks.0.into_iter().map(|(name, raw)| network::network(&name, raw, &segments));
    let networks: Vec<_> = networks.collect::<Result<_, _>>()?;
    qinq::check_services(&networks)?;

    // Names that follow from others first: of a clash with a name written by hand, the latter is to blame.
    let mut claims = Claims::default();
    segments.iter().try_for_each(|segment| segment.claim_bond(&mut claims))?;
    segments.iter().try_for_each(|segment| segment.claim_bridge(&mut claims))?;
    let mut desired = Desired::default();
    add_hosts(&mut desired, &segments, &mut claims)?;
    segments.iter().try_for_each(|segment| segment.claim_nics(&mut claims))?;
    let mut room = Room::default();
    for segment in &segments {
        add_segment(&mut desired, segment, &networks, &mut room)?;
    }
    for port in ports {
        let (device, place) = (port.device.value.clone(), port.device.place);
        let port = vm_port(port, &networks, &mut claims)?;
        room.take(&device, place, &port)?;
        desired.ports.insert(device, port);
    }
    Ok(desired)
}

fn add_hosts(
    desired: &mut Desired,
    segments: &[Segment],
    claims: &mut Claims,
) -> Result<(), Fault> {
    let mut subnets = Subnets::default();
    for segment in segments {
        let Some(raw) = &segment.host else { continue };
        let (interface, host) = host::host(segment, raw, &mut subnets)?;
        if host.tagged {
            let use_of_it =
                format!("the host interface of cluster network {}", segment.name.value.0);
            claims.claim(&interface.value, interface.place, use_of_it)?;
        }
        desired.hosts.insert(interface.value, host);
    }
    Ok(())
}

/// A cluster network's bridge, bond and uplink port. Its host is there already.
fn add_segment(
    desired: &mut Desired,
    segment: &Segment,
    networks: &[Network<'_>],
    room: &mut Room,
) -> Result<(), Fault> {
    let bridge = segment.bridge.value.clone();
    let hosts = desired.hosts.iter().filter(|(_, host)| host.bridge == bridge);
    let (interfaces, host_vids): (Vec<_>, VidSet) =
        hosts.map(|(interface, host)| (interface.clone(), host.vid)).unzip();
    if segment.name.value.0 == MGMT {
        desired.protected.insert(bridge.clone());
        desired.protected.extend(interfaces);
        desired.protected.extend(segment.uplink.iter().map(|uplink| uplink.device.clone()));
    }
    desired.bridges.insert(bridge.clone(), segment.bridge());

    let Some(Uplink { device, nics, bond, mtu, native, native_tagged, xdp }) = &segment.uplink
    else {
        return Ok(());
    };
    // A network in the file is in use: a VM that is plugged in later must find its VLAN on the wire.
    let of_segment = || networks.iter().filter(|network| network.segment.bridge.value == bridge);
    let mut vids: VidSet = of_segment().flat_map(|network| network.policy.vids.iter()).collect();
    vids.extend(host_vids.iter().chain(*native));
    let port = Port {
        bridge: bridge.clone(),
        network: segment.name.value.0.clone(),
        role: Role::Uplink { nics: nics.iter().map(|nic| nic.value.clone()).collect(), xdp: *xdp },
        pvid: *native,
        pvid_tagged: *native_tagged,
        vids,
        admit: Admit::All,
        priority_tags: PriorityTags::Never,
        customer_vids: VidSet::default(),
        services: of_segment().filter_map(Network::service).collect(),
        security: Security::default(),
        fast_path: of_segment().map(|network| network.fast_path).max().unwrap_or(segment.fast_path),
        // A bond has its own.
        mtu: if bond.is_some() { None } else { mtu.as_ref().map(|mtu| mtu.value.0) },
        network_mtu: None,
        origin: String::new(),
    };
    room.take(device, segment.name.place, &port)?;
    desired.ports.insert(device.clone(), port);
    if let Some(bond) = bond {
        desired.bonds.insert(device.clone(), bond.clone());
    }
    Ok(())
}

/// The port of a VM.
fn vm_port(raw: raw::Port, networks: &[Network<'_>], claims: &mut Claims) -> Result<Port, Fault> {
    let raw::Port { device, network: name, mtu, security } = raw;
    let Some(network) = networks.iter().find(|network| network.name == name.value.0) else {
        let names: Vec<_> = networks.iter().map(|network| network.name.as_str()).collect();
        return Err(name.fault(format!(
            "there is no network {:?}; {}",
            name.value.0,
            choices(&names)
        )));
    };
    claims.claim(&device.value, device.place, format!("a port of network {}", network.name))?;
    let Network { name, segment, policy, .. } = network;
    if let (Some(mtu), Some(most)) = (&mtu, segment.mtu())
        && mtu.value.0 > most
    {
        let (cluster_network, mtu_wanted) = (&segment.name.value.0, mtu.value.0);
        return Err(mtu.fault(format!(
            "{mtu_wanted} is above the {most} of cluster network {cluster_network}; lower it, or raise uplink.mtu there"
        )));
    }
    if policy.role == Role::Tunnel {
        qinq::check_mtu(
            network,
            device.place,
            mtu.as_ref().map_or(qinq::USUAL_MTU, |mtu| mtu.value.0),
        )?;
    }
    Ok(Port {
        bridge: segment.bridge.value.clone(),
        network: name.clone(),
        role: policy.role.clone(),
        pvid: policy.pvid,
        pvid_tagged: policy.pvid_tagged,
        vids: policy.vids.clone(),
        admit: policy.admit,
        priority_tags: policy.priority_tags,
        customer_vids: policy.customer_vids.clone(),
        services: VidSet::default(),
        security: security::of_port(&network.security, security)?,
        fast_path: network.fast_path,
        mtu: mtu.map(|mtu| mtu.value.0),
        network_mtu: segment.mtu(),
        origin: String::new(),
    })
}
