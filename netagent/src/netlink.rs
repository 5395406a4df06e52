//! The only place that talks rtnetlink: [`observe`](Netlink::observe) reads the node,
//! [`apply`](Netlink::apply) carries out one [`LinkChange`](crate::change::LinkChange), and
//! [`Watch`] says when to look again. It knows nothing of configuration, plans and eBPF.
//!
//! A socket belongs to the network namespace of the thread that opened it.

mod address;
mod again;
mod apply;
mod bond;
mod bridge_port;
mod failure;
mod fdb;
mod filter;
mod link;
mod observe;
mod probe;
mod route;
mod socket;
#[cfg(test)]
mod tests;
mod vlan;
mod watch;
mod wire;
mod xdp;

use std::io;

use anyhow::Context as _;
use rtnetlink::{
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkExtentMask, LinkMessage},
    },
    sys::protocols::NETLINK_ROUTE,
};

pub use self::{
    failure::Failure,
    fdb::{FdbEvent, FdbWatch},
    filter::{Filter, Side},
    watch::{Changes, Watch},
};
use self::{
    link::Header,
    socket::{Reply, Socket},
    xdp::Netdev,
};
use crate::names::{IfName, Mac};

/// The way to the kernel's links. Indexes are looked up afresh for every change: a link that was
/// deleted and made again has the same name and another index.
pub struct Netlink {
    socket: Socket,
    netdev: Netdev,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace, on the running tokio runtime.
    pub fn open() -> anyhow::Result<Self> {
        let open = || io::Result::Ok((Socket::open(NETLINK_ROUTE)?, Netdev::open()?));
        let (socket, netdev) = open().context("open a netlink socket")?;
        Ok(Self { socket, netdev })
    }

    /// `ip link show NAME`: its index.
    async fn index(&self, name: &IfName) -> Result<u32, Failure> {
        Ok(self.find(name).await?.index)
    }

    /// `ip link show NAME`
    async fn find(&self, name: &IfName) -> Result<Found, Failure> {
        let attributes = vec![
            LinkAttribute::IfName(name.to_string()),
            LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
        ];
        let request = RouteNetlinkMessage::GetLink(message(0, attributes));
        match self.socket.request(request, 0).await {
            Ok(replies) => {
                let header = replies.iter().find_map(Reply::new_link).and_then(Header::read);
                let found = header.map(|header| Found {
                    index: header.index,
                    up: header.is(libc::IFF_UP),
                    mac: header.mac(),
                });
                found.ok_or(Failure::Malformed)
            }
            Err(failure) if failure.is(libc::ENODEV) => Err(Failure::NoLink(name.clone())),
            Err(failure) => Err(failure),
        }
    }
}

/// What changes need to know of a link at that moment.
struct Found {
    index: u32,
    up: bool,
    mac: Mac,
}

/// A message about the link with this index, or with 0 about one that its attributes describe.
fn message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}
