//! The sockets of the client: one for frames of an interface, and one from the leased address. Also
//! one that only sends.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};

use anyhow::Result;
use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MSH,
    BPF_RET, c_int, c_uint, sock_filter, sock_fprog, sockaddr_ll, socklen_t,
};
use rustix::thread::CapabilitySet;
use tokio::{io::unix::AsyncFd, time::sleep};

use super::frame::{CLIENT_PORT, SERVER_PORT};
use crate::{
    dhcp::client::require,
    names::{Family, IfName},
};

/// More than the longest frame without fragments.
const BUFFER_BYTES: usize = 2048;
/// How often and after which pause it is looked whether a message has left.
const SENT_LOOKS: u32 = 100;
const SENT_PAUSE: Duration = Duration::from_millis(10);
/// `SKF_AD_OFF + SKF_AD_VLAN_TAG`: the tag of the frame, which is not in its bytes.
const VLAN_TAG: u32 = (-0x1000_i32 + 44).cast_unsigned();
/// `SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT`: whether there is one.
const VLAN_TAG_PRESENT: u32 = (-0x1000_i32 + 48).cast_unsigned();

/// The frames of an interface that the client reads: DHCP for clients, and ARP.
pub struct Frames(AsyncFd<OwnedFd>);

impl Frames {
    /// Opens the socket on the interface with this index. Needs CAP_NET_RAW.
    pub fn open(index: u32) -> io::Result<Self> {
        // Nothing arrives before the filter and the interface are set.
        let fd = packet_socket()?;
        filter(&fd)?;
        bind_to(&fd, index, libc::ETH_P_ALL)?;
        // SAFETY: the descriptor stays open, and the same, as long as it is registered.
        Ok(Self(unsafe { AsyncFd::register(fd) }?))
    }

    /// The next frame.
    pub async fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let mut ready = self.0.readable().await?;
            let received = ready.try_io(|fd| {
                let (memory, length) = (buffer.as_mut_ptr().cast(), buffer.len());
                // SAFETY: the buffer lives during the call, with its length.
                let count = unsafe { libc::recv(fd.as_raw_fd(), memory, length, 0) };
                usize::try_from(count).map_err(|_| io::Error::last_os_error())
            });
            match received {
                Ok(Ok(length)) => return Ok(buffer[..length].to_vec()),
                Ok(Err(error)) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Sends a frame. One that the queue has no room for is lost, and sent again later.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), frame)
    }
}

/// A socket that only sends, by one interface. The kernel copies no frame to it.
pub struct Outlet(OwnedFd);

impl Outlet {
    /// Opens the socket on the interface with this index. Needs CAP_NET_RAW.
    pub fn open(index: u32) -> io::Result<Self> {
        const NO_PROTOCOL: c_int = 0;
        let fd = packet_socket()?;
        bind_to(&fd, index, NO_PROTOCOL)?;
        Ok(Self(fd))
    }

    /// Sends a frame. One that the queue has no room for is lost.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), frame)
    }
}

/// A packet socket without a protocol, which receives nothing.
fn packet_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no memory.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bind_to(fd: &OwnedFd, index: u32, protocol: c_int) -> io::Result<()> {
    let address = sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: u16::try_from(protocol).unwrap_or_default().to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size(&address);
    // SAFETY: the address lives during the call, with its length.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(())
}

fn send(fd: c_int, frame: &[u8]) -> io::Result<()> {
    let (memory, length) = (frame.as_ptr().cast(), frame.len());
    // SAFETY: the frame lives during the call, with its length.
    let count = unsafe { libc::send(fd, memory, length, 0) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A socket from the leased address to the server, through the node's routes. It is kept while an
/// answer is awaited, so that the kernel does not answer that nobody listens. The answer itself is
/// among the [`Frames`].
pub struct Renewal {
    socket: UdpSocket,
}

impl Renewal {
    /// Sends a message.
    pub fn send(
        name: &IfName,
        from: Ipv4Addr,
        server: Ipv4Addr,
        message: &[u8],
    ) -> io::Result<Self> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
        // SAFETY: takes no memory.
        let fd = check(unsafe { libc::socket(libc::AF_INET, kind, 0) })?;
        // SAFETY: a new descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        set(&fd, libc::SO_REUSEADDR, &1_i32, size(&1_i32))?;
        let (device, length) = (name.as_str().as_bytes(), name.as_str().len());
        let length = socklen_t::try_from(length).unwrap_or_default();
        set(&fd, libc::SO_BINDTODEVICE, &device[0], length)?;
        let address = libc::sockaddr_in {
            sin_family: u16::try_from(libc::AF_INET).unwrap_or_default(),
            sin_port: CLIENT_PORT.to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(from).to_be() },
            sin_zero: [0; 8],
        };
        let length = size(&address);
        // SAFETY: the address lives during the call, with its length.
        check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) })?;
        let socket = UdpSocket::from(fd);
        socket.send_to(message, (server, SERVER_PORT))?;
        Ok(Self { socket })
    }

    /// Waits until the message has left the node, for a limited time: it may wait for the server's
    /// MAC address.
    pub async fn sent(&self) {
        for _ in 0..SENT_LOOKS {
            let mut left: c_int = 0;
            // SAFETY: the number lives during the call.
            let result =
                unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut left) };
            if result < 0 || left == 0 {
                return;
            }
            sleep(SENT_PAUSE).await;
        }
    }
}

/// Refuses a process that cannot open the sockets.
pub fn check_rights() -> Result<()> {
    require(
        Family::V4,
        &[
            ("CAP_NET_RAW", CapabilitySet::NET_RAW),
            ("CAP_NET_BIND_SERVICE", CapabilitySet::NET_BIND_SERVICE),
        ],
    )
}

/// Lets only those frames through that [`super::frame::read`] reads, of the interface's own VLAN:
/// a bridge shows the frames of all VLANs.
fn filter(fd: &OwnedFd) -> io::Result<()> {
    let load = |size, offset| (BPF_LD | size | BPF_ABS, 0, 0, offset);
    // Jumps count from the next instruction.
    let program: [(c_uint, u8, u8, u32); 16] = [
        // Before Linux 6.2, a tag that is removed leaves its VID behind.
        load(BPF_H, VLAN_TAG_PRESENT),
        (BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 0),
        load(BPF_H, VLAN_TAG),
        (BPF_JMP | BPF_JSET | BPF_K, 11, 0, 0xfff),
        load(BPF_H, 12),
        // ARP
        (BPF_JMP | BPF_JEQ | BPF_K, 8, 0, 0x0806),
        // IPv4
        (BPF_JMP | BPF_JEQ | BPF_K, 0, 8, 0x0800),
        load(BPF_B, 23),
        // UDP
        (BPF_JMP | BPF_JEQ | BPF_K, 0, 6, 17),
        load(BPF_H, 20),
        // A fragment
        (BPF_JMP | BPF_JSET | BPF_K, 4, 0, 0x3fff),
        (BPF_LDX | BPF_B | BPF_MSH, 0, 0, 14),
        (BPF_LD | BPF_H | BPF_IND, 0, 0, 16),
        (BPF_JMP | BPF_JEQ | BPF_K, 0, 1, u32::from(CLIENT_PORT)),
        (BPF_RET | BPF_K, 0, 0, u32::MAX),
        (BPF_RET | BPF_K, 0, 0, 0),
    ];
    let mut program = program.map(|(code, jt, jf, k)| sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    });
    let length = u16::try_from(program.len()).unwrap_or_default();
    let program = sock_fprog { len: length, filter: program.as_mut_ptr() };
    set(fd, libc::SO_ATTACH_FILTER, &program, size(&program))
}

fn set<T>(fd: &OwnedFd, option: c_int, value: &T, length: socklen_t) -> io::Result<()> {
    let value = std::ptr::from_ref(value).cast();
    // SAFETY: the value lives during the call, with its length.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, value, length) })?;
    Ok(())
}

fn size<T>(value: &T) -> socklen_t {
    socklen_t::try_from(size_of_val(value)).unwrap_or_default()
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
