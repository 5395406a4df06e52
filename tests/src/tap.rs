//! A tap as QEMU has one: frames of a guest with their `virtio_net_hdr`.
#![expect(clippy::cast_possible_truncation, reason = "constants of the system's headers")]

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    mem::zeroed,
    os::fd::AsRawFd as _,
};

use crate::{lab::Netns, wire::check};

/// What a guest asks the host to cut, with its number in `virtio_net_hdr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gso {
    Tcp4 = 1,
    /// Into fragments.
    Udp = 3,
    Tcp6 = 4,
    /// Into datagrams, since 6.2 (commit 860b7f27b8f7).
    UdpL4 = 5,
}

/// VIRTIO_NET_HDR_F_NEEDS_CSUM
const NEEDS_CSUM: u8 = 1;

/// The open tap; it goes when it is dropped.
pub struct Tap(File);

impl Tap {
    /// Adds a tap, which is up.
    pub fn open(netns: &Netns, name: &str) -> Self {
        let open = || -> io::Result<File> {
            let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
            // SAFETY: a request without pointers, which outlives the call.
            unsafe {
                let mut request: libc::ifreq = zeroed();
                for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                    *to = from.cast_signed();
                }
                let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
                request.ifr_ifru.ifru_flags = flags as i16;
                check(libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request))?;
            }
            Ok(file)
        };
        let file = netns.inside(open).unwrap_or_else(|error| panic!("{name}: {error}"));
        netns.sh(&format!("ip link set {name} up"));
        Self(file)
    }

    /// Sends a frame that the host is to cut; the checksum is at `checksum`, in the header at
    /// `transport`.
    pub fn send(&self, kind: Gso, size: u16, [transport, checksum]: [u16; 2], frame: &[u8]) {
        let [header, start, offset] = [transport + 8, transport, checksum].map(u16::to_ne_bytes);
        let header = [&[NEEDS_CSUM, kind as u8][..], &header, &size.to_ne_bytes(), &start, &offset];
        let bytes = [&header.concat(), frame].concat();
        let written = (&self.0).write(&bytes).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(written, bytes.len());
    }
}
