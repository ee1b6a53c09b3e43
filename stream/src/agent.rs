//! The agent's side of a stream, over all the paths that it has one after another.
//!
//! ```text
//!           first ATTACH                    path broken
//! (nothing) ────────────> attached, NEW <───────────────> parked
//!                              ^                            │ a later ATTACH
//!                              └── RESUMED or RESTARTED ────┘ (or beside a path that still lives)
//! ```
//!
//! A viewer that leaves for good says so, and then nothing is kept for it: an attach after its LEAVE is RESTARTED.
//!
//! It counts both directions, keeps what the viewer has not acknowledged, judges every frame and decides what a later attach comes to. It owns no
//! socket and no timer; which path its messages leave on is its caller's affair.
//!
//! Invariants: attach numbers rise. What is kept is bounded by the send window and one write of the caller's. A stream resumes only when the
//! viewer is known to count from the same beginning: until a frame came after the ATTACHED that said NEW or RESTARTED, that answer may have
//! been lost, and a viewer that never heard it still counts from before.

use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::{Attach, AttachError, Frame, Verdict, Window, ring::Ring};

/// An acknowledgement is due after this many bytes, and in any case within 100 ms (the caller's timer).
const ACK_EVERY_BYTES: u64 = 32 << 10;
/// Longest DATA, so that a PONG never waits behind much.
const PIECE_BYTES: u64 = 32 << 10;

/// Why an attached path is closed, and with it the stream: a viewer that breaks the rules does not resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("a frame that viewers do not send here")]
    Unexpected,
    #[error("data at offset {offset} leaves a gap: {expected} was next")]
    Gap { offset: u64, expected: u64 },
    #[error("data beyond the window")]
    Window,
    #[error("an acknowledgement of bytes that were never sent")]
    AckBeyondSent,
}

/// What a frame of an attached viewer came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The next bytes of the viewer's counted stream.
    Data(Bytes),
    /// To be answered with PONG at once.
    Ping(u64),
    /// The answer to a PING of ours.
    Pong(u64),
    /// Room may have been made.
    Acked,
    /// Nothing new.
    Nothing,
    /// The viewer has gone for good: what was kept for it is forgotten.
    Left,
}

/// A stream. Times are since any fixed moment.
#[derive(Debug)]
pub struct AgentStream {
    accept_window: u32,
    send_window: u32,
    highest_attach: Option<u64>,
    /// The viewer is known to count from where this side does.
    confirmed: bool,
    received: u64,
    acknowledged: u64,
    window: Window,
    ring: Ring,
}

impl AgentStream {
    /// A stream without a path. `accept_window` is what the viewer may send beyond what is acknowledged, `send_window` the most that is ever in
    /// flight towards it, `highest_attach` the highest number that the stream had before this side forgot all else about it, if any.
    #[must_use]
    pub fn new(accept_window: u32, send_window: u32, highest_attach: Option<u64>, now: Duration) -> Self {
        Self {
            accept_window,
            send_window,
            highest_attach,
            confirmed: false,
            received: 0,
            acknowledged: 0,
            window: Window::new(send_window, now),
            ring: Ring::default(),
        }
    }

    /// Takes an attach that its path's [`Challenge`](crate::Challenge) found to be the viewer's own, and says what it comes to. From here on every
    /// frame is of the new path: the one before, if it still lives, is to be told that it is superseded. After any verdict but RESUMED the
    /// counts begin at 0 and nothing is kept. `may_resume` is false where the caller has lost what the counts stood for.
    ///
    /// # Errors
    /// When a later attach came first; nothing changes.
    pub fn attach(
        &mut self,
        attach: &Attach,
        may_resume: bool,
        now: Duration,
    ) -> Result<Verdict, AttachError> {
        if self.highest_attach.is_some_and(|highest| attach.number <= highest) {
            return Err(AttachError::Superseded);
        }
        let is_first = self.highest_attach.replace(attach.number).is_none();
        if may_resume && attach.key.is_some() && self.confirmed && self.can_resume(attach.received) {
            self.window.resume(attach.received, now);
            self.ring.release(self.window.acked());
            // ATTACHED says it.
            self.acknowledged = self.received;
            return Ok(Verdict::Resumed);
        }
        *self = Self::new(self.accept_window, self.send_window, self.highest_attach, now);
        // One that has bytes had an attach before, of which this side knows nothing any more.
        Ok(if is_first && attach.received == 0 { Verdict::New } else { Verdict::Restarted })
    }

    /// Whether a viewer that has `received` lacks only what is kept. A count below what was acknowledged was signed before the acknowledgement and
    /// overtaken by it on another path: the viewer has more than it says. But one that has nothing at all wants the beginning.
    fn can_resume(&self, received: u64) -> bool {
        received <= self.window.highest() && (received > 0 || self.window.acked() == 0)
    }

    /// The answer to an accepted attach.
    #[must_use]
    pub fn attached(&self, verdict: Verdict) -> Frame {
        Frame::Attached { verdict, received: self.received, window: self.accept_window }
    }

    /// Takes a frame of the attached viewer.
    ///
    /// # Errors
    /// When the viewer broke a rule: the stream is to be closed.
    pub fn receive(&mut self, frame: Frame, now: Duration) -> Result<Received, ProtocolError> {
        let received = match frame {
            Frame::Data { offset, bytes } => self.receive_data(offset, bytes)?,
            Frame::Ack { received } if self.window.on_acked(received, now) => {
                self.ring.release(self.window.acked());
                Received::Acked
            }
            Frame::Ack { .. } => return Err(ProtocolError::AckBeyondSent),
            Frame::Ping { token } => Received::Ping(token),
            Frame::Pong { token } => Received::Pong(token),
            Frame::Leave => {
                *self = Self::new(self.accept_window, self.send_window, self.highest_attach, now);
                return Ok(Received::Left);
            }
            Frame::Challenge { .. }
            | Frame::Attach(_)
            | Frame::Attached { .. }
            | Frame::Refused { .. }
            | Frame::Notice { .. } => return Err(ProtocolError::Unexpected),
        };
        self.confirmed = true;
        Ok(received)
    }

    fn receive_data(&mut self, offset: u64, mut bytes: Bytes) -> Result<Received, ProtocolError> {
        if offset > self.received {
            return Err(ProtocolError::Gap { offset, expected: self.received });
        }
        let known = self.received - offset;
        if known >= bytes.len() as u64 {
            return Ok(Received::Nothing);
        }
        bytes.advance(usize::try_from(known).unwrap_or(usize::MAX));
        let end = self.received + bytes.len() as u64;
        if end > self.acknowledged + u64::from(self.accept_window) {
            return Err(ProtocolError::Window);
        }
        self.received = end;
        Ok(Received::Data(bytes))
    }

    /// Adds to the agent's counted stream. To keep little, write only while nothing is [unsent](Self::unsent) and there is [room](Self::room).
    pub fn write(&mut self, bytes: &[u8]) {
        self.ring.write(bytes);
    }

    /// Bytes that were written and wait to be sent, for the first time or again.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.ring.end() - self.window.sent()
    }

    /// Bytes that may be sent to the viewer now; zero says: do not read the display.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.window.room()
    }

    /// Bytes that are kept until they are acknowledged.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.ring.kept()
    }

    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The next DATA of the agent's counted stream as a message for the attached path, if the window allows one.
    pub fn next_message(&mut self, now: Duration) -> Option<Bytes> {
        let length = self.unsent().min(self.room()).min(PIECE_BYTES);
        if length == 0 {
            return None;
        }
        let offset = self.window.sent();
        self.window.on_sent(length, now);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Some(Frame::data_message(offset, self.ring.range(offset, length)))
    }

    /// Whether an acknowledgement must go out now, without waiting for the timer.
    #[must_use]
    pub fn ack_due(&self) -> bool {
        self.received - self.acknowledged >= ACK_EVERY_BYTES
    }

    /// The acknowledgement of all that was received, if there is news in it.
    pub fn ack(&mut self) -> Option<Frame> {
        if self.received == self.acknowledged {
            return None;
        }
        self.acknowledged = self.received;
        Some(Frame::Ack { received: self.received })
    }
}
