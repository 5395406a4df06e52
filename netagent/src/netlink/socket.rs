//! One request at a time over one socket. rtnetlink's own connection is not used: it drops a
//! message that it cannot decode and continues, so a link would silently be missing from a dump,
//! and it hides interrupted dumps and the kernel's error texts.

use std::{ffi::c_int, io, time::Duration};

use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
        NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer,
    },
    sys::{self, AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket},
};
use rustix::{io::Errno, net::sockopt::set_socket_recv_buffer_size_force};
use tokio::{sync::Mutex, time::timeout};
use tracing::debug;

use super::{Failure, request::Request, wire};

/// How often a dump is repeated because the dumped objects changed meanwhile.
const DUMP_ATTEMPTS: u32 = 10;
/// How long the kernel may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The kernel's largest datagram for a dump is half of this.
const BUFFER_BYTES: usize = 64 << 10;

/// `NLMSGERR_ATTR_MSG`
const ERROR_TEXT: u16 = 1;

/// Size of the receive buffer of a subscription.
const ROOM_BYTES: usize = 4 << 20;

/// Gives a subscription room for bursts of notifications. Without CAP_NET_ADMIN the system limits
/// it.
pub(super) fn make_room(socket: &sys::Socket) -> io::Result<()> {
    match set_socket_recv_buffer_size_force(socket, ROOM_BYTES) {
        Err(Errno::PERM) => socket.set_rx_buf_sz(ROOM_BYTES),
        forced => Ok(forced?),
    }
}

/// A socket for requests of one netlink protocol.
pub(super) struct Socket {
    pub(super) exchange: Mutex<Exchange>,
    pub(super) limit: Duration,
}

pub(super) struct Exchange {
    socket: TokioSocket,
    buffer: Vec<u8>,
    /// Sequence number of the last request. A reply with another one belongs to a request whose
    /// caller was cancelled.
    sequence: u32,
    /// Datagrams sent and received.
    #[cfg(test)]
    datagrams: usize,
}

/// A message from the kernel.
#[derive(Debug)]
pub(super) struct Reply {
    kind: u16,
    /// The bytes after the netlink header.
    pub(super) payload: Vec<u8>,
}

impl Reply {
    /// The payload, if this is about a link.
    pub(super) fn new_link(&self) -> Option<&[u8]> {
        self.of_kind(libc::RTM_NEWLINK)
    }

    /// The payload, if this is of the kind `RTM_...`.
    pub(super) fn of_kind(&self, kind: u16) -> Option<&[u8]> {
        (self.kind == kind).then_some(&self.payload)
    }
}

impl Socket {
    /// `protocol` is `NETLINK_ROUTE` or `NETLINK_GENERIC`.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut tokio_socket = TokioSocket::new(protocol)?;
        let socket = tokio_socket.socket_mut();
        socket.bind_auto()?;
        // Errors come with a text, and without a copy of the request before it.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        // A filter that the kernel does not know is an error rather than ignored.
        socket.set_netlink_get_strict_chk(true)?;
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        let exchange = Exchange {
            socket: tokio_socket,
            buffer,
            sequence: 0,
            #[cfg(test)]
            datagrams: 0,
        };
        Ok(Self { exchange: Mutex::new(exchange), limit: ANSWER_LIMIT })
    }

    #[cfg(test)]
    pub(super) async fn datagrams(&self) -> usize {
        self.exchange.lock().await.datagrams
    }

    /// Sends a request and returns the replies, without the acknowledgement.
    pub(super) async fn request(
        &self,
        request: impl Into<Request>,
        flags: u16,
    ) -> Result<Vec<Reply>, Failure> {
        let request = request.into();
        debug!("netlink: {request}");
        let answered = timeout(self.limit, async {
            let mut exchange = self.exchange.lock().await;
            exchange.send(&request, NLM_F_REQUEST | NLM_F_ACK | flags).await?;
            Ok(exchange.receive().await?.0)
        });
        logged(&request, answered.await.unwrap_or(Err(Failure::TimedOut(self.limit))))
    }

    /// Reads all objects that a request selects. A dump that the kernel reports as interrupted is
    /// repeated.
    pub(super) async fn dump(&self, request: impl Into<Request>) -> Result<Vec<Reply>, Failure> {
        let request = request.into();
        debug!("netlink: {request} dump");
        let answered = timeout(self.limit, async {
            let mut exchange = self.exchange.lock().await;
            for _ in 0..DUMP_ATTEMPTS {
                exchange.send(&request, NLM_F_REQUEST | NLM_F_DUMP).await?;
                match exchange.receive().await {
                    Ok((replies, false)) => return Ok(replies),
                    Ok((_, true)) => {}
                    // The previous dump's caller was cancelled before the end of the dump.
                    Err(failure) if failure.is(libc::EBUSY) => {}
                    Err(failure) => return Err(failure),
                }
            }
            Err(Failure::Interrupted)
        });
        logged(&request, answered.await.unwrap_or(Err(Failure::TimedOut(self.limit))))
    }
}

impl Exchange {
    async fn send(&mut self, request: &Request, flags: u16) -> Result<(), Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = wire::message(request.kind, flags, self.sequence, &request.payload);
        let message = message.ok_or(Failure::Malformed)?;
        #[cfg(test)]
        {
            self.datagrams += 1;
        }
        self.socket.send_to(&message, &SocketAddr::new(0, 0)).await?;
        Ok(())
    }

    /// The replies to the last request, and whether the dump was interrupted.
    async fn receive(&mut self) -> Result<(Vec<Reply>, bool), Failure> {
        let mut replies = Vec::new();
        let mut interrupted = false;
        loop {
            self.datagram().await?;
            let mut rest = self.buffer.as_slice();
            while !rest.is_empty() {
                let message = NetlinkBuffer::new_checked(rest).map_err(|_| Failure::Malformed)?;
                let length = usize::try_from(message.length()).map_err(|_| Failure::Malformed)?;
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                if message.sequence_number() != self.sequence {
                    continue;
                }
                interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                let payload = message.payload();
                match message.message_type() {
                    // The end of a dump has a code as well, and then no error message.
                    kind @ (NLMSG_DONE | NLMSG_ERROR) => {
                        let quoted = if kind == NLMSG_ERROR { wire::HEADER_BYTES } else { 0 };
                        return outcome(payload, quoted, message.flags())
                            .map(|()| (replies, interrupted));
                    }
                    NLMSG_OVERRUN => return Err(io::Error::from_raw_os_error(libc::ENOBUFS).into()),
                    kind => replies.push(Reply { kind, payload: payload.to_vec() }),
                }
            }
        }
    }

    /// Reads one datagram of the kernel into the buffer.
    async fn datagram(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            #[cfg(test)]
            {
                self.datagrams += 1;
            }
            match self.socket.recv_from(&mut self.buffer).await {
                Ok(from) if from.port_number() == 0 => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                // Sent by another process, or interrupted by a signal.
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Logs the answer to a request.
fn logged(request: &Request, answer: Result<Vec<Reply>, Failure>) -> Result<Vec<Reply>, Failure> {
    match &answer {
        Ok(replies) => debug!("netlink: {request}: ok, {} messages", replies.len()),
        Err(failure @ Failure::Refused { errno, .. }) => {
            debug!("netlink: {request}: errno {errno}: {failure}");
        }
        Err(failure) => debug!("netlink: {request}: {failure}"),
    }
    answer
}

/// The result in an acknowledgement: its code is a negative error number, or 0.
fn outcome(payload: &[u8], quoted: usize, flags: u16) -> Result<(), Failure> {
    let code = payload.first_chunk().map(|code| c_int::from_ne_bytes(*code));
    match code.ok_or(Failure::Malformed)? {
        0 => Ok(()),
        code => {
            let notes = payload.get(4 + quoted..).filter(|_| flags & NLM_F_ACK_TLVS != 0);
            let said = notes.and_then(|notes| wire::find_text(notes, ERROR_TEXT));
            Err(Failure::Refused { errno: code.wrapping_neg(), said })
        }
    }
}
