//! Waits until frames that were sent before have arrived.
//!
//! Frames wait in the queues of their processor, which keep the order. Under load the kernel
//! empties the queues later, in ksoftirqd, and a frame that is sent later may arrive earlier if it
//! takes fewer hops or another queue.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use crate::{frame::Frame, lab::Netns, wire::Wire};

/// More hops than other frames take: from the link of a hidden tag to the port, into the bridge,
/// out of the bridge.
const HOPS: u32 = 4;
/// Frames that may be under way at a time: the shortest queue has 256 entries.
pub const BURST: u32 = 64;
/// After this time the frame is lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// A veth pair. One hop through it takes as long as one hop of the frames that were sent before.
pub struct Fence {
    ends: [Wire; 2],
    sent: Cell<u32>,
}

impl Fence {
    /// Creates the links `fence0` and `fence1` in a namespace.
    pub fn new(netns: &Netns) -> Self {
        netns.veth("fence0", netns, "fence1");
        let ends = ["fence0", "fence1"].map(|end| Wire::open(netns, end));
        Self { ends, sent: Cell::new(0) }
    }

    /// Waits until all frames that this processor has sent have arrived.
    pub fn pass(&self) {
        (0..HOPS).for_each(|_| self.hop());
    }

    fn hop(&self) {
        let [near, far] = &self.ends;
        loop {
            let number = self.sent.get() + 1;
            self.sent.set(number);
            let frame = Frame::numbered(number, &[]);
            near.send(&frame);
            let end = Instant::now() + PATIENCE;
            while let Some(bytes) = far.receive(end.saturating_duration_since(Instant::now())) {
                if bytes == frame.to_bytes() {
                    return;
                }
            }
        }
    }
}
