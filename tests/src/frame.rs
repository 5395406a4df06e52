//! Ethernet frames and their bytes.

use std::fmt;

/// Ethertype for local experiments (IEEE 802, 0x88B5): no stack answers such frames, and bridge
/// netfilter does not inspect them.
pub const TEST: u16 = 0x88b5;
pub const ARP: u16 = 0x0806;
pub const RARP: u16 = 0x8035;
pub const IPV6: u16 = 0x86dd;
/// TPID of a C-tag (802.1Q).
pub const C: u16 = 0x8100;
/// TPID of an S-tag (802.1ad).
pub const S: u16 = 0x88a8;
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// A frame: addresses, tags as (TPID, TCI) from the outer to the inner, Ethertype, payload.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame {
    pub destination: [u8; 6],
    pub source: [u8; 6],
    pub tags: Vec<(u16, u16)>,
    pub ethertype: u16,
    pub payload: Vec<u8>,
}

impl Frame {
    /// A broadcast frame with this number as its payload, which distinguishes it from all other
    /// frames.
    pub fn numbered(number: u32, tags: &[(u16, u16)]) -> Self {
        let mut payload = vec![0; 46];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        let [_, b, c, d] = number.to_be_bytes();
        Self {
            destination: BROADCAST,
            source: [0x02, 0x74, 0, b, c, d],
            tags: tags.to_vec(),
            ethertype: TEST,
            payload,
        }
    }

    pub fn number(&self) -> u32 {
        u32::from_be_bytes([self.payload[0], self.payload[1], self.payload[2], self.payload[3]])
    }

    pub fn with_tags(&self, tags: &[(u16, u16)]) -> Self {
        Self { tags: tags.to_vec(), ..self.clone() }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [self.destination, self.source].concat();
        for (tpid, tci) in &self.tags {
            bytes.extend(tpid.to_be_bytes());
            bytes.extend(tci.to_be_bytes());
        }
        bytes.extend(self.ethertype.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// Parses a frame. `None` if the bytes are too short.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (destination, rest) = bytes.split_first_chunk::<6>()?;
        let (source, mut rest) = rest.split_first_chunk::<6>()?;
        let mut tags = Vec::new();
        loop {
            let (ethertype, after) = rest.split_first_chunk::<2>()?;
            let ethertype = u16::from_be_bytes(*ethertype);
            if !matches!(ethertype, C | S) {
                let payload = after.to_vec();
                return Some(Self {
                    destination: *destination,
                    source: *source,
                    tags,
                    ethertype,
                    payload,
                });
            }
            let (tci, after) = after.split_first_chunk::<2>()?;
            tags.push((ethertype, u16::from_be_bytes(*tci)));
            rest = after;
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame")?;
        for (tpid, tci) in &self.tags {
            write!(f, " {tpid:04x}/{}", tci & 0xfff)?;
            if tci >> 12 != 0 {
                write!(f, "p{}", tci >> 12)?;
            }
        }
        write!(f, " {:04x}", self.ethertype)?;
        if self.ethertype == TEST { write!(f, " no {}", self.number()) } else { Ok(()) }
    }
}
