//! The state of the node: seven dumps, joined by interface index.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context as _;
use libc::{RTM_NEWADDR, RTM_NEWNEIGH, RTM_NEWROUTE, RTM_NEWRULE};
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        link::{LinkAttribute, LinkExtentMask},
    },
};

use super::{
    Failure, Netlink, address, link::Header, neighbour, request, route, rule, skip_stats,
    socket::Reply, sysctl, vlan,
};
use crate::{
    names::IfName,
    state::{Link, Neighbour, Observed, UnnamedLink},
};

impl Netlink {
    /// Reads the links with their addresses and VLANs, the default routes, and the optional parts
    /// of the kernel. A link whose name no configuration can contain has an entry of its own.
    pub async fn observe(&self) -> anyhow::Result<Observed> {
        let kernel = self.probe().await.context("find out which parts this kernel has")?;
        let links = self.links().await.context("list links")?;
        let (mut links, mut unnamed) = named(&links);
        let transmitters = self.netdev.transmitters().await;
        for index in transmitters.context("list devices that support XDP_REDIRECT")? {
            if let Some((_, link)) = links.get_mut(&index) {
                link.takes_xdp_frames = true;
            }
        }
        self.add_vlans(&mut links, &mut unnamed).await.context("list the VLANs of bridge ports")?;
        self.add_addresses(&mut links).await.context("list addresses")?;
        self.add_rules(&mut links).await.context("list rules of others on ports")?;
        let mut observed =
            Observed { links: links.into_values().collect(), unnamed, kernel, ..<_>::default() };
        observed.bridge_netfilter = sysctl::bridge_netfilter();
        self.observe_routes(&mut observed).await?;
        Ok(observed)
    }

    /// `ip -details link show`
    async fn links(&self) -> Result<Vec<Reply>, Failure> {
        let all = LinkMessageBuilder::<LinkUnspec>::new().append_extra_attribute(skip_stats());
        self.socket.dump(RouteNetlinkMessage::GetLink(all.build())).await
    }

    /// `bridge -compressvlans vlan show`
    async fn add_vlans(&self, links: &mut Links, unnamed: &mut Unnamed) -> Result<(), Failure> {
        let mask = LinkAttribute::ExtMask(vec![LinkExtentMask::BrvlanCompressed]);
        let message = LinkMessageBuilder::<LinkUnspec>::new()
            .interface_family(AddressFamily::Bridge)
            .append_extra_attribute(mask)
            .build();
        let replies = self.socket.dump(RouteNetlinkMessage::GetLink(message)).await?;
        for header in replies.iter().filter_map(Reply::new_link).filter_map(Header::read) {
            let link = match links.get_mut(&header.index) {
                Some((_, link)) => Some(link),
                None => unnamed.get_mut(&header.index).map(|unnamed| &mut unnamed.link),
            };
            if let (Some(link), Some(vlans)) = (link, vlan::read(header.attributes)) {
                link.vlans = vlans;
            }
        }
        Ok(())
    }

    /// `ip address show scope global`
    async fn add_addresses(&self, links: &mut Links) -> Result<(), Failure> {
        let replies = self.socket.dump(request::addresses(0)).await?;
        let payloads = replies.iter().filter_map(|reply| reply.of_kind(RTM_NEWADDR));
        for (index, cidr, address) in payloads.filter_map(address::read) {
            if let Some((_, link)) = links.get_mut(&index) {
                link.addresses.insert(cidr, address);
            }
        }
        Ok(())
    }

    /// Reads the routes, the permanent neighbours, and the devices of policy rules. An entry whose
    /// device is not in `observed` is left out.
    pub async fn observe_routes(&self, observed: &mut Observed) -> anyhow::Result<()> {
        let entries = self.routes().await.context("list routes")?;
        let names: HashMap<u32, &IfName> =
            observed.links.iter().map(|(name, link)| (link.index, name)).collect();
        let (mut routes, mut multipath) = (BTreeSet::new(), BTreeSet::new());
        for entry in &entries {
            let mut devices = entry.devices.iter().filter_map(|index| names.get(index).copied());
            if entry.devices.len() > 1 {
                multipath.extend(devices.cloned());
            } else if let Some(device) = devices.next() {
                routes.insert(entry.route(device));
            }
        }
        let replies = self.socket.dump(neighbour::all()).await.context("list neighbours")?;
        let payloads = replies.iter().filter_map(|reply| reply.of_kind(RTM_NEWNEIGH));
        let neighbour = |(index, address, mac)| {
            Some(Neighbour { device: (*names.get(&index)?).clone(), address, mac })
        };
        let neighbours = payloads.filter_map(neighbour::read).filter_map(neighbour).collect();
        let replies = self.socket.dump(rule::all()).await.context("list policy rules")?;
        let payloads = replies.iter().filter_map(|reply| reply.of_kind(RTM_NEWRULE));
        observed.rule_devices = payloads.flat_map(rule::devices).collect();
        (observed.routes, observed.multipath) = (routes, multipath);
        observed.neighbours = neighbours;
        Ok(())
    }

    /// `ip route show table all`, `ip -6 route show table all`
    async fn routes(&self) -> Result<Vec<route::Entry>, Failure> {
        let mut entries = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let replies = match self.socket.dump(request::routes(family)).await {
                // The kernel creates the table with its first route.
                Err(failure) if failure.is(libc::ENOENT) => continue,
                replies => replies?,
            };
            let payloads = replies.iter().filter_map(|reply| reply.of_kind(RTM_NEWROUTE));
            entries.extend(payloads.filter_map(route::Entry::read));
        }
        Ok(entries)
    }
}

/// Links with their names, by index.
pub(super) type Links = BTreeMap<u32, (IfName, Link)>;
/// Links whose names no configuration can contain, by index.
type Unnamed = BTreeMap<u32, UnnamedLink>;

/// Takes two passes: a link may refer to a link that comes later.
fn named(replies: &[Reply]) -> (Links, Unnamed) {
    let headers: Vec<_> =
        replies.iter().filter_map(Reply::new_link).filter_map(Header::read).collect();
    let names: HashMap<u32, IfName> =
        headers.iter().filter_map(|header| Some((header.index, header.name()?))).collect();
    let name_of = |index| names.get(&index).cloned();
    let (mut links, mut unnamed) = (Links::new(), Unnamed::new());
    for header in &headers {
        let link = header.link(&name_of);
        if let Some(name) = name_of(header.index) {
            links.insert(header.index, (name, link));
        } else {
            let name = header.escaped_name();
            unnamed.insert(header.index, UnnamedLink { name, link });
        }
    }
    (links, unnamed)
}
