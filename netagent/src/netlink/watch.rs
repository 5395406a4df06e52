//! Notifications of changes on the node. A notification is read for the indexes of changed links
//! only, not for their new state: these links are read again, so the order and the number of
//! notifications do not matter.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    io,
    net::Ipv6Addr,
    task::{Context, Poll},
};

use anyhow::Context as _;
use libc::{
    AF_BRIDGE, IFLA_LINK, IFLA_LINK_NETNSID, IFLA_MASTER, IFLA_WIRELESS, RTM_DELADDR, RTM_DELLINK,
    RTM_DELQDISC, RTM_DELROUTE, RTM_DELTCLASS, RTM_DELTFILTER, RTM_NEWADDR, RTM_NEWLINK,
    RTM_NEWQDISC, RTM_NEWROUTE, RTM_NEWTCLASS, RTM_NEWTFILTER, RTNLGRP_BRVLAN, RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE, RTNLGRP_LINK, RTNLGRP_TC,
};
use rtnetlink::sys::{
    AsyncSocket as _, TokioSocket,
    protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE},
};
use tracing::debug;

use super::{
    Failure, address,
    link::Header,
    netfilter,
    request::{RTM_DELVLAN, RTM_NEWVLAN},
    route,
    socket::make_room,
    wire,
    xdp::{self, Netdev},
};
use crate::names::IfName;

/// More than the longest notification.
const BUFFER_BYTES: usize = 64 << 10;

/// What changed on the node since the last call of [`Watch::changed`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Interface indexes of links that appeared, changed or vanished.
    pub links: BTreeSet<u32>,
    /// The names of those whose notification has one.
    pub names: BTreeMap<u32, IfName>,
    /// IPv6 addresses that the kernel has removed from a link, as another station has them.
    pub duplicates: BTreeSet<(u32, Ipv6Addr)>,
    /// Default routes, or routes of the agent, changed.
    pub routes: bool,
    /// Notifications were lost: anything may have changed.
    pub everything: bool,
}

impl Changes {
    /// Adds what changed later.
    pub fn merge(&mut self, later: Self) {
        self.links.extend(later.links);
        self.names.extend(later.names);
        self.duplicates.extend(later.duplicates);
        self.routes |= later.routes;
        self.everything |= later.everything;
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the links of a notification. All these headers have the index at offset 4.
    fn note(&mut self, kind: u16, payload: &[u8]) {
        match kind {
            RTM_NEWLINK | RTM_DELLINK => self.note_link(kind, payload),
            RTM_NEWROUTE | RTM_DELROUTE => {
                let entry = route::Entry::read(payload);
                self.routes |= entry.is_some_and(|entry| entry.is_of_interest());
            }
            RTM_DELADDR => {
                self.note_index(wire::u32_at(payload, 4));
                self.duplicates.extend(address::duplicate(payload));
            }
            RTM_NEWADDR | RTM_NEWVLAN | RTM_DELVLAN | RTM_NEWQDISC | RTM_DELQDISC
            | RTM_NEWTCLASS | RTM_DELTCLASS | RTM_NEWTFILTER | RTM_DELTFILTER => {
                self.note_index(wire::u32_at(payload, 4));
            }
            _ => {}
        }
    }

    /// 0 is not a link, and -1 stands for a filter block that several links share.
    fn note_index(&mut self, index: Option<u32>) {
        self.links.extend(index.filter(|index| index.cast_signed() > 0));
    }

    fn note_link(&mut self, kind: u16, payload: &[u8]) {
        let Some(header) = Header::read(payload) else { return };
        // An event of the wireless extensions does not change the link.
        if wire::find(header.attributes, IFLA_WIRELESS).is_some() {
            return;
        }
        self.note_index(Some(header.index));
        self.names.extend(header.name().map(|name| (header.index, name)));
        // There is no notification for a veth whose peer moves to or from another namespace.
        let of_bridge = payload.first().is_some_and(|family| i32::from(*family) == AF_BRIDGE);
        let comes_or_goes = kind == RTM_DELLINK || header.changed == u32::MAX;
        let is_here = wire::find(header.attributes, IFLA_LINK_NETNSID).is_none();
        if !of_bridge && comes_or_goes && is_here {
            self.note_index(wire::find_u32(header.attributes, IFLA_LINK));
        }
    }
}

/// A subscription to changes of links, addresses, routes, bridge VLANs, qdiscs, chains of nftables,
/// and the support of devices for XDP_REDIRECT.
///
/// The kernel sends no notification of a bond's LACP partner, of a member's failure count and of
/// the alias of a link that is down.
pub struct Watch {
    routing: TokioSocket,
    devices: TokioSocket,
    /// `None`: the kernel has no netfilter.
    chains: Option<TokioSocket>,
    netdev: Netdev,
    /// The socket for devices has its subscription. This needs a request to the kernel.
    joined: bool,
    buffer: Vec<u8>,
}

impl Watch {
    /// Subscribes, in the calling thread's network namespace, on the running tokio runtime.
    /// `ip monitor link address route`, `bridge monitor vlan`, `tc monitor`
    pub fn open() -> anyhow::Result<Self> {
        Self::subscribe().context("subscribe to changes of links, addresses, routes and VLANs")
    }

    fn subscribe() -> io::Result<Self> {
        let mut routing = TokioSocket::new(NETLINK_ROUTE)?;
        let socket = routing.socket_mut();
        socket.bind_auto()?;
        make_room(socket)?;
        for group in [
            RTNLGRP_LINK,
            RTNLGRP_IPV4_IFADDR,
            RTNLGRP_IPV6_IFADDR,
            RTNLGRP_IPV4_ROUTE,
            RTNLGRP_IPV6_ROUTE,
            RTNLGRP_TC,
        ] {
            socket.add_membership(group)?;
        }
        // Since Linux 5.6. Before, a port's VLANs are in the notification of its link.
        match socket.add_membership(RTNLGRP_BRVLAN) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            subscribed => subscribed?,
        }
        let mut devices = TokioSocket::new(NETLINK_GENERIC)?;
        devices.socket_mut().bind_auto()?;
        let netdev = Netdev::open()?;
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        let chains = chains().ok();
        Ok(Self { routing, devices, chains, netdev, joined: false, buffer })
    }

    /// Takes the room for bursts away.
    #[cfg(test)]
    pub(super) fn crowd(&mut self) {
        self.routing.socket_mut().set_rx_buf_sz(1 << 16).unwrap();
    }

    /// Waits for a change since the last call (or since [`open`](Self::open)), and returns all that
    /// are queued. A caller that is cancelled loses none. Fails when a socket is broken.
    pub async fn changed(&mut self) -> anyhow::Result<Changes> {
        self.join().await.context("subscribe to changes of devices")?;
        let changes = self.drain().await;
        let changes = changes.context("read changes of links, addresses, routes and VLANs")?;
        debug!("netlink: {changes:?}");
        Ok(changes)
    }

    async fn join(&mut self) -> Result<(), Failure> {
        if !self.joined {
            let family = self.netdev.family().await?;
            if let Some(group) = family.and_then(|family| family.group) {
                self.devices.socket_mut().add_membership(group)?;
            }
            self.joined = true;
        }
        Ok(())
    }

    async fn drain(&mut self) -> io::Result<Changes> {
        let Self { routing, devices, chains, buffer, .. } = self;
        let mut changes = Changes::default();
        poll_fn(|context| {
            let note = |kind, payload: &[u8]| changes.note(kind, payload);
            let mut lost = read_all(routing, buffer, context, note)?;
            let note = |_, payload: &[u8]| changes.note_index(xdp::changed(payload));
            lost |= read_all(devices, buffer, context, note)?;
            if let Some(chains) = chains {
                // It takes a look at every link to see which of them a chain names.
                let note = |kind, payload: &[u8]| {
                    changes.everything |= netfilter::is_change(kind, payload);
                };
                lost |= read_all(chains, buffer, context, note)?;
            }
            changes.everything |= lost;
            if changes.is_empty() { Poll::Pending } else { Poll::Ready(io::Result::Ok(())) }
        })
        .await?;
        Ok(changes)
    }
}

/// `nft monitor`
fn chains() -> io::Result<TokioSocket> {
    let mut chains = TokioSocket::new(NETLINK_NETFILTER)?;
    let socket = chains.socket_mut();
    socket.bind_auto()?;
    make_room(socket)?;
    socket.add_membership(netfilter::GROUP)?;
    Ok(chains)
}

/// A subscription to changes of links alone.
pub struct LinkWatch {
    socket: TokioSocket,
    buffer: Vec<u8>,
}

impl LinkWatch {
    /// Subscribes, in the calling thread's network namespace, on the running tokio runtime.
    /// `ip monitor link`
    pub fn open() -> anyhow::Result<Self> {
        let open = || -> io::Result<TokioSocket> {
            let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
            socket.socket_mut().bind_auto()?;
            make_room(socket.socket_mut())?;
            socket.socket_mut().add_membership(RTNLGRP_LINK)?;
            Ok(socket)
        };
        let socket = open().context("subscribe to changes of links")?;
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// Waits for a change. Returns the interface indexes of the links that have changed and of
    /// their bonds or bridges; `None`: notifications were lost.
    pub async fn changed(&mut self) -> io::Result<Option<BTreeSet<u32>>> {
        let mut links = BTreeSet::new();
        let Self { socket, buffer } = self;
        let lost = poll_fn(|context| {
            let lost = read_all(socket, buffer, context, |_, payload| {
                let header = Header::read(payload);
                let controller = |link: &Header<'_>| wire::find_u32(link.attributes, IFLA_MASTER);
                links.extend(
                    header.iter().flat_map(|it| controller(it).into_iter().chain([it.index])),
                );
            });
            match lost {
                Ok(false) if links.is_empty() => Poll::Pending,
                lost => Poll::Ready(lost),
            }
        })
        .await?;
        Ok((!lost).then_some(links))
    }
}

/// Reads all queued notifications, and returns whether others were lost. Then the task is woken by
/// the next one.
fn read_all(
    socket: &TokioSocket,
    buffer: &mut Vec<u8>,
    context: &mut Context<'_>,
    mut note: impl FnMut(u16, &[u8]),
) -> io::Result<bool> {
    let mut lost = false;
    loop {
        buffer.clear();
        match socket.poll_recv(context, buffer) {
            Poll::Pending => return Ok(lost),
            Poll::Ready(Ok(())) => {
                wire::messages(buffer).for_each(|message| note(message.kind, message.payload));
            }
            Poll::Ready(Err(error)) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => lost = true,
                Some(libc::EINTR) => {}
                _ => return Err(error),
            },
        }
    }
}
