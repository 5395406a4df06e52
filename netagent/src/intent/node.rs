//! The accepted items of all sources, and the check of one more against them. A check changes
//! nothing until the item has passed all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Item, arp_targets,
    claims::{Claim, Claims},
    host::{self, Subnets},
    items::{HostIntent, LeaseIntent, NetworkIntent, PatternIntent, PortIntent, SegmentIntent},
    lease, mtu,
    network::{self, Network, Policy},
    problem::{Problem, Site},
    qinq,
    room::Room,
    security,
    segment::{self, Segment, Uplink},
};
use crate::{
    names::IfName,
    pattern::DevicePattern,
    state::{Admit, Desired, Host, Lease, Port, PriorityTags, Role, Security},
    vids::VidSet,
};

/// The cluster network that carries the node.
const MGMT: &str = "mgmt";

/// The accepted items.
#[derive(Default)]
pub struct Node {
    segments: BTreeMap<String, Segment>,
    networks: BTreeMap<String, Network>,
    hosts: BTreeMap<IfName, (Host, Site)>,
    ports: BTreeMap<IfName, Port>,
    claims: Claims,
    former_leases: Vec<(IfName, Lease)>,
    subnets: Subnets,
    room: Room,
    patterns: BTreeMap<DevicePattern, Site>,
    /// The rejected items of the current source.
    rejected: BTreeSet<Item>,
}

impl Node {
    /// Begins a source, with its claims to devices that the agent creates.
    pub fn begin_source(&mut self, created: impl Iterator<Item = Claim>) {
        self.claims.set_created(created);
        self.rejected.clear();
    }

    /// Records a rejected item of the current source.
    pub fn reject(&mut self, item: Item) {
        self.rejected.insert(item);
    }

    /// The bridge of an accepted cluster network.
    pub fn bridge_of(&self, segment: &str) -> Option<IfName> {
        self.segments.get(segment).map(|segment| segment.bridge.clone())
    }

    /// Checks and adds a cluster network, on which the node has these interfaces.
    pub fn add_segment(
        &mut self,
        site: &Site,
        intent: &SegmentIntent,
        hosts: &[&HostIntent],
    ) -> Result<(), Problem> {
        if let Some(earlier) = self.segments.get(&intent.name) {
            let text = "another cluster network has this name";
            return Err(Problem::clash("", text, &earlier.site));
        }
        let segment = Segment::new(site, intent)?;
        intent.uplink.iter().try_for_each(|uplink| arp_targets::check(uplink, hosts))?;
        let claims = segment::claims(site, intent);
        self.claims.check(&claims)?;
        if let Some(uplink) = &segment.uplink {
            let need = Room::of_port(segment.vids.len(), &Security::default());
            self.room = self.room.with(need, &uplink.device, "")?;
        }
        self.claims.grant(claims);
        self.segments.insert(intent.name.clone(), segment);
        Ok(())
    }

    /// Makes the bridge of a cluster network promiscuous.
    pub fn set_promiscuous(&mut self, segment: &str) -> Result<(), Problem> {
        self.segment(segment, "")?;
        if let Some(segment) = self.segments.get_mut(segment) {
            segment.promiscuous = true;
        }
        Ok(())
    }

    /// Checks and adds an interface of the node.
    pub fn add_host(&mut self, site: &Site, intent: &HostIntent) -> Result<(), Problem> {
        let segment = self.segment(&intent.segment, "")?;
        let (interface, host) = host::host(intent, segment)?;
        let hosts: Vec<_> =
            self.hosts.iter().map(|(name, (host, site))| (name, host, site)).collect();
        host::check_vlan(intent, &host, &hosts)?;
        mtu::check_bridge(&host, &hosts)?;
        host::check_defaults(&host, &hosts)?;
        let claims: Vec<_> = host::claim(site, intent, &segment.bridge).into_iter().collect();
        self.claims.check(&claims)?;
        let mut networks = self.networks.values().filter(|it| it.segment == segment.name);
        if let Some(vlan) = intent.vlan
            && let Some(network) = networks.find(|network| network.service() == Some(vlan))
        {
            let text = format!("{vlan} is the service VLAN of network {}", network.name);
            return Err(Problem::clash("vlan", text, &network.site));
        }
        let subnets = self.subnets.clone().with(site, &interface, &intent.addresses)?;
        let vids = VidSet::from_iter([host.vid]);
        let need = Room::of_vids(segment.missing(&vids));
        self.room = self.room.with(need, &interface, "")?;
        self.subnets = subnets;
        self.claims.grant(claims);
        if let Some(segment) = self.segments.get_mut(&intent.segment) {
            segment.vids.extend(vids.iter());
            segment.host_vlans.extend(intent.vlan.map(|vlan| (vlan, site.at("vlan"))));
        }
        self.hosts.insert(interface, (host, site.clone()));
        Ok(())
    }

    /// Checks and adds the lease of an interface of the node.
    pub fn add_lease(&mut self, site: &Site, intent: &LeaseIntent) -> Result<(), Problem> {
        let host = self.hosts.get_mut(&intent.interface).map(|(host, _)| host);
        let family = intent.address.family();
        let Some(host) = host.filter(|host| host.dhcp.contains_key(&family)) else {
            if intent.ended.is_none() {
                let lease = lease::former(intent);
                self.former_leases.push((intent.interface.clone(), lease));
            }
            return Ok(());
        };
        let lease = lease::lease(intent, host);
        let addresses = [intent.address];
        let addresses = if intent.ended.is_none() { &addresses[..] } else { &[] };
        self.subnets = self.subnets.clone().with(site, &intent.interface, addresses)?;
        host.dhcp.insert(family, lease);
        Ok(())
    }

    /// Checks and adds a network.
    pub fn add_network(&mut self, site: &Site, intent: &NetworkIntent) -> Result<(), Problem> {
        if let Some(earlier) = self.networks.get(&intent.name) {
            let text = "another network has this name";
            return Err(Problem::clash("", text, &earlier.site));
        }
        let segment = self.segment(&intent.segment, "clusterNetwork")?;
        check_macs_stay(segment)?;
        let network = network::network(site, intent, segment)?;
        qinq::check_service(&network, segment, self.networks.values())?;
        let need = Room::of_vids(segment.missing(&network.policy.vids));
        self.room = self.room.with(need, format_args!("network {}", network.name), "")?;
        if let Some(segment) = self.segments.get_mut(&intent.segment) {
            segment.vids.extend(network.policy.vids.iter());
        }
        self.networks.insert(intent.name.clone(), network);
        Ok(())
    }

    /// Checks and adds a VM port.
    pub fn add_port(&mut self, site: &Site, intent: &PortIntent) -> Result<(), Problem> {
        let PortIntent { device, network, .. } = intent;
        let claim = Claim {
            device: device.clone(),
            purpose: format!("a port of network {}", self.network(network)?.name),
            site: site.at("device"),
        };
        self.claims.check(std::slice::from_ref(&claim))?;
        let port = self.port(site, intent)?;
        let need = Room::of_port(port.vids.len(), &port.security);
        self.room = self.room.with(need, device, "device")?;
        self.claims.grant(vec![claim]);
        self.ports.insert(device.clone(), port);
        Ok(())
    }

    /// Checks a pattern of devices. Each device that matches becomes a port later.
    pub fn add_pattern(&mut self, site: &Site, intent: &PatternIntent) -> Result<(), Problem> {
        let pattern = &intent.device;
        self.port(site, intent)?;
        if let Some(earlier) = self.patterns.get(pattern) {
            let text = format!("\"{pattern}\" is already a pattern; remove one of them");
            return Err(Problem::clash("device", text, earlier));
        }
        let site = site.at("device");
        self.claims.check_pattern(&site, pattern)?;
        self.patterns.insert(pattern.clone(), site);
        Ok(())
    }

    /// Whether an accepted item has a use for a device.
    pub fn has(&self, device: &IfName) -> bool {
        self.claims.is_taken(device)
    }

    /// The bridge of an accepted network.
    pub fn bridge_of_network(&self, network: &str) -> Option<IfName> {
        self.bridge_of(&self.networks.get(network)?.segment)
    }

    /// A port with these properties, at whatever device.
    fn port<Device>(&self, site: &Site, intent: &PortIntent<Device>) -> Result<Port, Problem> {
        let PortIntent { device: _, network, mtu, hairpin, port_isolation, silent, security } =
            intent;
        let network = self.network(network)?;
        let segment = self.segment(&network.segment, "network")?;
        mtu::check(*mtu, segment)?;
        if network.policy.role == Role::Tunnel {
            mtu::check_customer(*mtu, segment)?;
        }
        let security = security::of_port(&network.security, security)?;
        let Policy { role, pvid, pvid_tagged, vids, admit, priority_tags, customer_vids, s_tag: _ } =
            &network.policy;
        Ok(Port {
            origin: site.origin.to_string(),
            bridge: segment.bridge.clone(),
            network: network.name.clone(),
            role: role.clone(),
            pvid: *pvid,
            pvid_tagged: *pvid_tagged,
            vids: vids.clone(),
            admit: *admit,
            priority_tags: *priority_tags,
            customer_vids: customer_vids.clone(),
            services: VidSet::default(),
            security,
            fast_path: network.fast_path,
            mtu: *mtu,
            hairpin: *hairpin,
            port_isolation: *port_isolation,
            silent: silent.unwrap_or_default(),
            pod: site.origin.pod().cloned(),
        })
    }

    /// The accepted cluster network that an item refers to by `key`.
    fn segment(&self, name: &str, key: &str) -> Result<&Segment, Problem> {
        let item = Item::Segment(name.to_owned());
        self.refer(&self.segments, name, &item, key, "cluster network")
    }

    /// The accepted network that a port refers to.
    fn network(&self, name: &str) -> Result<&Network, Problem> {
        let item = Item::Network(name.to_owned());
        self.refer(&self.networks, name, &item, "network", "network")
    }

    /// A rejected item of the current source hides an accepted one of another source: a VM must not
    /// end up in a network that has only the name of its own.
    fn refer<'a, T>(
        &self,
        accepted: &'a BTreeMap<String, T>,
        name: &str,
        item: &Item,
        key: &str,
        noun: &str,
    ) -> Result<&'a T, Problem> {
        if self.rejected.contains(item) {
            return Err(Problem::new(key, format!("{item} is itself rejected; correct it first")));
        }
        accepted.get(name).ok_or_else(|| {
            let names: Vec<_> = accepted.keys().map(String::as_str).collect();
            Problem::new(key, format!("there is no {noun} {name:?}; {}", choices(&names)))
        })
    }

    /// The desired state of all accepted items.
    pub fn desired(self) -> Desired {
        let Self { segments, networks, hosts, former_leases, ports, .. } = self;
        let mut desired = Desired {
            hosts: hosts.into_iter().map(|(interface, (host, _))| (interface, host)).collect(),
            former_leases,
            ports,
            ..Desired::default()
        };
        for segment in segments.values() {
            if segment.name == MGMT {
                let hosts = desired.hosts.iter().filter(|(_, host)| host.bridge == segment.bridge);
                desired.protected.extend(hosts.map(|(interface, _)| interface.clone()));
                desired.protected.insert(segment.bridge.clone());
                desired.protected.extend(segment.uplink.iter().map(|uplink| uplink.device.clone()));
            }
            desired.bridges.insert(segment.bridge.clone(), segment.bridge());
            let Some(uplink) = &segment.uplink else { continue };
            desired.ports.insert(uplink.device.clone(), uplink_port(segment, uplink, &networks));
            let bond = uplink.bond.iter().map(|bond| (uplink.device.clone(), bond.clone()));
            desired.bonds.extend(bond);
        }
        desired
    }
}

/// The bridge port of an uplink. It has the VIDs of all networks, with or without a VM: a VM that
/// is plugged in later must find its VLAN on the wire.
fn uplink_port(segment: &Segment, uplink: &Uplink, networks: &BTreeMap<String, Network>) -> Port {
    let networks = || networks.values().filter(|network| network.segment == segment.name);
    Port {
        origin: segment.site.origin.to_string(),
        bridge: segment.bridge.clone(),
        network: segment.name.clone(),
        role: Role::Uplink { nics: uplink.nics.iter().cloned().collect(), xdp: uplink.xdp },
        pvid: uplink.native,
        pvid_tagged: uplink.native_tagged,
        vids: segment.vids.clone(),
        admit: Admit::All,
        priority_tags: PriorityTags::Never,
        customer_vids: VidSet::default(),
        services: networks().filter_map(Network::service).collect(),
        security: Security::default(),
        fast_path: networks().map(|network| network.fast_path).max().unwrap_or(segment.fast_path),
        // A bond's MTU is that of the bond itself.
        mtu: uplink.mtu.filter(|_| uplink.bond.is_none()),
        hairpin: None,
        port_isolation: None,
        silent: false,
        pod: None,
    }
}

/// Refuses VMs whose frames would leave with the MAC address of a NIC.
fn check_macs_stay(segment: &Segment) -> Result<(), Problem> {
    let Some(mode) = segment.rewrites_macs else { return Ok(()) };
    let text = format!(
        "the bond of cluster network {} has mode {mode}, which replaces the source MAC address of \
         VMs' frames; choose another mode, or allow it there: uplink.bond.allowMacRewrite",
        segment.name
    );
    Err(Problem::new("clusterNetwork", text))
}

/// The names that are defined.
fn choices(names: &[&str]) -> String {
    /// A longer list does not help.
    const SHOWN: usize = 8;
    match names {
        [] => "none is defined".to_owned(),
        some if some.len() <= SHOWN => format!("defined: {}", some.join(", ")),
        some => format!("defined: {} and {} more", some[..SHOWN].join(", "), some.len() - SHOWN),
    }
}
