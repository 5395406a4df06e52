//! Frames that a device will cut into segments.

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
};

use super::lab::{Address, ETHERNET, text};
use crate::lab::Netns;

/// Payload of a segment in bytes.
const SEGMENT: u16 = 1000;
/// Headers of IPv4 and UDP.
const HEADERS: usize = 20 + 8;
/// The end of a VM's link that sends segmented frames to any address.
pub struct Sender<'a> {
    netns: &'a Netns,
    device: &'a str,
}

impl<'a> Sender<'a> {
    /// Gives the end of a link an IPv4 address.
    pub fn new(netns: &'a Netns, device: &'a str, mac: Address) -> Self {
        netns.sh(&format!(
            "ip link set {device} address {} && ip address add 192.0.2.1/24 dev {device}",
            text(mac)
        ));
        Self { netns, device }
    }

    /// Sends a frame of so many segments; returns its length.
    pub fn send(&self, destination: Address, segments: usize) -> u64 {
        let Self { netns, device } = self;
        netns.sh(&format!(
            "ip neighbour replace 192.0.2.2 lladdr {} dev {device} nud permanent",
            text(destination)
        ));
        let payload = vec![0; segments * usize::from(SEGMENT)];
        netns.inside(|| {
            let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
            let segment = i32::from(SEGMENT);
            let length = u32::try_from(size_of_val(&segment)).unwrap();
            // SAFETY: the value outlives the call.
            let result = unsafe {
                let (level, option) = (libc::SOL_UDP, libc::UDP_SEGMENT);
                let value = (&raw const segment).cast();
                libc::setsockopt(socket.as_raw_fd(), level, option, value, length)
            };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            let to: SocketAddr = "192.0.2.2:9".parse().unwrap();
            assert_eq!(socket.send_to(&payload, to).unwrap(), payload.len());
        });
        u64::try_from(ETHERNET + HEADERS + payload.len()).unwrap()
    }
}
