//! Walks through the headers of a frame that is an skb, in and beyond its linear part.

use core::{ops::ControlFlow, ptr::NonNull};

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use netagent_common::guard::{Bytes, Walk};

use crate::{
    packet::Skb,
    repeat::{Body, repeat},
};

impl Bytes for Skb<'_> {
    #[inline(always)]
    fn length(&self) -> usize {
        self.0.len() as usize
    }

    /// Reads beyond the linear part, too.
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.load(offset).ok()
    }

    /// By two reads of one field, of which the verifier does not know that they are equal.
    #[inline(always)]
    fn unknown(&self, number: usize) -> usize {
        // SAFETY: the verifier checks field reads of the context.
        let length = || unsafe { (&raw const (*self.raw()).len).read_volatile() };
        number ^ (length() ^ length()) as usize
    }

    #[inline(always)]
    fn walk(&self, most: u32, walk: &mut impl Walk) {
        if let Some(skb) = NonNull::new(self.raw()) {
            repeat(most, Steps { skb, walk });
        }
    }
}

/// A walk through a frame.
struct Steps<W> {
    skb: NonNull<__sk_buff>,
    walk: *mut W,
}

impl<W: Walk> Body for Steps<W> {
    #[inline(always)]
    fn step(&mut self, _: u64) -> ControlFlow<()> {
        // SAFETY: the walk that `Skb::walk` borrows.
        unsafe { &mut *self.walk }.step(&Skb(&TcContext::new(self.skb)))
    }
}
