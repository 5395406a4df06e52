//! The keys of a file become the items of an intent.

use super::{
    Config,
    error::Place,
    keys::{
        BondKeys, ClusterNetworkKeys, FileKeys, HostKeys, NetworkKeys, PortKeys, RouteKeys,
        SecurityKeys, StormKeys, UplinkKeys,
    },
    shapes::{List, Mappings, Placed, Scalar},
    value::{BondMode, DhcpFamilies, Metric, Mtu, PortDevice, Xdp},
};
use crate::{
    bond::Mode,
    intent::{
        BondIntent, HostIntent, Intent, NetworkIntent, Origin, PortIntent, RouteIntent,
        SecurityIntent, SegmentIntent, Sourced, StormIntent, UplinkIntent,
    },
    state::Filtering,
    vids::VidSet,
};

/// The contents of a file; `path` is its name in origins.
pub fn config(file: FileKeys, path: &str) -> Config {
    let FileKeys { cluster_networks, networks, ports, metrics, probes } = file;
    let mut intent = Intent::default();
    let origin = |Place { line, column }| Origin::File { path: path.to_owned(), line, column };
    for (name, value) in cluster_networks.unwrap_or_default().0 {
        let origin = origin(name.place);
        let (segment, hosts) = segment(name.value.0.0, value);
        let hosts = hosts.into_iter().map(|value| Sourced { origin: origin.clone(), value });
        intent.hosts.extend(hosts);
        intent.segments.push(Sourced { origin, value: segment });
    }
    for (Placed { value: Scalar(name), place }, value) in networks.unwrap_or_default().0 {
        let value = network(name.0, value);
        intent.networks.push(Sourced { origin: origin(place), value });
    }
    for Placed { value, place } in ports.unwrap_or_default() {
        let (origin, port) = (origin(place), port(value));
        match port.device.clone() {
            PortDevice::Named(device) => {
                intent.ports.push(Sourced { origin, value: port.at(device) });
            }
            PortDevice::Matching(pattern) => {
                intent.patterns.push(Sourced { origin, value: port.at(pattern) });
            }
        }
    }
    let listen = metrics.and_then(|metrics| scalar(metrics.listen)).unwrap_or_default();
    let probes = probes.map(|List(probes)| probes).unwrap_or_default();
    Config { intent, metrics: listen.0, probes, text: String::new() }
}

fn scalar<T>(value: Option<Scalar<T>>) -> Option<T> {
    value.map(|Scalar(value)| value)
}

fn segment(name: String, keys: ClusterNetworkKeys) -> (SegmentIntent, Vec<HostIntent>) {
    let ClusterNetworkKeys {
        bridge,
        vlan_filtering,
        multicast_snooping,
        uplink: uplink_keys,
        host,
        fast_path,
    } = keys;
    let hosts = match host {
        None => Vec::new(),
        Some(Mappings::One(keys)) => vec![host_interface(&name, None, *keys)],
        Some(Mappings::Many(list)) => {
            let hosts = list.into_iter().enumerate();
            hosts.map(|(index, keys)| host_interface(&name, Some(index), keys)).collect()
        }
    };
    let segment = SegmentIntent {
        name,
        bridge: scalar(bridge),
        filtering: scalar(vlan_filtering).unwrap_or(Filtering::Auto),
        snooping: scalar(multicast_snooping),
        uplink: uplink_keys.map(uplink),
        fast_path: scalar(fast_path).unwrap_or_default(),
    };
    (segment, hosts)
}

fn host_interface(segment: &str, index: Option<usize>, keys: HostKeys) -> HostIntent {
    let HostKeys { vlan, mtu, address, gateway, metric, routes, dhcp, accept_ra, keep_foreign } =
        keys;
    let route = |RouteKeys { to: Scalar(to), via }| RouteIntent { to, via: scalar(via) };
    HostIntent {
        segment: segment.to_owned(),
        index,
        vlan: scalar(vlan),
        mtu: scalar(mtu).map(|Mtu(bytes)| bytes),
        addresses: address.map(|List(addresses)| addresses).unwrap_or_default(),
        gateways: gateway.map(|List(gateways)| gateways).unwrap_or_default(),
        metric: scalar(metric).map(|Metric(metric)| metric),
        routes: routes.unwrap_or_default().into_iter().map(route).collect(),
        dhcp: scalar(dhcp).map(|DhcpFamilies(families)| families).unwrap_or_default(),
        accept_ra: scalar(accept_ra),
        keep_foreign: scalar(keep_foreign).unwrap_or(true),
    }
}

fn uplink(keys: UplinkKeys) -> UplinkIntent {
    let UplinkKeys { nics, bond: bond_keys, mtu, tx_queue_len, mac, native, native_tagged, xdp } =
        keys;
    UplinkIntent {
        nics: nics.0,
        bond: bond(bond_keys.unwrap_or_default()),
        mtu: scalar(mtu).map(|Mtu(bytes)| bytes),
        tx_queue_len: scalar(tx_queue_len).map(|length| length.0),
        mac: scalar(mac),
        native: scalar(native),
        native_tagged: scalar(native_tagged).unwrap_or_default(),
        xdp: scalar(xdp).is_none_or(|xdp| xdp == Xdp::Auto),
    }
}

fn bond(keys: BondKeys) -> BondIntent {
    let BondKeys {
        mode,
        name,
        miimon,
        updelay,
        downdelay,
        arp_interval,
        arp_targets,
        ns_targets,
        arp_validate,
        primary,
        fail_over_mac,
        xmit_hash_policy,
        num_grat_arp,
        min_links,
        lacp_rate,
        ad_select,
        allow_mac_rewrite,
    } = keys;
    BondIntent {
        mode: scalar(mode).map_or(Some(Mode::ActiveBackup), |BondMode(mode)| mode),
        name: scalar(name),
        miimon: scalar(miimon).map(|time| time.0),
        updelay: scalar(updelay).map(|time| time.0),
        downdelay: scalar(downdelay).map(|time| time.0),
        arp_interval: scalar(arp_interval).map(|time| time.0),
        arp_targets: arp_targets.map(|List(addresses)| addresses),
        ns_targets: ns_targets.map(|List(addresses)| addresses),
        arp_validate: scalar(arp_validate),
        primary: scalar(primary),
        fail_over_mac: scalar(fail_over_mac),
        xmit_hash_policy: scalar(xmit_hash_policy),
        num_grat_arp: scalar(num_grat_arp).map(|count| count.0),
        min_links: scalar(min_links).map(|count| count.0),
        lacp_rate: scalar(lacp_rate),
        ad_select: scalar(ad_select),
        allow_mac_rewrite: scalar(allow_mac_rewrite),
    }
}

fn network(name: String, keys: NetworkKeys) -> NetworkIntent {
    let NetworkKeys {
        cluster_network: Scalar(segment),
        vlan,
        trunk,
        native,
        native_tagged,
        qinq,
        customer_vids,
        tpid,
        admit,
        priority_tags,
        security: security_keys,
        fast_path,
    } = keys;
    NetworkIntent {
        name,
        segment: segment.0,
        vlan: scalar(vlan),
        trunk: trunk.map(union),
        native: scalar(native),
        native_tagged: scalar(native_tagged),
        qinq: scalar(qinq),
        customer_vids: customer_vids.map(union),
        tpid: scalar(tpid),
        admit: scalar(admit),
        priority_tags: scalar(priority_tags),
        security: security(security_keys),
        fast_path: scalar(fast_path),
    }
}

fn union(List(sets): List<VidSet>) -> VidSet {
    sets.iter().flat_map(VidSet::iter).collect()
}

fn port(keys: PortKeys) -> PortIntent<PortDevice> {
    let PortKeys { device, network, mtu, hairpin, port_isolation, silent, security: security_keys } =
        keys;
    PortIntent {
        device: device.0,
        network: network.0.0,
        mtu: scalar(mtu).map(|Mtu(bytes)| bytes),
        hairpin: scalar(hairpin),
        port_isolation: scalar(port_isolation),
        silent: scalar(silent),
        security: security(security_keys),
    }
}

fn security(keys: Option<SecurityKeys>) -> SecurityIntent {
    let SecurityKeys {
        macs,
        addresses,
        max_macs,
        dhcp_guard,
        ra_guard,
        mcast_querier_guard,
        isolated,
        allow_link_local,
        storm,
    } = keys.unwrap_or_default();
    let StormKeys { broadcast, multicast, unknown } = storm.unwrap_or_default();
    SecurityIntent {
        macs: macs.map(|List(macs)| macs),
        addresses: addresses.map(|List(addresses)| addresses),
        max_macs: scalar(max_macs).map(|limit| limit.0),
        dhcp_guard: scalar(dhcp_guard),
        ra_guard: scalar(ra_guard),
        mcast_querier_guard: scalar(mcast_querier_guard),
        isolated: scalar(isolated),
        allow_link_local: scalar(allow_link_local),
        storm: StormIntent {
            broadcast: scalar(broadcast).map(|rate| rate.0),
            multicast: scalar(multicast).map(|rate| rate.0),
            unknown: scalar(unknown).map(|rate| rate.0),
        },
    }
}
