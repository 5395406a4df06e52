//! The state of the node: five dumps, joined by interface index.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context as _;
use libc::{RTM_NEWADDR, RTM_NEWROUTE};
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        link::{LinkAttribute, LinkExtentMask},
    },
};

use super::{
    Failure, Netlink, address, link::Header, request, route, skip_stats, socket::Reply, vlan,
};
use crate::{
    names::IfName,
    state::{Link, Observed},
};

impl Netlink {
    /// Reads the links with their addresses and VLANs, the default routes, and the optional parts
    /// of the kernel. A link whose name no configuration can contain is left out.
    pub async fn observe(&self) -> anyhow::Result<Observed> {
        let kernel = self.probe().await.context("find out which parts this kernel has")?;
        let links = self.links().await.context("list links")?;
        let mut links = named(&links);
        let transmitters = self.netdev.transmitters().await;
        for index in transmitters.context("list devices that support XDP_REDIRECT")? {
            if let Some((_, link)) = links.get_mut(&index) {
                link.takes_xdp_frames = true;
            }
        }
        self.add_vlans(&mut links).await.context("list the VLANs of bridge ports")?;
        self.add_addresses(&mut links).await.context("list addresses")?;
        let devices = self.default_devices().await.context("list default routes")?;
        let default_routes =
            devices.iter().filter_map(|index| Some(links.get(index)?.0.clone())).collect();
        let links = links.into_values().collect();
        Ok(Observed { links, default_routes, kernel, ..Observed::default() })
    }

    /// `ip -details link show`
    async fn links(&self) -> Result<Vec<Reply>, Failure> {
        let all = LinkMessageBuilder::<LinkUnspec>::new().append_extra_attribute(skip_stats());
        self.socket.dump(RouteNetlinkMessage::GetLink(all.build())).await
    }

    /// `bridge -compressvlans vlan show`
    async fn add_vlans(&self, links: &mut Links) -> Result<(), Failure> {
        let mask = LinkAttribute::ExtMask(vec![LinkExtentMask::BrvlanCompressed]);
        let message = LinkMessageBuilder::<LinkUnspec>::new()
            .interface_family(AddressFamily::Bridge)
            .append_extra_attribute(mask)
            .build();
        let replies = self.socket.dump(RouteNetlinkMessage::GetLink(message)).await?;
        for header in replies.iter().filter_map(Reply::new_link).filter_map(Header::read) {
            if let (Some((_, link)), Some(vlans)) =
                (links.get_mut(&header.index), vlan::read(header.attributes))
            {
                link.vlans = vlans;
            }
        }
        Ok(())
    }

    /// `ip address show scope global`
    async fn add_addresses(&self, links: &mut Links) -> Result<(), Failure> {
        let replies = self.socket.dump(request::addresses(0)).await?;
        let payloads = replies.iter().filter_map(|reply| reply.of_kind(RTM_NEWADDR));
        for (index, address) in payloads.filter_map(address::read) {
            if let Some((_, link)) = links.get_mut(&index) {
                link.addresses.insert(address);
            }
        }
        Ok(())
    }

    /// `ip route show default`, `ip -6 route show default`
    pub(super) async fn default_devices(&self) -> Result<BTreeSet<u32>, Failure> {
        let mut devices = BTreeSet::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let replies = match self.socket.dump(request::routes(family)).await {
                // The kernel creates the table with its first route.
                Err(failure) if failure.is(libc::ENOENT) => continue,
                replies => replies?,
            };
            let payloads = replies.iter().filter_map(|reply| reply.of_kind(RTM_NEWROUTE));
            devices.extend(payloads.flat_map(route::devices));
        }
        Ok(devices)
    }
}

/// Links with their names, by index.
type Links = BTreeMap<u32, (IfName, Link)>;

/// Takes two passes: a link may refer to a link that comes later.
fn named(replies: &[Reply]) -> Links {
    let headers: Vec<_> =
        replies.iter().filter_map(Reply::new_link).filter_map(Header::read).collect();
    let names: HashMap<u32, IfName> =
        headers.iter().filter_map(|header| Some((header.index, header.name()?))).collect();
    let name_of = |index| names.get(&index).cloned();
    headers
        .iter()
        .filter_map(|header| Some((header.index, (name_of(header.index)?, header.link(&name_of)))))
        .collect()
}
