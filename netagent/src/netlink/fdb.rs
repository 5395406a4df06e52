//! Notifications and dumps of the bridges' FDBs on one socket, so that they arrive in the order in
//! which the kernel made them.

use std::{future::poll_fn, io, task::Poll};

use anyhow::Context as _;
use libc::{
    AF_BRIDGE, NDA_LLADDR, NDA_MASTER, NDA_VLAN, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NUD_NOARP, NUD_PERMANENT, NUD_REACHABLE, NUD_STALE, RTM_DELLINK,
    RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWLINK, RTM_NEWNEIGH, RTNLGRP_BRVLAN, RTNLGRP_LINK,
    RTNLGRP_NEIGH,
};
use netagent_common::forward::Station;
use rtnetlink::sys::{
    AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE,
};

use super::{
    request::{RTM_DELVLAN, RTM_NEWVLAN},
    socket::make_room,
    wire::{self, Message},
};

/// `struct ndmsg`
const NEIGHBOUR_BYTES: usize = 12;
/// The kernel's largest datagram for a dump.
const BUFFER_BYTES: usize = 64 << 10;
/// Maximum number of events of one call: a burst must not cost memory.
const BATCH: usize = 1024;
/// Sequence number of dumps. Notifications have 0.
const SEQUENCE: u32 = 1;

/// A change of an FDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FdbEvent {
    /// An FDB entry was added or changed.
    Known {
        /// The station.
        station: Station,
        /// Interface index of the port, or of the bridge.
        ifindex: u32,
        /// The entry is an address of the bridge or of one of its ports: of this node.
        local: bool,
    },
    /// An FDB entry was removed.
    Gone(Station),
    /// The link with this interface index changed, possibly a bridge port.
    Link(u32),
    /// A dump has ended.
    Dumped {
        /// An FDB changed meanwhile: the dump may lack entries and must be repeated.
        interrupted: bool,
    },
    /// Notifications were lost.
    Lost,
}

/// `bridge monitor fdb`, and `bridge fdb show`.
pub struct FdbWatch {
    socket: TokioSocket,
    buffer: Vec<u8>,
    interrupted: bool,
}

impl FdbWatch {
    /// Subscribes, in the calling thread's network namespace, on the running tokio runtime.
    pub fn open() -> anyhow::Result<Self> {
        let open = || -> io::Result<TokioSocket> {
            let mut tokio_socket = TokioSocket::new(NETLINK_ROUTE)?;
            let socket = tokio_socket.socket_mut();
            socket.bind_auto()?;
            socket.set_netlink_get_strict_chk(true)?;
            make_room(socket)?;
            socket.add_membership(RTNLGRP_NEIGH)?;
            socket.add_membership(RTNLGRP_LINK)?;
            match socket.add_membership(RTNLGRP_BRVLAN) {
                // The kernel has no VLAN filter.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                subscribed => subscribed?,
            }
            Ok(tokio_socket)
        };
        let socket = open().context("subscribe to FDB notifications")?;
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER_BYTES), interrupted: false })
    }

    /// Subscribes to nothing: for dumps alone.
    pub fn reader() -> anyhow::Result<Self> {
        let open = || -> io::Result<TokioSocket> {
            let mut tokio_socket = TokioSocket::new(NETLINK_ROUTE)?;
            let socket = tokio_socket.socket_mut();
            socket.bind_auto()?;
            socket.set_netlink_get_strict_chk(true)?;
            Ok(tokio_socket)
        };
        let socket = open().context("open a netlink socket for the FDB")?;
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER_BYTES), interrupted: false })
    }

    /// Requests a dump of the FDB of the bridge with this interface index, or of all FDBs. Its
    /// entries arrive as events; [`FdbEvent::Dumped`] ends it.
    pub async fn dump(&mut self, bridge: Option<u32>) -> anyhow::Result<()> {
        let mut neighbour = vec![0; NEIGHBOUR_BYTES];
        neighbour[0] = u8::try_from(AF_BRIDGE)?;
        if let Some(bridge) = bridge {
            wire::push(&mut neighbour, NDA_MASTER, &bridge.to_ne_bytes());
        }
        let flags = u16::try_from(NLM_F_REQUEST | NLM_F_DUMP)?;
        let message = wire::message(RTM_GETNEIGH, flags, SEQUENCE, &neighbour);
        let message = message.context("request a dump of the FDBs")?;
        self.interrupted = false;
        let to_the_kernel = SocketAddr::new(0, 0);
        self.socket
            .send_to(&message, &to_the_kernel)
            .await
            .context("request a dump of the FDBs")?;
        Ok(())
    }

    /// Waits for events and returns those that have arrived, in their order. Fails if the socket
    /// fails.
    pub async fn events(&mut self) -> anyhow::Result<Vec<FdbEvent>> {
        let mut events = Vec::new();
        let mut result: io::Result<()> = Ok(());
        poll_fn(|context| {
            while events.len() < BATCH {
                self.buffer.clear();
                match self.socket.poll_recv(context, &mut self.buffer) {
                    Poll::Pending if events.is_empty() => return Poll::Pending,
                    Poll::Pending => break,
                    Poll::Ready(Ok(())) => {
                        let interrupted = &mut self.interrupted;
                        let messages = wire::messages(&self.buffer);
                        events.extend(messages.filter_map(|m| event(&m, interrupted)));
                    }
                    Poll::Ready(Err(error)) => match error.raw_os_error() {
                        Some(libc::ENOBUFS) => events.push(FdbEvent::Lost),
                        Some(libc::EINTR) => {}
                        _ => {
                            result = Err(error);
                            break;
                        }
                    },
                }
            }
            Poll::Ready(())
        })
        .await;
        result.context("read FDB notifications")?;
        Ok(events)
    }
}

fn event(message: &Message<'_>, interrupted: &mut bool) -> Option<FdbEvent> {
    *interrupted |= i32::from(message.flags) & NLM_F_DUMP_INTR != 0;
    match message.kind {
        RTM_NEWLINK | RTM_DELLINK | RTM_NEWVLAN | RTM_DELVLAN => {
            wire::u32_at(message.payload, 4).map(FdbEvent::Link)
        }
        RTM_NEWNEIGH | RTM_DELNEIGH => neighbour(message),
        kind if i32::from(kind) == NLMSG_DONE => {
            Some(FdbEvent::Dumped { interrupted: *interrupted })
        }
        // The dump was refused: another dump is under way.
        kind if i32::from(kind) == NLMSG_ERROR => Some(FdbEvent::Dumped { interrupted: true }),
        _ => None,
    }
}

/// An entry of a bridge's FDB. An entry of a device's own filter has no bridge.
fn neighbour(message: &Message<'_>) -> Option<FdbEvent> {
    let payload = message.payload;
    let attributes = payload.get(NEIGHBOUR_BYTES..)?;
    if i32::from(*payload.first()?) != AF_BRIDGE {
        return None;
    }
    let vid = wire::find(attributes, NDA_VLAN).and_then(|vid| wire::u16_at(vid, 0));
    let station = Station {
        bridge: wire::find_u32(attributes, NDA_MASTER)?,
        vid: vid.unwrap_or_default(),
        mac: wire::find(attributes, NDA_LLADDR)?.try_into().ok()?,
    };
    let (ifindex, state) = (wire::u32_at(payload, 4)?, wire::u16_at(payload, 8)?);
    let local = state & NUD_PERMANENT != 0;
    let known = local || state & (NUD_REACHABLE | NUD_STALE | NUD_NOARP) != 0;
    if message.kind == RTM_DELNEIGH || !known {
        return Some(FdbEvent::Gone(station));
    }
    Some(FdbEvent::Known { station, ifindex, local })
}
