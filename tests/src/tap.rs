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

impl Gso {
    /// A frame to be cut, with so many bytes: its headers, where the checksum is, and the bytes.
    pub fn frame(self, [destination, source]: [[u8; 6]; 2], payload: u16) -> (Vec<u8>, [u16; 2]) {
        let udp = matches!(self, Self::Udp | Self::UdpL4);
        let protocol = if udp { 17 } else { 6 };
        let transport = if udp {
            let [high, low] = (8 + payload).to_be_bytes();
            vec![4, 0, 4, 1, high, low, 0, 0]
        } else {
            // With options of twelve bytes, as Linux has: a timestamp.
            let head = [4, 0, 4, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0x10, 0xff, 0xff, 0, 0, 0, 0];
            [&head[..], &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1]].concat()
        };
        let length = u16::try_from(transport.len()).unwrap() + payload;
        let network = if self == Self::Tcp6 {
            let [high, low] = length.to_be_bytes();
            let addresses =
                [&[0xfe, 0x80][..], &[0; 13], &[1], &[0xff, 2], &[0; 13], &[1]].concat();
            [&[0x86, 0xdd, 0x60, 0, 0, 0, high, low, protocol, 64][..], &addresses].concat()
        } else {
            let [high, low] = (20 + length).to_be_bytes();
            let head = [8, 0, 0x45, 0, high, low, 0, 1, 0, 0, 64, protocol, 0, 0];
            [&head[..], &[192, 0, 2, 1], &[255; 4]].concat()
        };
        let before = [&destination[..], &source, &network].concat();
        let checksum = [u16::try_from(before.len()).unwrap(), if udp { 6 } else { 16 }];
        ([before, transport, vec![0; payload.into()]].concat(), checksum)
    }
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

    /// Sends a frame as it is.
    pub fn send_whole(&self, frame: &[u8]) {
        let bytes = [&[0; 10], frame].concat();
        let written = (&self.0).write(&bytes).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(written, bytes.len());
    }
}
