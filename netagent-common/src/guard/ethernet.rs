//! Tags and LLC headers before a packet.

use core::ops::ControlFlow;

use super::{Bytes, Packet, Walk, before};
use crate::{counters::Reason, vlan::is_tpid};

/// Length of an Ethernet address pair, behind which the Ethertype is.
const ADDRESSES: usize = 12;
/// Largest value of the field behind the addresses that is a length. IEEE 802.3 §3.2.6 leaves the
/// values up to [`MIN_ETHERTYPE`] undefined: Linux takes them for lengths, others for Ethertypes.
const MAX_LENGTH: usize = 1500;
/// Smallest Ethertype (IEEE 802.3 §3.2.6).
const MIN_ETHERTYPE: u16 = 1536;
/// Most tags and LLC headers before a protocol.
const MAX_LAYERS: u32 = 4;

/// The LLC address of SNAP, without the lowest bit: group addresses, and responses.
const SNAP_SAP: u8 = 0xaa;
/// The LLC header of SNAP: an unnumbered frame (IEEE 802-2014 §9.5).
const SNAP: [u8; 3] = [0xaa, 0xaa, 3];
/// The OUIs behind which the Ethertype of a frame without SNAP is: those of RFC 1042, and of bridge
/// tunnels (IEEE 802.1H).
const ETHERTYPE_OUIS: [[u8; 3]; 2] = [[0, 0, 0], [0, 0, 0xf8]];

/// The packet in a frame.
#[inline(always)]
pub fn packet(frame: &(impl Bytes + ?Sized)) -> Result<Packet, Reason> {
    let end = frame.length();
    let result = Err(Reason::StackedTag);
    let mut layers = Layers { offset: frame.unknown(ADDRESSES), end, in_snap: false, result };
    frame.walk(MAX_LAYERS, &mut layers);
    layers.result
}

/// The tags and LLC headers before a packet.
struct Layers {
    /// The offset of an Ethertype or length.
    offset: usize,
    /// As in [`Packet`].
    end: usize,
    in_snap: bool,
    result: Result<Packet, Reason>,
}

impl Layers {
    #[inline(always)]
    fn end_with(&mut self, result: Result<Packet, Reason>) -> ControlFlow<()> {
        self.result = result;
        ControlFlow::Break(())
    }

    /// Whether the frame goes on with an Ethertype behind the LLC header at an offset.
    #[inline(always)]
    fn is_snap(&self, frame: &(impl Bytes + ?Sized), offset: usize) -> Result<bool, Reason> {
        let llc @ [destination, source, _] = before(self.end, frame, offset)?;
        if llc != SNAP {
            // Linux looks at the first address only.
            let is_like_snap = destination & !1 == SNAP_SAP || source & !1 == SNAP_SAP;
            return if is_like_snap { Err(Reason::Malformed) } else { Ok(false) };
        }
        Ok(ETHERTYPE_OUIS.contains(&before(self.end, frame, offset + SNAP.len())?))
    }
}

impl Walk for Layers {
    #[inline(always)]
    fn step(&mut self, frame: &(impl Bytes + ?Sized)) -> ControlFlow<()> {
        let field = match before(self.end, frame, self.offset) {
            Ok(field) => u16::from_be_bytes(field),
            Err(reason) => return self.end_with(Err(reason)),
        };
        if is_tpid(field) {
            self.offset = frame.unknown(self.offset + 4);
            return ControlFlow::Continue(());
        }
        let start = self.offset + 2;
        if field >= MIN_ETHERTYPE {
            return self.end_with(Ok(Packet { protocol: field, start, end: self.end }));
        }
        let length = usize::from(field);
        if length > MAX_LENGTH || self.in_snap || start + length > self.end {
            return self.end_with(Err(Reason::Malformed));
        }
        self.end = frame.unknown(start + length);
        match self.is_snap(frame, start) {
            Ok(true) => {
                // The Ethertype of SNAP is where that of a frame without it would be.
                self.offset = frame.unknown(self.offset + 8);
                self.in_snap = true;
                ControlFlow::Continue(())
            }
            Ok(false) => self.end_with(Ok(Packet { protocol: 0, start, end: self.end })),
            Err(reason) => self.end_with(Err(reason)),
        }
    }
}
