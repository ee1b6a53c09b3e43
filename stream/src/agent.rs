//! The agent's side of one path of a stream.
//!
//! ```text
//! challenged ──ATTACH fits──> attached ──> (path broken, superseded, ended)
//!      └──────does not fit──> refused
//! ```
//!
//! It counts both directions and judges every frame; it owns no socket and no timer. Which attach number was the highest, over all paths
//! of the stream, is its caller's knowledge.

use std::time::Duration;

use bytes::{Buf, Bytes};
use meridian_ids::StreamId;

use crate::{Attach, Code, Frame, Verdict, Window};

/// An acknowledgement is due after this many bytes, and in any case within 100 ms (the caller's timer).
const ACK_EVERY_BYTES: u64 = 32 << 10;

/// Why an attach is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    #[error("the first message was not an attach, or came twice")]
    NotAttach,
    #[error("attach numbers start at 1")]
    Number,
    #[error("key or signature does not fit the grant")]
    Key,
    #[error("a later attach took the stream")]
    Superseded,
}

impl AttachError {
    /// The code of the REFUSED frame.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::NotAttach | Self::Number => Code::Protocol,
            Self::Key => Code::Key,
            Self::Superseded => Code::Superseded,
        }
    }
}

/// Why an attached path is closed.
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

/// An accepted attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub number: u64,
    pub verdict: Verdict,
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
}

/// One path. Times are since any fixed moment.
#[derive(Debug)]
pub struct AgentStream {
    stream: StreamId,
    nonce: [u8; 32],
    jkt: Option<String>,
    accept_window: u32,
    attached: bool,
    received: u64,
    acknowledged: u64,
    window: Window,
}

impl AgentStream {
    /// A path that begins. `accept_window` is what the viewer may send beyond what is acknowledged, `send_window` the most that is ever in
    /// flight towards it. `nonce` is used once.
    #[must_use]
    pub fn new(
        stream: StreamId,
        nonce: [u8; 32],
        jkt: Option<String>,
        accept_window: u32,
        send_window: u32,
        now: Duration,
    ) -> Self {
        let window = Window::new(send_window, now);
        Self { stream, nonce, jkt, accept_window, attached: false, received: 0, acknowledged: 0, window }
    }

    /// The agent's first frame.
    #[must_use]
    pub fn challenge(&self) -> Frame {
        Frame::Challenge { nonce: self.nonce, stream: self.stream }
    }

    /// Judges the viewer's first frame. `highest` is the highest attach number that the stream had before, if any.
    ///
    /// # Errors
    /// As [`AttachError`] says; its code goes into REFUSED.
    pub fn attach(&mut self, frame: &Frame, highest: Option<u64>) -> Result<Attachment, AttachError> {
        let Frame::Attach(attach @ Attach { number, .. }) = frame else {
            return Err(AttachError::NotAttach);
        };
        if self.attached {
            return Err(AttachError::NotAttach);
        }
        if *number == 0 {
            return Err(AttachError::Number);
        }
        // The key first: only its owner may learn which numbers were used.
        if !attach.fits(&self.nonce, self.stream, self.jkt.as_deref()) {
            return Err(AttachError::Key);
        }
        if highest.is_some_and(|highest| *number <= highest) {
            return Err(AttachError::Superseded);
        }
        self.attached = true;
        // Without a ring nothing can be replayed: a later attach begins anew.
        let verdict = if highest.is_some() { Verdict::Restarted } else { Verdict::New };
        Ok(Attachment { number: *number, verdict })
    }

    /// The answer to an accepted attach.
    #[must_use]
    pub fn attached(&self, verdict: Verdict) -> Frame {
        Frame::Attached { verdict, received: self.received, window: self.accept_window }
    }

    /// Takes a frame of the attached viewer.
    ///
    /// # Errors
    /// When the viewer broke a rule: the path is to be closed.
    pub fn receive(&mut self, frame: Frame, now: Duration) -> Result<Received, ProtocolError> {
        match frame {
            Frame::Data { offset, bytes } => self.receive_data(offset, bytes),
            Frame::Ack { received } if self.window.on_acked(received, now) => Ok(Received::Acked),
            Frame::Ack { .. } => Err(ProtocolError::AckBeyondSent),
            Frame::Ping { token } => Ok(Received::Ping(token)),
            Frame::Pong { token } => Ok(Received::Pong(token)),
            Frame::Challenge { .. }
            | Frame::Attach(_)
            | Frame::Attached { .. }
            | Frame::Refused { .. }
            | Frame::Notice { .. } => Err(ProtocolError::Unexpected),
        }
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

    /// Bytes that may be sent to the viewer now; zero says: do not read the display.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.window.room()
    }

    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The next piece of the agent's counted stream as a frame. `bytes` is at least one and at most [`Frame::MAX_DATA_BYTES`] long.
    pub fn send(&mut self, bytes: Bytes, now: Duration) -> Frame {
        debug_assert!(!bytes.is_empty() && bytes.len() <= Frame::MAX_DATA_BYTES);
        let offset = self.window.sent();
        self.window.on_sent(bytes.len() as u64, now);
        Frame::Data { offset, bytes }
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
