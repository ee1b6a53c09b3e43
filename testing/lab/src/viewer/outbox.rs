//! The viewer's counted stream: what it wrote and the agent has not acknowledged, to be sent again where a path broke.

use bytes::Bytes;
use meridian_stream::Frame;

use super::core::Lost;

/// Invariant: `start <= sent <= start + kept.len()`.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The offset of the first byte that is kept: what was acknowledged.
    start: u64,
    sent: u64,
    kept: Vec<u8>,
}

impl Outbox {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
    }

    /// The next DATA frame that the agent's window allows.
    pub(crate) fn next_frame(&mut self, window: u64) -> Option<Frame> {
        let from = to_index(self.sent - self.start);
        let end = to_index(window).min(self.kept.len()).min(from.saturating_add(Frame::MAX_DATA_BYTES));
        let piece = self.kept.get(from..end).filter(|piece| !piece.is_empty())?;
        let frame = Frame::Data { offset: self.sent, bytes: Bytes::copy_from_slice(piece) };
        self.sent += piece.len() as u64;
        Some(frame)
    }

    /// A lower count than an earlier one says nothing new.
    pub(crate) fn acknowledge(&mut self, received: u64) -> Result<(), Lost> {
        if received > self.sent {
            return Err(Lost("the agent acknowledged bytes that were never sent"));
        }
        let released = to_index(received.saturating_sub(self.start)).min(self.kept.len());
        self.kept.drain(..released);
        self.start += released as u64;
        Ok(())
    }

    /// Goes on over another path, from what the agent has.
    pub(crate) fn resume_at(&mut self, received: u64) -> Result<(), Lost> {
        if !(self.start..=self.sent).contains(&received) {
            return Err(Lost("the agent resumed at bytes that are not kept"));
        }
        self.acknowledge(received)?;
        self.sent = received;
        Ok(())
    }
}

fn to_index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_acknowledged_is_sent_again_and_nothing_else() {
        let mut outbox = Outbox::default();
        outbox.write(b"abcdef");
        let frame =
            |offset, bytes: &'static [u8]| Some(Frame::Data { offset, bytes: Bytes::from_static(bytes) });
        assert_eq!(outbox.next_frame(4), frame(0, b"abcd"));
        assert_eq!(outbox.next_frame(4), None);
        outbox.acknowledge(2).unwrap();
        assert_eq!(outbox.next_frame(4), frame(4, b"ef"));
        outbox.resume_at(3).unwrap();
        assert_eq!(outbox.next_frame(100), frame(3, b"def"));
        assert!(outbox.resume_at(2).is_err() && outbox.acknowledge(7).is_err());
    }
}
