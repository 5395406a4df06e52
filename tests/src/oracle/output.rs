//! A frame that left a port, in a form for comparison: checksums completed, segments joined.

use std::collections::BTreeMap;

use super::{
    sent::{self, VIRTIO},
    socket::Received,
};

/// A frame that left a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub number: u32,
    /// With complete checksums. For TCP, without the fields that differ between segments.
    pub bytes: Vec<u8>,
}

/// All outputs, by bridge and port.
#[derive(Debug, Default)]
pub struct Outputs(BTreeMap<(usize, usize), Vec<Output>>);

impl Outputs {
    pub fn add(&mut self, bridge: usize, port: usize, output: Output) {
        let outputs = self.0.entry((bridge, port)).or_default();
        if let Some(last) = outputs.last_mut()
            && let Some(tcp) = tcp_offset(&output.bytes)
            && last.number == output.number
            && last.bytes[..tcp] == output.bytes[..tcp]
        {
            last.bytes.extend(&output.bytes[tcp + TCP..]);
        } else {
            outputs.push(output);
        }
    }

    pub fn of(&self, bridge: usize, port: usize) -> &[Output] {
        self.0.get(&(bridge, port)).map_or(&[], Vec::as_slice)
    }
}

const IP: usize = 20;
const TCP: usize = 20;

impl Output {
    /// `None` if the test has not sent the frame.
    pub fn new(received: Received) -> Option<Self> {
        let Received { virtio, mut bytes, restored, .. } = received;
        let number = sent::number(&bytes)?;
        complete(&mut bytes, &virtio, restored);
        if let Some(tcp) = tcp_offset(&bytes) {
            let ip = tcp - IP;
            let length = usize::from(u16::from_be_bytes([bytes[ip + 2], bytes[ip + 3]]));
            let length = length.min(bytes.len() - ip);
            let pseudo = u32::try_from(length - IP).unwrap() + 6;
            let well = [
                sent::sum(&bytes[ip..tcp], 0) == 0xffff,
                sent::sum(&bytes[ip + 12..ip + length], pseudo) == 0xffff,
            ];
            // Length, identification, checksum; sequence number, flags, checksum.
            for field in [
                ip + 2..ip + 6,
                ip + 10..ip + 12,
                tcp + 4..tcp + 8,
                tcp + 13..tcp + 14,
                tcp + 16..tcp + 18,
            ] {
                bytes[field].fill(0);
            }
            bytes[tcp + 4..tcp + 6].copy_from_slice(&well.map(u8::from));
        }
        Some(Self { number, bytes })
    }
}

/// Completes the checksum, which the sender has left to the NIC.
fn complete(bytes: &mut [u8], virtio: &[u8; VIRTIO], restored: usize) {
    let field = |at: usize| usize::from(u16::from_ne_bytes([virtio[at], virtio[at + 1]]));
    let (start, offset) = (field(6) + restored, field(8));
    if virtio[0] & 1 == 1 && start + offset + 2 <= bytes.len() {
        let checksum = !sent::sum(&bytes[start..], 0);
        bytes[start + offset..start + offset + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The offset of the TCP header, if there is one.
fn tcp_offset(bytes: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        match u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?) {
            sent::C | sent::S | sent::Q => at += 4,
            0x0800 => return (bytes.len() >= at + 2 + IP + TCP).then_some(at + 2 + IP),
            _ => return None,
        }
    }
}
