//! Splits frames into batches. Only frames of one batch are under way at the same time.
//!
//! Under load, the kernel processes softirqs later, in ksoftirqd, and frames overtake each other: a
//! NIC with XDP has a separate queue, and a frame with a hidden tag takes one hop more. Bridges
//! that see frames in different orders learn stations at different times and flood different
//! frames. That is not a wrong verdict.

use super::sent::Sent;

/// Splits frames into batches of at most `most` frames. The order of frames in a batch does not
/// matter.
pub fn batches(frames: &[Sent], most: usize) -> Vec<&[Sent]> {
    let (mut batches, mut start) = (Vec::new(), 0);
    for end in 1..=frames.len() {
        let batch = &frames[start..end];
        let full = batch.len() == most || end == frames.len();
        if full || batch.iter().any(|sent| !are_independent(sent, &frames[end])) {
            batches.push(batch);
            start = end;
        }
    }
    batches
}

/// Whether no bridge learns from one frame where to send the other, and both do not say that a
/// station is at different ports.
fn are_independent(one: &Sent, other: &Sent) -> bool {
    let learned = |from: &Sent, to: &Sent| !from.is_short() && from.source == to.destination;
    let moved = one.source == other.source && one.from != other.from;
    !learned(one, other) && !learned(other, one) && (!moved || one.is_short() || other.is_short())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::sent::Content;

    fn sent(from: usize, source: u8, destination: u8) -> Sent {
        Sent {
            from,
            hidden: false,
            destination: [2, 0, 0, 0, 0, destination],
            source: [2, 0, 0, 0, 0, source],
            tags: &[],
            content: Content::Test(46),
        }
    }

    fn lengths(frames: &[Sent], most: usize) -> Vec<usize> {
        batches(frames, most).iter().map(|batch| batch.len()).collect()
    }

    #[test]
    fn a_batch_ends_before_a_frame_that_depends_on_an_earlier_one() {
        crate::once();
        let independent = [sent(0, 1, 9), sent(0, 1, 9), sent(1, 2, 9)];
        assert_eq!(lengths(&independent, 32), [3]);
        assert_eq!(lengths(&independent, 2), [2, 1]);
        assert_eq!(lengths(&[sent(0, 1, 9), sent(1, 2, 9), sent(2, 3, 1)], 32), [2, 1]);
        assert_eq!(lengths(&[sent(2, 3, 1), sent(0, 1, 9)], 32), [1, 1]);
        assert_eq!(lengths(&[sent(0, 1, 9), sent(1, 1, 9)], 32), [1, 1]);
        let short = Sent { content: Content::Test(0), ..sent(0, 1, 9) };
        assert_eq!(lengths(&[short, sent(2, 3, 1)], 32), [2]);
        assert_eq!(lengths(&[], 32), [] as [usize; 0]);
    }
}
