//! A packet socket on a link of a namespace: sends and receives as a VM or a switch port does.
#![expect(
    clippy::cast_possible_truncation,
    reason = "constants of the system's headers and sizes of its structures, which are small"
)]

use std::{
    ffi::CString,
    io,
    mem::{size_of, zeroed},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};

use crate::{frame::Frame, lab::Netns};

/// `struct tpacket_auxdata`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Auxdata {
    status: u32,
    len: u32,
    snaplen: u32,
    mac: u16,
    net: u16,
    vlan_tci: u16,
    vlan_tpid: u16,
}

impl Auxdata {
    /// Inserts the outer tag again, which the kernel has moved from the bytes to the metadata.
    pub fn restore_tag(&self, bytes: &mut Vec<u8>) {
        if self.status & TP_STATUS_VLAN_VALID != 0 {
            let has_tpid = self.status & TP_STATUS_VLAN_TPID_VALID != 0;
            let tpid = if has_tpid { self.vlan_tpid } else { 0x8100 };
            let tag = [tpid.to_be_bytes(), self.vlan_tci.to_be_bytes()].concat();
            bytes.splice(12..12, tag);
        }
    }
}

const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
pub const PACKET_AUXDATA: i32 = 8;
pub const PACKET_IGNORE_OUTGOING: i32 = 23;

/// An open packet socket.
pub struct Wire {
    socket: OwnedFd,
    pub name: String,
}

impl Wire {
    /// Opens a socket on a link.
    pub fn open(netns: &Netns, link: &str) -> Self {
        let name = format!("{}:{link}", netns.name);
        let open = || -> io::Result<OwnedFd> {
            let link = CString::new(link)?;
            // SAFETY: plain system calls on descriptors and buffers that live here.
            unsafe {
                let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
                let socket = check(libc::socket(libc::AF_PACKET, libc::SOCK_RAW, protocol))?;
                let socket = OwnedFd::from_raw_fd(socket);
                let on: i32 = 1;
                for option in [PACKET_AUXDATA, PACKET_IGNORE_OUTGOING] {
                    let length = size_of::<i32>() as u32;
                    let value = (&raw const on).cast();
                    check(libc::setsockopt(
                        socket.as_raw_fd(),
                        libc::SOL_PACKET,
                        option,
                        value,
                        length,
                    ))?;
                }
                // The socket must not lose frames of a burst, even under load.
                let room: i32 = 1 << 26;
                let (length, room) = (size_of::<i32>() as u32, (&raw const room).cast());
                let (level, option) = (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE);
                check(libc::setsockopt(socket.as_raw_fd(), level, option, room, length))?;
                let mut address: libc::sockaddr_ll = zeroed();
                address.sll_family = libc::AF_PACKET as u16;
                address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
                address.sll_ifindex = libc::if_nametoindex(link.as_ptr()).cast_signed();
                let length = size_of::<libc::sockaddr_ll>() as u32;
                check(libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length))?;
                Ok(socket)
            }
        };
        let socket = netns.inside(open);
        Self { socket: socket.unwrap_or_else(|error| panic!("{name}: {error}")), name }
    }

    /// Sends a frame.
    pub fn send(&self, frame: &Frame) {
        self.send_bytes(&frame.to_bytes());
    }

    /// Sends bytes that may be no frame.
    pub fn send_bytes(&self, bytes: &[u8]) {
        // SAFETY: the buffer outlives the call.
        let sent =
            unsafe { libc::send(self.socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        let error = io::Error::last_os_error();
        // A bond without an active aggregator drops frames, as a wire would. A test that waits for
        // the frame fails.
        let dropped = sent < 0 && error.raw_os_error() == Some(libc::ENOBUFS);
        assert!(dropped || sent == bytes.len().cast_signed(), "{}: {error}", self.name);
    }

    /// The next frame. `None` if no frame comes within the time.
    pub fn receive(&self, patience: Duration) -> Option<Vec<u8>> {
        let mut poll =
            libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let patience = i32::try_from(patience.as_millis()).unwrap();
        let mut bytes = vec![0; 65536];
        let mut control = [0u64; 16];
        let mut auxdata = None;
        // SAFETY: the buffers outlive the calls, and the lengths are theirs.
        let length = unsafe {
            if libc::poll(&raw mut poll, 1, patience) != 1 {
                return None;
            }
            let mut vector =
                libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let mut message: libc::msghdr = zeroed();
            message.msg_iov = &raw mut vector;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control);
            let length = libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0);
            // The device may go down, or be deleted, while a test runs.
            if length < 0 {
                return None;
            }
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            if !header.is_null() && (*header).cmsg_type == PACKET_AUXDATA {
                auxdata = Some(libc::CMSG_DATA(header).cast::<Auxdata>().read_unaligned());
            }
            usize::try_from(length).unwrap()
        };
        bytes.truncate(length);
        if let Some(auxdata) = auxdata {
            auxdata.restore_tag(&mut bytes);
        }
        Some(bytes)
    }
}

pub fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
