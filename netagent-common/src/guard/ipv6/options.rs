//! The options of neighbour discovery.

use core::ops::ControlFlow;

use crate::{
    counters::Reason,
    guard::{Bytes, Owner, Walk, before},
};

/// Most options in a message.
const MAX_OPTIONS: u32 = 8;
/// Source and target link-layer address (RFC 4861 §4.6.1).
const LINK_LAYER: [u8; 2] = [1, 2];

/// Every link-layer address that a message gives must be one of the port's. Nodes discard a message
/// whose options do not end where it ends (RFC 4861 §4.6, §6.1, §7.1).
#[inline(always)]
pub fn check(
    frame: &(impl Bytes + ?Sized),
    offset: usize,
    end: usize,
    owner: impl Owner,
) -> Result<(), Reason> {
    if offset > end {
        return Err(Reason::Malformed);
    }
    let mut options =
        Options { offset: frame.unknown(offset), end, owner, result: Err(Reason::NdSpoofed) };
    frame.walk(MAX_OPTIONS, &mut options);
    options.result
}

/// The options of a message.
struct Options<O> {
    offset: usize,
    /// Offset behind the message.
    end: usize,
    /// Without pointers, which the verifier follows through the stack.
    owner: O,
    result: Result<(), Reason>,
}

impl<O: Owner> Options<O> {
    /// The offset of the next option.
    #[inline(always)]
    fn next(&self, frame: &(impl Bytes + ?Sized)) -> Result<usize, Reason> {
        let [kind, length] = before(self.end, frame, self.offset)?;
        if length == 0 {
            return Err(Reason::Malformed);
        }
        let is_address = LINK_LAYER.contains(&kind);
        if is_address && !self.owner.has_mac(before(self.end, frame, self.offset + 2)?) {
            return Err(Reason::NdSpoofed);
        }
        Ok(frame.unknown(self.offset + usize::from(length) * 8))
    }
}

impl<O: Owner> Walk for Options<O> {
    #[inline(always)]
    fn step(&mut self, frame: &(impl Bytes + ?Sized)) -> ControlFlow<()> {
        if self.offset == self.end {
            self.result = Ok(());
            return ControlFlow::Break(());
        }
        match self.next(frame) {
            Ok(next) => {
                self.offset = next;
                ControlFlow::Continue(())
            }
            Err(reason) => {
                self.result = Err(reason);
                ControlFlow::Break(())
            }
        }
    }
}
