//! Blocks of a pcapng file (draft-ietf-opsawg-pcapng), little-endian: one section header, an
//! interface per device, the frames.

use super::event::Event;
use netagent_common::counters::Direction;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u16 = 1;

const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;

/// The section header block, with which a file begins.
pub fn section() -> Vec<u8> {
    let mut body = BYTE_ORDER_MAGIC.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0]);
    // The length of the section is unknown.
    body.extend(u64::MAX.to_le_bytes());
    let program = concat!("netagent ", env!("CARGO_PKG_VERSION"));
    option(&mut body, SHB_USERAPPL, program.as_bytes());
    option(&mut body, END_OF_OPTIONS, &[]);
    block(SECTION_HEADER, &body)
}

/// The interface block of a device. Interfaces are numbered by their order in the file.
pub fn interface(name: &str) -> Vec<u8> {
    let mut body = LINKTYPE_ETHERNET.to_le_bytes().to_vec();
    // Reserved field, then snap length 0: no limit.
    body.extend([0; 6]);
    option(&mut body, IF_NAME, name.as_bytes());
    // Time stamps are in units of 10^-9 seconds.
    option(&mut body, IF_TSRESOL, &[9]);
    option(&mut body, END_OF_OPTIONS, &[]);
    block(INTERFACE_DESCRIPTION, &body)
}

/// The packet block of a frame, with the number of its interface.
pub fn packet(interface: u32, event: &Event) -> Vec<u8> {
    let [high, low] = [event.time >> 32, event.time & 0xffff_ffff];
    let captured = event.bytes.len();
    let mut body = Vec::new();
    for word in [u64::from(interface), high, low, captured as u64, event.length.into()] {
        // Each field is 32 bits long.
        body.extend(&word.to_le_bytes()[..4]);
    }
    body.extend(&event.bytes);
    pad(&mut body);
    option(&mut body, COMMENT, format!("dropped: {}", event.reason).as_bytes());
    let inbound_or_outbound: u32 = match event.direction {
        Direction::Receive => 1,
        Direction::Transmit => 2,
    };
    option(&mut body, EPB_FLAGS, &inbound_or_outbound.to_le_bytes());
    option(&mut body, END_OF_OPTIONS, &[]);
    block(ENHANCED_PACKET, &body)
}

/// A block has its length at both ends, so that a file can be read backwards. All bodies consist
/// of whole 32-bit words.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].concat()
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
