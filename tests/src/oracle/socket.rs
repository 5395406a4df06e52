//! Packet sockets for many links and many frames at once: one system call per frame is too slow on
//! an emulated processor.
#![expect(
    clippy::cast_possible_truncation,
    reason = "constants of the system's headers and sizes of its structures, which are small"
)]

use std::{
    fs::File,
    io,
    mem::{size_of, size_of_val, zeroed},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr, thread,
    time::Duration,
};

use super::sent::VIRTIO;
use crate::{
    lab::Netns,
    wire::{Auxdata, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING, check},
};

const PACKET_STATISTICS: i32 = 6;
const PACKET_VNET_HDR: i32 = 15;
/// Frames received by one system call.
const AT_ONCE: usize = 64;
/// The length of the longest super-frame.
const ROOM: usize = 1 << 16;

/// Sends to all links of a namespace, and receives from all.
pub struct Socket {
    send: OwnedFd,
    receive: OwnedFd,
    room: Vec<Vec<u8>>,
}

/// A received frame.
pub struct Received {
    pub ifindex: i32,
    pub virtio: [u8; VIRTIO],
    /// The whole frame, with the tag that the kernel had moved to the metadata.
    pub bytes: Vec<u8>,
    /// The length of that tag. 0: no tag was moved.
    pub restored: usize,
}

/// A frame to send.
pub struct Outgoing<'a> {
    pub ifindex: i32,
    pub virtio: &'a [u8; VIRTIO],
    pub bytes: &'a [u8],
}

impl Socket {
    pub fn open(netns: &Netns) -> Self {
        let path = format!("/run/netns/{}", netns.name);
        let open = move || -> io::Result<[OwnedFd; 2]> {
            let netns = File::open(path)?;
            // SAFETY: a descriptor that lives here.
            check(unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) })?;
            Ok([packet_socket(0)?, packet_socket((libc::ETH_P_ALL as u16).to_be())?])
        };
        let [send, receive] = thread::spawn(open).join().unwrap().unwrap();
        Self { send, receive, room: vec![vec![0; ROOM]; AT_ONCE] }
    }

    /// Sends all frames in order.
    pub fn send(&self, frames: &[Outgoing<'_>]) {
        let mut vectors: Vec<_> =
            frames.iter().map(|frame| [vector(frame.virtio), vector(frame.bytes)]).collect();
        let mut addresses: Vec<_> = frames.iter().map(|frame| address(frame.ifindex)).collect();
        let messages = addresses.iter_mut().zip(&mut vectors);
        let mut messages: Vec<_> =
            messages.map(|(to, frame)| message(to, frame, &mut [])).collect();
        let mut rest = messages.as_mut_slice();
        while !rest.is_empty() {
            // SAFETY: the messages lead to buffers that live here and in the frames.
            let sent = check(unsafe {
                libc::sendmmsg(self.send.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0)
            });
            let sent = sent.unwrap_or_else(|error| {
                let frame = &frames[frames.len() - rest.len()];
                let head = &frame.bytes[..frame.bytes.len().min(40)];
                panic!("send {:02x?} {head:02x?}: {error}", frame.virtio)
            });
            rest = &mut rest[usize::try_from(sent).unwrap()..];
        }
    }

    /// The next frames. Empty if no frame comes within the time.
    pub fn receive(&mut self, patience: Duration) -> Vec<Received> {
        let patience = i32::try_from(patience.as_millis()).unwrap();
        let mut poll =
            libc::pollfd { fd: self.receive.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: a buffer that lives here.
        if unsafe { libc::poll(&raw mut poll, 1, patience) } != 1 {
            return Vec::new();
        }
        let mut vectors: Vec<_> = self.room.iter_mut().map(|room| [vector(room)]).collect();
        let mut addresses = vec![address(0); AT_ONCE];
        let mut controls = vec![[0u64; 8]; AT_ONCE];
        let parts = addresses.iter_mut().zip(&mut vectors).zip(&mut controls);
        let mut messages: Vec<_> =
            parts.map(|((from, room), control)| message(from, room, control)).collect();
        // SAFETY: the messages lead to buffers that live here and in `self`.
        let count = unsafe {
            let (fd, flags) = (self.receive.as_raw_fd(), libc::MSG_DONTWAIT);
            libc::recvmmsg(fd, messages.as_mut_ptr(), AT_ONCE as u32, flags, ptr::null_mut())
        };
        let mut frames = Vec::new();
        for index in 0..usize::try_from(count).unwrap_or(0) {
            let message = &messages[index];
            let bytes = &self.room[index][..message.msg_len as usize];
            let (virtio, bytes) = bytes.split_first_chunk().unwrap();
            let mut bytes = bytes.to_vec();
            let untouched = bytes.len();
            // SAFETY: the kernel has filled the buffer of the control messages.
            unsafe {
                let header = libc::CMSG_FIRSTHDR(&raw const message.msg_hdr);
                if !header.is_null() && (*header).cmsg_type == PACKET_AUXDATA {
                    let auxdata = libc::CMSG_DATA(header).cast::<Auxdata>().read_unaligned();
                    auxdata.restore_tag(&mut bytes);
                }
            }
            let restored = bytes.len() - untouched;
            let ifindex = addresses[index].sll_ifindex;
            frames.push(Received { ifindex, virtio: *virtio, bytes, restored });
        }
        frames
    }

    /// Frames that found no room in the socket since the last call.
    pub fn lost(&self) -> u64 {
        // struct tpacket_stats: packets, drops
        let mut statistics = [0u32; 2];
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: buffers that live here, and the length of the first.
        let result = unsafe {
            let fd = self.receive.as_raw_fd();
            let value = statistics.as_mut_ptr().cast();
            libc::getsockopt(fd, libc::SOL_PACKET, PACKET_STATISTICS, value, &raw mut length)
        };
        check(result).unwrap();
        statistics[1].into()
    }
}

fn packet_socket(protocol: u16) -> io::Result<OwnedFd> {
    // SAFETY: plain system calls on buffers that live here.
    unsafe {
        let socket = check(libc::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from(protocol)))?;
        let socket = OwnedFd::from_raw_fd(socket);
        let packet = libc::SOL_PACKET;
        for (level, option, value) in [
            (packet, PACKET_AUXDATA, 1),
            (packet, PACKET_IGNORE_OUTGOING, 1),
            (packet, PACKET_VNET_HDR, 1),
            // The socket must not lose frames of a batch, even under load.
            (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 1 << 28),
        ] {
            let length = size_of::<i32>() as u32;
            let value = (&raw const value).cast();
            check(libc::setsockopt(socket.as_raw_fd(), level, option, value, length))?;
        }
        Ok(socket)
    }
}

fn address(ifindex: i32) -> libc::sockaddr_ll {
    // SAFETY: plain data, for which zeros are fine.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = ifindex;
    address
}

fn vector(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

fn message(
    address: &mut libc::sockaddr_ll,
    vectors: &mut [libc::iovec],
    control: &mut [u64],
) -> libc::mmsghdr {
    // SAFETY: plain data, for which zeros are valid.
    let mut message: libc::mmsghdr = unsafe { zeroed() };
    message.msg_hdr.msg_name = ptr::from_mut(address).cast();
    message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
    message.msg_hdr.msg_iov = vectors.as_mut_ptr();
    message.msg_hdr.msg_iovlen = vectors.len();
    message.msg_hdr.msg_control = control.as_mut_ptr().cast();
    message.msg_hdr.msg_controllen = size_of_val(control);
    message
}
