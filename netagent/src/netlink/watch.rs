//! Says that something changed, not what: the one who asks looks at everything again anyway, and so
//! a notification that was lost costs nothing.

use std::{future::poll_fn, io, task::Poll};

use anyhow::Context as _;
use libc::{RTNLGRP_BRVLAN, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_LINK, RTNLGRP_TC};
use rtnetlink::sys::{AsyncSocket as _, TokioSocket, protocols::NETLINK_ROUTE};

/// Longer notifications are cut off; nobody reads them.
const BUFFER_BYTES: usize = 64;

/// A subscription to changes of links, addresses, bridge VLANs and qdiscs (which say whether a frame may be put behind a device at once).
pub struct Watch {
    socket: TokioSocket,
}

impl Watch {
    /// Subscribes, in the calling thread's network namespace, on the running tokio runtime.
    /// `ip monitor link address`, `bridge monitor vlan`, `tc monitor`
    pub fn open() -> anyhow::Result<Self> {
        Self::subscribe().context("subscribe to changes of links, addresses, VLANs and qdiscs")
    }

    fn subscribe() -> io::Result<Self> {
        let mut tokio_socket = TokioSocket::new(NETLINK_ROUTE)?;
        let socket = tokio_socket.socket_mut();
        socket.bind_auto()?;
        for group in [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_TC] {
            socket.add_membership(group)?;
        }
        // Since 5.6. Without it, a port's VLANs are still in the notification of its link.
        match socket.add_membership(RTNLGRP_BRVLAN) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            subscribed => subscribed?,
        }
        Ok(Self { socket: tokio_socket })
    }

    /// Waits for a change since the last call (or since [`open`](Self::open)). All that are queued
    /// count as one. Fails when the socket is broken.
    pub async fn changed(&mut self) -> anyhow::Result<()> {
        self.drain().await.context("read changes of links, addresses, VLANs and qdiscs")
    }

    async fn drain(&mut self) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let mut changed = false;
        poll_fn(|context| {
            loop {
                buffer.clear();
                match self.socket.poll_recv(context, &mut buffer) {
                    Poll::Pending if changed => return Poll::Ready(Ok(())),
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => changed = true,
                    Poll::Ready(Err(error)) => match error.raw_os_error() {
                        // Some were dropped, so there were some; and others are still queued.
                        Some(libc::ENOBUFS) => changed = true,
                        Some(libc::EINTR) => {}
                        _ => return Poll::Ready(Err(error)),
                    },
                }
            }
        })
        .await
    }
}
