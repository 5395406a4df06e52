//! The only module that uses netlink: [`observe`](Netlink::observe) reads the node,
//! [`apply`](Netlink::apply) carries out one [`LinkChange`](crate::change::LinkChange), [`Watch`]
//! names the links that changed, and [`observe_again`](Netlink::observe_again) reads these. It does
//! not depend on configuration, plans and eBPF.
//!
//! A socket belongs to the network namespace of the thread that opened it.

mod address;
mod again;
mod apply;
mod bond;
mod bridge;
mod bridge_port;
mod failure;
mod fdb;
mod filter;
mod link;
mod neighbour;
mod netfilter;
mod observe;
mod probe;
mod reach;
mod request;
mod route;
mod rule;
mod rules;
mod socket;
mod stats;
mod sysctl;
#[cfg(test)]
mod tests;
mod vlan;
mod watch;
mod wire;
mod xdp;

use std::{
    io,
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use rtnetlink::{
    LinkUnspec,
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkExtentMask},
    },
    sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE},
};

pub use self::{
    failure::Failure,
    fdb::{FdbEvent, FdbWatch},
    reach::NextHop,
    watch::{Changes, LinkWatch, Watch},
};
use self::{
    link::Header,
    netfilter::Chain,
    socket::{Reply, Socket},
    xdp::Netdev,
};
use crate::names::{IfName, Mac};

/// Reads and changes links. The index of a link is looked up for every change: a link that was
/// deleted and created again has the same name and another index.
pub struct Netlink {
    socket: Socket,
    netdev: Netdev,
    /// `None`: the kernel has no netfilter.
    netfilter: Option<Socket>,
    /// The chains of nftables that name devices, as they were read last.
    chains: Mutex<Arc<[Chain]>>,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace, on the running tokio runtime.
    pub fn open() -> anyhow::Result<Self> {
        let open = || io::Result::Ok((Socket::open(NETLINK_ROUTE)?, Netdev::open()?));
        let (socket, netdev) = open().context("open a netlink socket")?;
        let netfilter = Socket::open(NETLINK_NETFILTER).ok();
        Ok(Self { socket, netdev, netfilter, chains: Mutex::default() })
    }

    /// `ip link show NAME`: its index.
    async fn index(&self, name: &IfName) -> Result<u32, Failure> {
        Ok(self.find(name).await?.index)
    }

    /// `ip link show NAME`
    async fn find(&self, name: &IfName) -> Result<Found, Failure> {
        let link = LinkUnspec::new_with_name(name.as_str()).append_extra_attribute(skip_stats());
        let request = RouteNetlinkMessage::GetLink(link.build());
        match self.socket.request(request, 0).await {
            Ok(replies) => {
                let header = replies.iter().find_map(Reply::new_link).and_then(Header::read);
                // The kernel knows alternative names as well: that is another device.
                if header.as_ref().is_some_and(|header| header.name().as_ref() != Some(name)) {
                    return Err(Failure::NoLink(name.clone()));
                }
                let found = header.map(|header| Found {
                    index: header.index,
                    up: header.is(libc::IFF_UP),
                    carrier: header.is(libc::IFF_LOWER_UP),
                    mac: header.mac(),
                    is_member: header.member().is_some(),
                });
                found.ok_or(Failure::Malformed)
            }
            Err(failure) if failure.is(libc::ENODEV) => Err(Failure::NoLink(name.clone())),
            Err(failure) => Err(failure),
        }
    }
}

/// A link, as a change needs it at that moment.
struct Found {
    index: u32,
    up: bool,
    carrier: bool,
    mac: Mac,
    /// Whether it is a member of a bond.
    is_member: bool,
}

/// Leaves statistics, which netagent does not use, out of messages about links.
fn skip_stats() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}
