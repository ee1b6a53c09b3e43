//! `meridian.v1`: challenge, attach, and the loop between viewer, display and helper.
//!
//! ```text
//! challenged ──attach──> waiting for the display ──> open ──> closed (why, in a NOTICE)
//! ```
//!
//! Nothing is read from the display while the window has no room, or while bytes of an earlier read wait. Nothing is acknowledged to the viewer while the
//! display leaves much unread, so that what is held is bounded by the window it was given.

use std::{pin::Pin, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use meridian_runtime::random_bytes;
use meridian_stream::{
    AgentStream, Channel, Code, Frame, MAX_MESSAGE_BYTES, Piece, Received, RecordReader, record_header,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use super::{
    FAREWELL_LIMIT, SILENCE_LIMIT, Service, Stop,
    binary::{stopped, words},
    clipboard::{Clipboard, Set},
    display::{Display, Turn, wait_and_open},
    viewer::{self, Incoming, Outgoing},
};
use crate::{
    metrics::{Way, WayLabel},
    workspace,
};

/// What a viewer may send beyond what is acknowledged.
const ACCEPT_WINDOW: u32 = 128 * 1024;
/// Unread by the display: beyond this nothing more is acknowledged.
const ACK_BELOW: usize = 32 * 1024;
const ACK_WITHIN: Duration = Duration::from_millis(50);
const PING_EVERY: Duration = Duration::from_secs(5);
/// DATA frames on their way to the socket.
const MAX_OUTGOING: usize = 4;
/// Answers that a viewer makes us queue before it is taken for hostile.
const MAX_ANSWERS: usize = 64;
/// Longest DATA, so that a PONG or a frame of another channel never waits behind much.
const PIECE_BYTES: u64 = 32 * 1024;
/// How often a viewer is told that its clipboard is refused.
const REFUSAL_EVERY: Duration = Duration::from_secs(1);

/// Why the loop ended: what the viewer is told, if it still listens.
struct End {
    code: Option<Code>,
    text: String,
}

impl End {
    fn gone() -> Self {
        Self { code: None, text: String::new() }
    }

    fn told(code: Code, text: impl Into<String>) -> Self {
        Self { code: Some(code), text: text.into() }
    }

    fn of(stop: &Stop) -> Self {
        let code = match stop {
            Stop::Superseded => Code::Superseded,
            Stop::Ended(_) => Code::Ended,
            Stop::Revoked => Code::Revoked,
            Stop::Draining => Code::Draining,
        };
        Self::told(code, words(stop))
    }
}

pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(socket: S, service: Service) {
    let (mut outgoing, mut incoming) = viewer::open(socket, MAX_MESSAGE_BYTES).await;
    let began = Instant::now();
    let mut stream = AgentStream::new(
        service.grant.stream,
        random_bytes(),
        service.grant.jkt.clone(),
        ACCEPT_WINDOW,
        service.limits.window_bytes,
        Duration::ZERO,
    );
    outgoing.push(stream.challenge().encode());
    if let Err(end) = attach(&service, &mut stream, &mut outgoing, &mut incoming).await {
        if let Some(code) = end.code {
            outgoing.push(Frame::Refused { code, message: end.text.clone() }.encode());
        }
        return outgoing.close(incoming, CloseCode::Policy, &end.text, FAREWELL_LIMIT).await;
    }
    let mut path = Path {
        clipboard: Clipboard::new(service.grant.policy),
        service,
        stream,
        outgoing,
        records: RecordReader::default(),
        display: None,
        counted: BytesMut::new(),
        began,
        ack_at: None,
        refused_at: None,
    };
    let end = path.run(&mut incoming).await;
    if let Some(display) = path.display.take() {
        display.release().await;
    }
    path.say_goodbye(incoming, &end).await;
}

/// Waits for the viewer's attach and judges it.
async fn attach<S: AsyncRead + AsyncWrite + Unpin>(
    service: &Service,
    stream: &mut AgentStream,
    outgoing: &mut Outgoing<S>,
    incoming: &mut Incoming<S>,
) -> Result<(), End> {
    let first = async {
        outgoing.flush().await.ok()?;
        loop {
            match incoming.next().await? {
                Ok(Message::Binary(bytes)) => return Some(bytes),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Text(_) | Message::Close(_) | Message::Frame(_)) | Err(_) => return None,
            }
        }
    };
    let limit = service.limits.attach_wait;
    let first = tokio::select! {
        first = timeout(limit, first) => first,
        stop = stopped(service) => return Err(End::of(&stop)),
    };
    let message = match first {
        Ok(Some(message)) => message,
        Ok(None) => return Err(End::gone()),
        Err(_) => return Err(End::told(Code::Protocol, "no attach came in time")),
    };
    let frame = Frame::decode(message).map_err(|error| End::told(Code::Protocol, error.to_string()))?;
    let (session, id) = (service.grant.sub, service.grant.stream);
    let attached = stream
        .attach(&frame, service.streams.highest_attach(session, id))
        .map_err(|error| End::told(error.code(), error.to_string()))?;
    if !service.streams.attach(&service.ticket, session, id, attached.number) {
        return Err(End::told(Code::Superseded, "a later attach took the stream"));
    }
    outgoing.push(stream.attached(attached.verdict).encode());
    Ok(())
}

/// An attached path.
struct Path<S> {
    service: Service,
    stream: AgentStream,
    outgoing: Outgoing<S>,
    records: RecordReader,
    display: Option<Display>,
    clipboard: Clipboard,
    /// Bytes of the agent's counted stream that have not been sent.
    counted: BytesMut,
    began: Instant,
    ack_at: Option<Instant>,
    refused_at: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Path<S> {
    async fn run(&mut self, incoming: &mut Incoming<S>) -> End {
        let metrics = &self.service.metrics.bytes;
        let to_viewer = metrics.get_or_create_owned(&WayLabel { way: Way::ToViewer });
        let from_viewer = metrics.get_or_create_owned(&WayLabel { way: Way::FromViewer });
        let mut opening = Some(self.open_display());
        let (mut heard_at, mut ping_at) = (Instant::now(), Instant::now() + PING_EVERY);
        loop {
            self.send_counted();
            let want_bytes = self.counted.is_empty() && self.stream.room() > 0;
            let ack_at = self.ack_at;
            tokio::select! {
                stop = stopped(&self.service) => return End::of(&stop),
                flushed = self.outgoing.flush(), if !self.outgoing.is_idle() => {
                    if flushed.is_err() {
                        return End::gone();
                    }
                }
                message = incoming.next() => {
                    heard_at = Instant::now();
                    match message {
                        Some(Ok(Message::Binary(bytes))) => {
                            from_viewer.inc_by(bytes.len() as u64);
                            if let Err(end) = self.take(bytes).await {
                                return end;
                            }
                        }
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                            return End::told(Code::Protocol, "only binary messages are understood");
                        }
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return End::gone(),
                    }
                }
                opened = maybe(&mut opening) => {
                    opening = None;
                    match opened {
                        Ok((display, helper)) => self.take_display(display, helper),
                        Err(reason) => return End::told(Code::DisplayUnavailable, reason),
                    }
                }
                turn = turn(&mut self.display, want_bytes) => match turn {
                    Ok(Turn::Wrote) => self.acknowledge(),
                    Ok(Turn::Read(bytes)) if !bytes.is_empty() => {
                        to_viewer.inc_by(bytes.len() as u64);
                        self.count(Channel::Display, &bytes);
                    }
                    Ok(Turn::Read(_)) | Err(_) => {
                        return End::told(Code::DisplayUnavailable, "the workspace's display closed");
                    }
                },
                copied = self.clipboard.copied(), if self.counted.is_empty() => {
                    self.count(Channel::Clipboard, &copied);
                }
                () = sleep_until(ack_at.unwrap_or(heard_at)), if ack_at.is_some() => self.send_ack(),
                () = sleep_until(ping_at) => {
                    if heard_at.elapsed() >= SILENCE_LIMIT {
                        return End::told(Code::Draining, "nothing was heard of the viewer");
                    }
                    ping_at = Instant::now() + PING_EVERY;
                    if self.outgoing.waiting() < MAX_ANSWERS {
                        self.outgoing.push(Frame::Ping { token: u64::from_be_bytes(random_bytes()) }.encode());
                    }
                }
            }
        }
    }

    /// The display once it is up, and the helper where policy has a use for it.
    fn open_display(&self) -> Opening {
        let (sessions, grant) = (self.service.sessions.clone(), &self.service.grant);
        let (session, policy) = (grant.sub, grant.policy);
        let (directory, uid) = (self.service.directory.clone(), self.service.workspace_uid);
        let limit = self.service.limits.display_wait;
        Box::pin(async move {
            let display = wait_and_open(&sessions, session, &directory, uid, policy, limit).await?;
            let helper = if policy.clipboard_in || policy.clipboard_out {
                // Images without a helper have no clipboard.
                timeout(limit, workspace::open_helper(&directory, uid)).await.ok().and_then(Result::ok)
            } else {
                None
            };
            Ok((display, helper))
        })
    }

    fn take_display(&mut self, display: Display, helper: Option<workspace::HelperLines>) {
        self.display = Some(display);
        if let Some(helper) = helper {
            self.clipboard.connect(helper);
        }
        self.count(Channel::Control, br#"{"type":"ready"}"#);
    }

    /// Takes one message of the viewer's.
    async fn take(&mut self, message: Bytes) -> Result<(), End> {
        let frame = Frame::decode(message).map_err(|error| End::told(Code::Protocol, error.to_string()))?;
        let received = self
            .stream
            .receive(frame, self.began.elapsed())
            .map_err(|error| End::told(Code::Protocol, error.to_string()))?;
        match received {
            Received::Data(bytes) => self.take_data(&bytes).await,
            Received::Ping(token) => {
                if self.outgoing.waiting() >= MAX_ANSWERS {
                    return Err(End::told(Code::Protocol, "more pings than are answered"));
                }
                self.outgoing.push_first(Frame::Pong { token }.encode());
                Ok(())
            }
            Received::Pong(_) | Received::Acked | Received::Nothing => Ok(()),
        }
    }

    async fn take_data(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        loop {
            let piece = self.records.next(&mut bytes);
            match piece.map_err(|error| End::told(Code::Protocol, error.to_string()))? {
                None => break,
                Some(Piece::Display(part)) => {
                    // A viewer speaks when the display has spoken, and that is when it is open.
                    let Some(display) = &mut self.display else {
                        return Err(End::told(Code::Protocol, "the display has not been opened yet"));
                    };
                    display.push(part).map_err(|error| End::told(Code::Protocol, error.to_string()))?;
                }
                Some(Piece::Whole(Channel::Clipboard, payload)) => {
                    if self.clipboard.set(&payload).await == Set::Refused {
                        self.refuse_clipboard();
                    }
                }
                // Unknown types are ignored, and none is known from a viewer yet.
                Some(Piece::Whole(Channel::Control | Channel::Display, _)) => {}
            }
        }
        self.acknowledge();
        Ok(())
    }

    fn refuse_clipboard(&mut self) {
        if self.refused_at.is_none_or(|at| at.elapsed() >= REFUSAL_EVERY) {
            self.refused_at = Some(Instant::now());
            let message = "this session's policy does not let text in".into();
            self.outgoing.push(Frame::Notice { code: Code::ClipboardRefused, message }.encode());
        }
    }

    /// Acknowledges now or soon, unless the display lags behind.
    fn acknowledge(&mut self) {
        if self.display.as_ref().is_some_and(|display| display.waiting() > ACK_BELOW) {
            return;
        }
        if self.stream.ack_due() {
            self.send_ack();
        } else {
            self.ack_at.get_or_insert_with(|| Instant::now() + ACK_WITHIN);
        }
    }

    fn send_ack(&mut self) {
        self.ack_at = None;
        if let Some(ack) = self.stream.ack() {
            self.outgoing.push(ack.encode());
        }
    }

    /// Adds a record to the agent's counted stream.
    fn count(&mut self, channel: Channel, payload: &[u8]) {
        // Every caller's payload is within its channel's bound; one that is not is left out whole.
        if let Ok(header) = record_header(channel, payload.len()) {
            self.counted.extend_from_slice(&header);
            self.counted.extend_from_slice(payload);
        }
    }

    /// Sends as much of the counted stream as the window allows.
    fn send_counted(&mut self) {
        while !self.counted.is_empty() && self.outgoing.waiting() < MAX_OUTGOING {
            let room = usize::try_from(self.stream.room().min(PIECE_BYTES)).unwrap_or(0);
            if room == 0 {
                return;
            }
            let length = self.counted.remaining().min(room);
            let piece = self.counted.split_to(length).freeze();
            self.outgoing.push(self.stream.send(piece, self.began.elapsed()).encode());
        }
        if self.counted.is_empty() {
            self.counted = BytesMut::new();
        }
    }

    async fn say_goodbye(mut self, incoming: Incoming<S>, end: &End) {
        let Some(code) = end.code else {
            return self.outgoing.close(incoming, CloseCode::Normal, "", FAREWELL_LIMIT).await;
        };
        if code == Code::Ended {
            let record = serde_json::json!({"type": "ended", "reason": end.text}).to_string();
            self.count(Channel::Control, record.as_bytes());
            self.send_counted();
        }
        self.outgoing.push(Frame::Notice { code, message: end.text.clone() }.encode());
        self.outgoing.close(incoming, CloseCode::Away, &end.text, FAREWELL_LIMIT).await;
    }
}

type Opening =
    Pin<Box<dyn Future<Output = Result<(Display, Option<workspace::HelperLines>), String>> + Send>>;

async fn maybe(opening: &mut Option<Opening>) -> Result<(Display, Option<workspace::HelperLines>), String> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

async fn turn(display: &mut Option<Display>, want_bytes: bool) -> std::io::Result<Turn> {
    match display {
        Some(display) => display.turn(want_bytes).await,
        None => std::future::pending().await,
    }
}
