//! The bytes of the agent's counted stream that the viewer has not acknowledged: those that were sent, to send them again on another path,
//! and those that wait.
//!
//! It is as long as the window lets it become and what its user wrote beyond that; a user that writes only when nothing waits
//! bounds it to the window and one write.

use std::collections::VecDeque;

/// An emptied ring keeps this much room, so that a stream of small messages asks for none; an idle stream holds no more.
const KEEP_BYTES: usize = 4 << 10;

#[derive(Debug, Default)]
pub(crate) struct Ring {
    /// The offset of the first byte: what was acknowledged.
    start: u64,
    bytes: VecDeque<u8>,
}

impl Ring {
    /// The offset after the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    pub(crate) fn kept(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// The bytes from `offset` on, at most `length`, in two parts because they may go around the end.
    pub(crate) fn range(&self, offset: u64, length: usize) -> (&[u8], &[u8]) {
        let from = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let to = from.saturating_add(length);
        let (first, second) = self.bytes.as_slices();
        let part = |slice: &[u8], at: usize| {
            let clip = |index: usize| index.saturating_sub(at).min(slice.len());
            clip(from)..clip(to)
        };
        (&first[part(first, 0)], &second[part(second, first.len())])
    }

    /// Forgets what lies before `offset`.
    pub(crate) fn release(&mut self, offset: u64) {
        let acknowledged = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let acknowledged = acknowledged.min(self.bytes.len());
        self.bytes.drain(..acknowledged);
        self.start += acknowledged as u64;
        if self.bytes.is_empty() && self.bytes.capacity() > KEEP_BYTES {
            self.bytes = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(ring: &Ring, offset: u64, length: usize) -> Vec<u8> {
        let (first, second) = ring.range(offset, length);
        [first, second].concat()
    }

    #[test]
    fn what_is_kept_can_be_read_from_anywhere_also_around_the_end() {
        let (mut ring, source) = (Ring::default(), (0..60_000_u32).map(|at| at as u8).collect::<Vec<_>>());
        for round in 0..20_u64 {
            let piece = &source[usize::try_from(round).unwrap() * 3000..][..3000];
            ring.write(piece);
            ring.release((round * 3000).saturating_sub(2500));
            assert_eq!(collect(&ring, round * 3000, 3000), piece);
            assert_eq!(collect(&ring, round * 3000 + 2999, 10), &piece[2999..]);
        }
        assert_eq!(collect(&ring, ring.end() - 4000, 4000), &source[56_000..]);
    }

    #[test]
    fn an_emptied_ring_holds_no_memory() {
        let mut ring = Ring::default();
        ring.write(&[0; 1 << 20]);
        ring.release(u64::MAX);
        assert_eq!((ring.end(), ring.kept()), (1 << 20, 0));
        assert!(ring.bytes.capacity() <= KEEP_BYTES);
    }
}
