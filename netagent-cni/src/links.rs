//! The links of one network namespace, by rtnetlink.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd as _, BorrowedFd},
};

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection,
    packet_core::{DefaultNla, ErrorMessage},
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressFlags},
        link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage, State},
        route::{
            RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
        },
    },
};

use crate::netns::Netns;

/// `IFLA_IFALIAS` (include/uapi/linux/if_link.h)
const IFLA_IFALIAS: u16 = 20;
/// ENODEV
const NO_DEVICE: i32 = 19;
/// EEXIST
pub const EXISTS: i32 = 17;

/// The links of a namespace.
pub struct Links {
    handle: Handle,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its interface index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address, with colons.
    pub mac: String,
    /// Its alias; empty: it has none.
    pub alias: String,
    /// The kind: `veth`, `bridge`; empty: hardware.
    pub kind: String,
    /// MTU in bytes.
    pub mtu: u32,
    /// Index of its bridge.
    pub bridge: Option<u32>,
    /// Whether its operational state is up.
    pub is_up: bool,
    /// How many asked for promiscuous mode.
    pub promiscuous: u32,
}

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address itself.
    pub ip: IpAddr,
    /// The prefix length.
    pub prefix: u8,
    /// Whether the kernel still looks for duplicates.
    pub is_tentative: bool,
    /// Whether it has found one.
    pub is_duplicate: bool,
}

/// A route to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination and its prefix length.
    pub to: (IpAddr, u8),
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The table; `None`: main.
    pub table: Option<u32>,
    /// The metric.
    pub priority: Option<u32>,
    /// The scope; `None`: as the kernel's tools choose it.
    pub scope: Option<u8>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Advertised MSS in bytes.
    pub advmss: Option<u32>,
}

impl Links {
    /// Those of this process's namespace.
    pub fn own() -> Result<Self> {
        let (connection, handle, _) = new_connection().context("open a netlink socket")?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Those of another namespace. The socket stays in the namespace in which it was opened.
    pub fn of(netns: &Netns) -> Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        netns.inside(move || {
            let _context = runtime.enter();
            Self::own()
        })?
    }

    /// The link with this name.
    pub async fn find(&self, name: &str) -> Result<Option<Link>> {
        let mut links = self.handle.link().get().match_name(name.to_owned()).execute();
        match links.try_next().await {
            Ok(message) => Ok(message.as_ref().map(link)),
            Err(error) if errno(&error) == Some(NO_DEVICE) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("find the link {name}")),
        }
    }

    /// The veth with this alias.
    pub async fn with_alias(&self, alias: &str) -> Result<Option<Link>> {
        let mut links = self.handle.link().get().execute();
        while let Some(message) = links.try_next().await.context("list the links")? {
            let link = link(&message);
            if link.kind == "veth" && link.alias == alias {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }

    /// The link with this index.
    pub async fn at(&self, index: u32) -> Result<Option<Link>> {
        let mut links = self.handle.link().get().match_index(index).execute();
        match links.try_next().await {
            Ok(message) => Ok(message.as_ref().map(link)),
            Err(error) if errno(&error) == Some(NO_DEVICE) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("find the link {index}")),
        }
    }

    /// `ip link add NAME mtu MTU type veth peer name PEER netns NETNS mtu MTU`
    pub async fn add_veth(
        &self,
        name: &str,
        peer: &str,
        netns: BorrowedFd<'_>,
        mtu: Option<u32>,
    ) -> Result<(), Failure> {
        let mut peer = LinkUnspec::new_with_name(peer).setns_by_fd(netns.as_raw_fd());
        let mut veth = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth);
        // The kernel gives an MTU that stands outside to one end only.
        if let Some(mtu) = mtu {
            (peer, veth) = (peer.mtu(mtu), veth.mtu(mtu));
        }
        let peer = InfoData::Veth(InfoVeth::Peer(peer.build()));
        let veth = veth.name(name).set_info_data(peer).build();
        self.handle.link().add(veth).execute().await.map_err(Failure)
    }

    /// `ip link set NAME ...`
    pub async fn set(
        &self,
        index: u32,
        change: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), Failure> {
        let message = change(LinkUnspec::new_with_index(index)).build();
        self.handle.link().set(message).execute().await.map_err(Failure)
    }

    /// `ip link set NAME alias ALIAS`
    pub async fn set_alias(&self, index: u32, alias: &str) -> Result<(), Failure> {
        // Without the terminating NUL, which the kernel would keep.
        let alias = DefaultNla::new(IFLA_IFALIAS, alias.as_bytes().to_vec());
        self.set(index, |link| link.append_extra_attribute(LinkAttribute::Other(alias))).await
    }

    /// `ip link delete NAME`. A link that does not exist is not an error.
    pub async fn delete(&self, index: u32) -> Result<(), Failure> {
        match self.handle.link().del(index).execute().await {
            Err(error) if errno(&error) == Some(NO_DEVICE) => Ok(()),
            other => other.map_err(Failure),
        }
    }

    /// The addresses of a link.
    pub async fn addresses(&self, index: u32) -> Result<Vec<Address>> {
        let request = self.handle.address().get().set_link_index_filter(index);
        let messages: Vec<_> =
            request.execute().try_collect().await.context("list the addresses")?;
        let address = |attributes: &[AddressAttribute]| {
            attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(address) | AddressAttribute::Address(address) => {
                    Some(*address)
                }
                _ => None,
            })
        };
        let flags = |attributes: &[AddressAttribute]| {
            let mut flags = attributes.iter();
            flags.find_map(|attribute| match attribute {
                AddressAttribute::Flags(flags) => Some(*flags),
                _ => None,
            })
        };
        let read = messages.iter().filter_map(|message| {
            let flags = flags(&message.attributes).unwrap_or(AddressFlags::empty());
            Some(Address {
                ip: address(&message.attributes)?,
                prefix: message.header.prefix_len,
                is_tentative: flags.contains(AddressFlags::Tentative),
                is_duplicate: flags.contains(AddressFlags::Dadfailed),
            })
        });
        Ok(read.collect())
    }

    /// `ip address add ADDRESS/PREFIX dev NAME`
    pub async fn add_address(
        &self,
        index: u32,
        address: IpAddr,
        prefix: u8,
    ) -> Result<(), Failure> {
        self.handle.address().add(index, address, prefix).execute().await.map_err(Failure)
    }

    /// `ip route add ...`
    pub async fn add_route(&self, index: u32, route: &Route) -> Result<(), Failure> {
        self.handle.route().add(message(index, route)).execute().await.map_err(Failure)
    }

    /// All routes of the main table and others: destinations and gateways.
    pub async fn routes(&self) -> Result<Vec<((IpAddr, u8), Option<IpAddr>)>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let messages: Vec<RouteMessage> = self
                .handle
                .route()
                .get(request)
                .execute()
                .try_collect()
                .await
                .context("list the routes")?;
            routes.extend(messages.iter().map(|message| destination(family, message)));
        }
        Ok(routes)
    }
}

/// What the kernel said to a request.
#[derive(Debug)]
pub struct Failure(rtnetlink::Error);

impl Failure {
    /// Whether it is this error number.
    pub fn is(&self, number: i32) -> bool {
        errno(&self.0) == Some(number)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match errno(&self.0) {
            Some(number) => write!(f, "{}", std::io::Error::from_raw_os_error(number)),
            None => write!(f, "{}", self.0),
        }
    }
}

impl std::error::Error for Failure {}

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(ErrorMessage { code, .. }) => code.map(|code| -code.get()),
        _ => None,
    }
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link { index: message.header.index, ..Link::default() };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
            LinkAttribute::Address(bytes) => link.mac = mac(bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.bridge = Some(*index),
            LinkAttribute::OperState(state) => link.is_up = *state == State::Up,
            LinkAttribute::Promiscuity(count) => link.promiscuous = *count,
            LinkAttribute::LinkInfo(infos) => {
                let kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind),
                    _ => None,
                });
                link.kind = kind.map_or_else(String::new, InfoKind::to_string);
            }
            _ => {}
        }
    }
    link
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn message(index: u32, route: &Route) -> RouteMessage {
    let (to, prefix) = route.to;
    let mut message = match (to, route.via) {
        (IpAddr::V4(to), via) => {
            let builder = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, prefix);
            match via {
                Some(IpAddr::V4(via)) => builder.gateway(via),
                _ => builder,
            }
            .output_interface(index)
            .build()
        }
        (IpAddr::V6(to), via) => {
            let builder = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to, prefix);
            match via {
                Some(IpAddr::V6(via)) => builder.gateway(via),
                _ => builder,
            }
            .output_interface(index)
            .build()
        }
    };
    // As `ip route add` and other plugins do.
    message.header.protocol = RouteProtocol::Boot;
    let is_direct = route.via.is_none() && to.is_ipv4();
    message.header.scope = match route.scope {
        Some(scope) => RouteScope::from(scope),
        None if is_direct => RouteScope::Link,
        None => RouteScope::Universe,
    };
    if let Some(table) = route.table {
        message.header.table = u8::try_from(table).unwrap_or_default();
        message.attributes.push(RouteAttribute::Table(table));
    }
    message.attributes.extend(route.priority.map(RouteAttribute::Priority));
    let mtu = route.mtu.map(RouteMetric::Mtu);
    let metrics: Vec<_> = mtu.into_iter().chain(route.advmss.map(RouteMetric::Advmss)).collect();
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}

fn destination(family: AddressFamily, message: &RouteMessage) -> ((IpAddr, u8), Option<IpAddr>) {
    let any: IpAddr = if family == AddressFamily::Inet {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let (mut to, mut via) = (any, None);
    let ip = |address: &RouteAddress| match address {
        RouteAddress::Inet(address) => Some(IpAddr::from(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::from(*address)),
        _ => None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address).unwrap_or(to),
            RouteAttribute::Gateway(address) => via = ip(address),
            _ => {}
        }
    }
    ((to, message.header.destination_prefix_length), via)
}
