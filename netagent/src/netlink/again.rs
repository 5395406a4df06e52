//! Looks at single links again. The number of system calls depends on the number of these links
//! only, not on the number of links of the node.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use anyhow::Context as _;
use libc::RTM_NEWADDR;
use rtnetlink::{LinkUnspec, packet_route::RouteNetlinkMessage};

use super::{Failure, Netlink, address, link::Header, request, skip_stats, socket::Reply, vlan};
use crate::{
    bond::BondOption,
    names::{Cidr, IfName},
    state::{Address, Kind, Link, Observed, UnnamedLink},
};

/// Reading all links takes fewer system calls than reading more than this many one by one.
const MOST: usize = 32;

impl Netlink {
    /// Reads the links with these indexes again and replaces their entries in `observed`. A link
    /// that does not exist any more is removed.
    ///
    /// Returns false and does not touch `observed` if all links must be read: if a link was
    /// renamed, the entry of another link would change as well, or there are too many indexes.
    pub async fn observe_again(
        &self,
        observed: &mut Observed,
        indexes: &BTreeSet<u32>,
    ) -> anyhow::Result<bool> {
        if indexes.len() > MOST {
            return Ok(false);
        }
        let fresh = match self.read_links(observed, indexes).await {
            Ok(Some(fresh)) => fresh,
            // A link vanished between two requests.
            Err(failure) if failure.is(libc::ENODEV) => return Ok(false),
            Ok(None) => return Ok(false),
            Err(failure) => return Err(failure).context("read links again"),
        };
        let before: Vec<_> =
            observed.links.extract_if(.., |_, link| indexes.contains(&link.index)).collect();
        let Fresh { links, unnamed } = fresh;
        observed.links.extend(links);
        observed.unnamed.retain(|index, _| !indexes.contains(index));
        observed.unnamed.extend(unnamed);
        if before.iter().any(|(name, link)| may_lose_routes(observed, name, link)) {
            self.observe_routes(observed).await?;
        }
        Ok(true)
    }

    /// The links with these indexes; `None` where this is not enough.
    async fn read_links(
        &self,
        observed: &Observed,
        indexes: &BTreeSet<u32>,
    ) -> Result<Option<Fresh>, Failure> {
        let mut replies = Vec::new();
        for index in indexes {
            replies.extend(self.link_reply(*index).await?);
        }
        let headers: Vec<_> =
            replies.iter().filter_map(Reply::new_link).filter_map(Header::read).collect();
        let Some(mut links) = named(observed, indexes, &headers) else { return Ok(None) };
        let mut fresh = Fresh::default();
        for (header, name, link) in &mut links {
            let is_bridge = matches!(link.kind, Kind::Bridge(_));
            if observed.kernel.vlan_filtering && (is_bridge || header.is_bridge_port()) {
                link.vlans = self.vlans_of(link.index).await?;
            }
            let Some(name) = name else { continue };
            link.addresses = self.addresses_of(link.index).await?;
            link.takes_xdp_frames = self.netdev.transmits(link.index).await?;
            self.read_rules(name, link).await?;
        }
        for (header, name, link) in links {
            if let Some(name) = name {
                fresh.links.insert(name, link);
            } else {
                let name = header.escaped_name();
                fresh.unnamed.insert(header.index, UnnamedLink { name, link });
            }
        }
        Ok(Some(fresh))
    }

    /// `ip -details link show` for the link with this index; `None`: it does not exist.
    pub(super) async fn link_reply(&self, index: u32) -> Result<Option<Reply>, Failure> {
        let link = LinkUnspec::new_with_index(index).append_extra_attribute(skip_stats());
        let request = RouteNetlinkMessage::GetLink(link.build());
        match self.socket.request(request, 0).await {
            Err(failure) if failure.is(libc::ENODEV) => Ok(None),
            replies => Ok(replies?.into_iter().find(|reply| reply.new_link().is_some())),
        }
    }

    /// `bridge vlan show dev DEV`
    async fn vlans_of(&self, index: u32) -> Result<vlan::Vlans, Failure> {
        match self.socket.dump(request::vlans(index)).await {
            // The port left its bridge meanwhile.
            Err(failure) if failure.is(libc::EINVAL) => Ok(vlan::Vlans::new()),
            replies => {
                let replies = replies?;
                let payloads =
                    replies.iter().filter_map(|reply| reply.of_kind(request::RTM_NEWVLAN));
                Ok(payloads.flat_map(vlan::entries).collect())
            }
        }
    }

    /// `ip address show dev DEV scope global`
    pub(super) async fn addresses_of(
        &self,
        index: u32,
    ) -> Result<BTreeMap<Cidr, Address>, Failure> {
        let replies = self.socket.dump(request::addresses(index)).await?;
        let payloads = replies.iter().filter_map(|reply| reply.of_kind(RTM_NEWADDR));
        let addresses = payloads.filter_map(address::read).filter(|(of, ..)| *of == index);
        Ok(addresses.map(|(_, cidr, address)| (cidr, address)).collect())
    }

    /// The addresses that the node uses on a link, those of link scope too, and whether it is an
    /// IPv6 router there.
    pub async fn own_addresses(&self, index: u32) -> Result<(Vec<IpAddr>, bool), Failure> {
        let link = self.link_reply(index).await?;
        let header = link.as_ref().and_then(Reply::new_link).and_then(Header::read);
        let is_router = header.is_some_and(|header| header.is_router());
        let replies = self.socket.dump(request::addresses(index)).await?;
        let payloads = replies.iter().filter_map(|reply| reply.of_kind(RTM_NEWADDR));
        let addresses = payloads.filter_map(address::in_use).filter(|(of, _)| *of == index);
        Ok((addresses.map(|(_, address)| address).collect(), is_router))
    }
}

/// The links that were read again.
#[derive(Default)]
struct Fresh {
    links: BTreeMap<IfName, Link>,
    /// Those whose name no configuration can contain.
    unnamed: BTreeMap<u32, UnnamedLink>,
}

/// A link with its message and its name, if a configuration can contain that.
type Named<'a, 'b> = (&'a Header<'b>, Option<IfName>, Link);

/// The links that these messages describe. `None` if a link was renamed, if the name of a link that
/// they refer to is not known, or if another link refers to a link that does not exist any more.
fn named<'a, 'b>(
    observed: &Observed,
    indexes: &BTreeSet<u32>,
    headers: &'a [Header<'b>],
) -> Option<Vec<Named<'a, 'b>>> {
    let before: HashMap<u32, &IfName> =
        observed.links.iter().map(|(name, link)| (link.index, name)).collect();
    let fresh: BTreeMap<u32, IfName> =
        headers.iter().filter_map(|header| Some((header.index, header.name()?))).collect();
    let is_renamed = |header: &Header| {
        let known = before.get(&header.index).copied();
        known.is_some() && known != fresh.get(&header.index)
    };
    let is_taken = |(index, name): (&u32, &IfName)| {
        let holder = observed.link(name).map(|link| link.index);
        holder.is_some_and(|holder| holder != *index && !indexes.contains(&holder))
    };
    let gone: BTreeSet<&IfName> = indexes
        .iter()
        .filter(|index| !fresh.contains_key(index))
        .filter_map(|index| before.get(index).copied())
        .collect();
    let is_stale = |link: &Link| {
        !indexes.contains(&link.index) && named_by(link).any(|name| gone.contains(name))
    };
    if headers.iter().any(is_renamed)
        || fresh.iter().any(is_taken)
        || (!gone.is_empty() && observed.links.values().any(is_stale))
    {
        return None;
    }
    let unknown = Cell::new(false);
    let name_of = |index| {
        let name = match fresh.get(&index) {
            None if !indexes.contains(&index) => before.get(&index).copied(),
            name => name,
        };
        unknown.set(unknown.get() || name.is_none());
        name.cloned()
    };
    let links: Vec<_> = headers
        .iter()
        .map(|header| (header, fresh.get(&header.index).cloned(), header.link(&name_of)))
        .collect();
    (!unknown.get()).then_some(links)
}

/// The links that a link refers to.
fn named_by(link: &Link) -> impl Iterator<Item = &IfName> {
    let (bond, parent) = match &link.kind {
        Kind::Bond(bond) => (Some(bond), None),
        Kind::Vlan { parent, .. } => (None, parent.as_ref()),
        Kind::Bridge(_) | Kind::Other(_) => (None, None),
    };
    let primary =
        bond.into_iter().flat_map(|bond| &bond.options).filter_map(|option| match option {
            BondOption::Primary(name) => name.as_ref(),
            _ => None,
        });
    let active = bond.and_then(|bond| bond.active.as_ref());
    let lower = link.lower.as_ref();
    link.controller.iter().chain(parent).chain(active).chain(primary).chain(lower)
}

/// Whether routes may have changed without a notification: the kernel removes an IPv4
/// route with its device and, before Linux 6.7, with its preferred source address.
fn may_lose_routes(observed: &Observed, name: &IfName, before: &Link) -> bool {
    let after = observed.link(name);
    let lost_address = before.addresses.keys().any(|cidr| {
        cidr.address.is_ipv4() && after.is_none_or(|after| !after.addresses.contains_key(cidr))
    });
    lost_address || observed.routes_of(name).next().is_some()
}
