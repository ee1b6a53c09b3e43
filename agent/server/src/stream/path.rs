//! One path of a `meridian.v1` stream: its WebSocket once a viewer has opened it, and whether anything is heard on it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use meridian_runtime::random_bytes;
use meridian_stream::{Code, Frame};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use super::{
    FAREWELL_LIMIT, SILENCE_LIMIT,
    viewer::{Incoming, Outgoing, Socket},
};

/// How often a path is looked at; one on which nothing was heard since is sent a PING.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Nothing heard for so long, though PINGs went out: whoever held a key may not be there to let it go.
const HUSH_LIMIT: Duration = Duration::from_secs(3);
/// DATA frames on their way to the socket.
const MAX_OUTGOING: usize = 4;
/// Messages that a viewer may leave unread before it is answered no more, and for more PINGs taken for hostile.
const MAX_ANSWERS: usize = 64;

pub(super) struct Path {
    outgoing: Outgoing<Socket>,
    incoming: Incoming<Socket>,
    heard_at: Instant,
    look_at: Instant,
}

/// What happened on a path.
pub(super) enum Heard {
    Message(Bytes),
    /// All that waited has left.
    Flushed,
    /// Nothing for a while. It may come back.
    Hush,
    /// The path is of no use any more.
    Broken,
    /// Something that is no message of the protocol.
    Nonsense,
}

impl Path {
    pub(super) fn new(outgoing: Outgoing<Socket>, incoming: Incoming<Socket>) -> Self {
        let now = Instant::now();
        Self { outgoing, incoming, heard_at: now, look_at: now + LOOK_EVERY }
    }

    /// Waits for the next thing to happen. Safe to drop.
    pub(super) async fn turn(&mut self) -> Heard {
        loop {
            tokio::select! {
                flushed = self.outgoing.flush(), if !self.outgoing.is_idle() => {
                    return if flushed.is_ok() { Heard::Flushed } else { Heard::Broken };
                }
                message = self.incoming.next() => {
                    self.heard_at = Instant::now();
                    match message {
                        Some(Ok(Message::Binary(bytes))) => return Heard::Message(bytes),
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Text(_) | Message::Frame(_))) => return Heard::Nonsense,
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return Heard::Broken,
                    }
                }
                () = sleep_until(self.look_at) => {
                    if let Some(heard) = self.look() {
                        return heard;
                    }
                }
            }
        }
    }

    fn look(&mut self) -> Option<Heard> {
        self.look_at = Instant::now() + LOOK_EVERY;
        let silence = self.heard_at.elapsed();
        if silence >= SILENCE_LIMIT {
            return Some(Heard::Broken);
        }
        if silence >= LOOK_EVERY && self.takes_answers() {
            self.push(&Frame::Ping { token: u64::from_be_bytes(random_bytes()) });
        }
        (silence >= HUSH_LIMIT).then_some(Heard::Hush)
    }

    pub(super) fn push(&mut self, frame: &Frame) {
        self.outgoing.push(frame.encode());
    }

    /// Answers a PING before all that waits; false when the viewer asks for more answers than it reads.
    pub(super) fn answer(&mut self, token: u64) -> bool {
        let takes = self.takes_answers();
        if takes {
            self.outgoing.push_first(Frame::Pong { token }.encode());
        }
        takes
    }

    /// Whether the viewer reads what it makes us say.
    pub(super) fn takes_answers(&self) -> bool {
        self.outgoing.waiting() < MAX_ANSWERS
    }

    /// Whether the socket takes more of the counted stream: what waits here can neither be overtaken nor be measured.
    pub(super) fn takes_data(&self) -> bool {
        self.outgoing.waiting() < MAX_OUTGOING
    }

    pub(super) fn push_data(&mut self, message: Bytes) {
        self.outgoing.push(message);
    }

    /// Says why in a NOTICE, then closes, within a limit.
    pub(super) async fn close(mut self, code: Code, text: String) {
        self.push(&Frame::Notice { code, message: text.clone() });
        self.outgoing.close(self.incoming, CloseCode::Away, &text, FAREWELL_LIMIT).await;
    }

    /// Answers an attach with REFUSED, then closes, within a limit.
    pub(super) async fn refuse(mut self, code: Code, text: String) {
        self.push(&Frame::Refused { code, message: text.clone() });
        self.outgoing.close(self.incoming, CloseCode::Policy, &text, FAREWELL_LIMIT).await;
    }

    /// Closes without a word: whoever was there has gone.
    pub(super) async fn leave(self) {
        self.outgoing.close(self.incoming, CloseCode::Normal, "", FAREWELL_LIMIT).await;
    }
}

/// What happens on a path, where there is one.
pub(super) async fn hear(path: &mut Option<Path>) -> Heard {
    match path {
        Some(path) => path.turn().await,
        None => std::future::pending().await,
    }
}
