//! A frame to send: its parts, its bytes, and the number that identifies it.

use crate::frame::TEST;
pub use crate::frame::{C, S};

/// An old TPID of QinQ. It is not a tag for the kernel and for netagent.
pub const Q: u16 = 0x9100;
const IPV4: u16 = 0x0800;
/// Segment size of super-frames.
pub const SEGMENT: u16 = 1000;
/// The source of a frame without room for its number in the payload: this prefix, then the number.
const SHORT: [u8; 3] = [0x02, 0x74, 0x53];
/// `struct virtio_net_hdr`
pub const VIRTIO: usize = 10;
const VIRTIO_NEEDS_CSUM: u8 = 1;
const VIRTIO_GSO_TCPV4: u8 = 1;

/// A frame that is sent to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Number of the port.
    pub from: usize,
    /// Whether the outer tag is in the metadata of the skb.
    pub hidden: bool,
    pub destination: [u8; 6],
    pub source: [u8; 6],
    /// TPID and TCI of each tag, the outer one first.
    pub tags: &'static [(u16, u16)],
    pub content: Content,
}

/// The part after the tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The test's Ethertype, and this many bytes.
    Test(u16),
    /// Nothing: the frame ends this many bytes after the TPID of the outer tag.
    Cut(u16),
    /// TCP over IPv4 with this many bytes. The NIC completes the checksum.
    Tcp(u16),
    /// TCP over IPv4 with this many bytes. The NIC completes the checksum and segments the frame.
    Super(u16),
}

impl Sent {
    /// The bytes, and the header that tells the kernel about checksum and segmentation.
    pub fn to_bytes(self, number: u32) -> (Vec<u8>, [u8; VIRTIO]) {
        let mut bytes = [self.destination, self.source(number)].concat();
        if let Content::Cut(length) = self.content {
            let (tpid, tci) = self.tags[0];
            bytes.extend([tpid.to_be_bytes(), tci.to_be_bytes()].concat());
            bytes.truncate(14 + usize::from(length));
            return (bytes, [0; VIRTIO]);
        }
        for (tpid, tci) in self.tags {
            bytes.extend([tpid.to_be_bytes(), tci.to_be_bytes()].concat());
        }
        let (length, segments) = match self.content {
            Content::Test(length) | Content::Cut(length) => {
                bytes.extend(TEST.to_be_bytes());
                bytes.extend(filling(number, length));
                return (bytes, [0; VIRTIO]);
            }
            Content::Tcp(length) => (length, false),
            Content::Super(length) => (length, true),
        };
        bytes.extend(IPV4.to_be_bytes());
        let ip = u16::try_from(bytes.len()).unwrap();
        bytes.extend(tcp(number, length));
        (bytes, virtio(ip, segments))
    }

    /// Whether the payload has no room for the number. Then the source is the number, and no bridge
    /// learns a station.
    pub const fn is_short(&self) -> bool {
        matches!(self.content, Content::Test(0..4) | Content::Cut(_))
    }

    fn source(&self, number: u32) -> [u8; 6] {
        let mut source = self.source;
        if self.is_short() {
            source[..3].copy_from_slice(&SHORT);
            source[3..].copy_from_slice(&number.to_be_bytes()[1..]);
        }
        source
    }
}

/// The number of a frame that left a port. `None` if the test has not sent the frame.
pub fn number(bytes: &[u8]) -> Option<u32> {
    let (addresses, mut rest) = bytes.split_first_chunk::<12>()?;
    if addresses[6..9] == SHORT {
        return Some(u32::from_be_bytes([0, addresses[9], addresses[10], addresses[11]]));
    }
    loop {
        let (ethertype, after) = rest.split_first_chunk::<2>()?;
        match u16::from_be_bytes(*ethertype) {
            C | S | Q => rest = after.get(2..)?,
            TEST => return Some(u32::from_be_bytes(*after.first_chunk()?)),
            // The source address.
            IPV4 => return Some(u32::from_be_bytes(*after.get(12..)?.first_chunk()?)),
            _ => return None,
        }
    }
}

/// Bytes that begin with the number and contain no tags.
fn filling(number: u32, length: u16) -> Vec<u8> {
    let head = number.to_be_bytes().into_iter();
    head.chain((4..=255).cycle()).take(usize::from(length)).collect()
}

/// IPv4 and TCP headers, and this many bytes.
fn tcp(number: u32, length: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((40 + length).to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, 6, 0, 0]);
    packet.extend(number.to_be_bytes());
    packet.extend([198, 51, 100, 1]);
    let checksum = !sum(&packet, 0);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    // The checksum of the pseudo-header. The kernel adds the rest.
    let pseudo = sum(&packet[12..20], 6 + 20 + u32::from(length));
    packet.extend([0, 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff]);
    packet.extend(pseudo.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(filling(number, length));
    packet
}

fn virtio(ip: u16, segments: bool) -> [u8; VIRTIO] {
    let (gso, size) = if segments { (VIRTIO_GSO_TCPV4, SEGMENT) } else { (0, 0) };
    let mut header = vec![VIRTIO_NEEDS_CSUM, gso];
    for field in [ip + 40, size, ip + 20, 16] {
        header.extend(field.to_ne_bytes());
    }
    header.try_into().unwrap()
}

/// The Internet checksum without the final complement.
pub fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}
