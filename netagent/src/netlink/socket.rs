//! One request at a time over one socket. Not rtnetlink's own connection: that one drops a message
//! that it cannot decode and goes on, so a link would silently be missing from a dump, and it hides
//! interrupted dumps and the kernel's error texts.

use std::{ffi::c_int, io};

use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
        NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer, NetlinkMessage,
    },
    packet_route::RouteNetlinkMessage,
    sys::{
        AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE,
    },
};
use tokio::sync::Mutex;

use super::{Failure, wire};

/// How often a dump is begun again because what it shows changed under it.
const DUMP_ATTEMPTS: u32 = 10;

/// `NLMSGERR_ATTR_MSG`
const ERROR_TEXT: u16 = 1;
/// `struct nlmsghdr`, which an error quotes.
const HEADER_BYTES: usize = 16;

/// A socket for requests.
pub(super) struct Socket(Mutex<Exchange>);

struct Exchange {
    socket: TokioSocket,
    /// Of the last request. An answer with another one belongs to a request that was given up.
    sequence: u32,
}

/// A message from the kernel.
#[derive(Debug)]
pub(super) struct Reply {
    kind: u16,
    /// What follows the netlink header.
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
    pub(super) fn open() -> io::Result<Self> {
        let mut tokio_socket = TokioSocket::new(NETLINK_ROUTE)?;
        let socket = tokio_socket.socket_mut();
        socket.bind_auto()?;
        // Errors come with a text, and without a copy of the request before it.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        // A filter that the kernel does not know is an error rather than ignored.
        socket.set_netlink_get_strict_chk(true)?;
        Ok(Self(Mutex::new(Exchange { socket: tokio_socket, sequence: 0 })))
    }

    /// Sends a request and returns what the kernel answers, without the acknowledgement.
    pub(super) async fn request(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<Reply>, Failure> {
        let mut exchange = self.0.lock().await;
        exchange.send(message, NLM_F_REQUEST | NLM_F_ACK | flags).await?;
        Ok(exchange.receive().await?.0)
    }

    /// Asks for everything that there is, until the answer is of one piece.
    pub(super) async fn dump(&self, message: RouteNetlinkMessage) -> Result<Vec<Reply>, Failure> {
        let mut exchange = self.0.lock().await;
        for _ in 0..DUMP_ATTEMPTS {
            exchange.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP).await?;
            match exchange.receive().await {
                Ok((replies, false)) => return Ok(replies),
                Ok((_, true)) => {}
                // Whoever asked for the dump before this one went away before its end.
                Err(failure) if failure.is(libc::EBUSY) => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Interrupted)
    }
}

impl Exchange {
    async fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0)).await?;
        Ok(())
    }

    /// The answer to the last request, and whether it was interrupted.
    async fn receive(&mut self) -> Result<(Vec<Reply>, bool), Failure> {
        let mut replies = Vec::new();
        let mut interrupted = false;
        loop {
            let datagram = self.datagram().await?;
            let mut rest = datagram.as_slice();
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
                    // A dump's end has a code as well, and then no error message.
                    kind @ (NLMSG_DONE | NLMSG_ERROR) => {
                        let quoted = if kind == NLMSG_ERROR { HEADER_BYTES } else { 0 };
                        return outcome(payload, quoted, message.flags())
                            .map(|()| (replies, interrupted));
                    }
                    NLMSG_OVERRUN => return Err(io::Error::from_raw_os_error(libc::ENOBUFS).into()),
                    kind => replies.push(Reply { kind, payload: payload.to_vec() }),
                }
            }
        }
    }

    async fn datagram(&self) -> io::Result<Vec<u8>> {
        loop {
            match self.socket.recv_from_full().await {
                Ok((datagram, from)) if from.port_number() == 0 => return Ok(datagram),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                // From another process, which has nothing to tell us; or interrupted by a signal.
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// What an acknowledgement says. Its code is a NEGATIVE error number, or 0.
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
