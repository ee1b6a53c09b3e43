//! `meridian.v1`: the one task that owns a stream, whatever paths carry it.
//!
//! ```text
//!  first path ──> attached <──path breaks / a later path comes──> parked ──resume window over──> closed
//!                    └──────────left, ended, revoked, drained, rules broken─────────────────────────^
//! ```
//!
//! The task of the first path owns the stream; the tasks of later paths hand theirs over to it once the viewer has proved itself ([`super::handshake`])
//! and end. While no path is attached the display is not read, keys and buttons are let go of, and of the texts that the workspace copies the
//! latest is kept; so a parked stream holds what the window lets be unacknowledged, one record, and one text.
//!
//! Nothing is read from the display while the window has no room, or while bytes of an earlier read wait. Nothing is acknowledged to the viewer while the
//! display leaves much unread, so that what is held is bounded by the window it was given.

use std::{ops::ControlFlow, time::Duration};

use meridian_stream::{AgentStream, Channel, Code, Frame, Received, Verdict, record_header};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Service, Stop,
    binary::{stopped, words},
    desk::{Desk, News, Taken},
    handshake::{Arrival, greet},
    kept::Kept,
    path::{Heard, Path, hear},
    registry::{Inbox, Place},
    viewer::Socket,
    watching::Watching,
};
use crate::metrics::{VerdictLabel, Way, WayLabel};

/// What a viewer may send beyond what is acknowledged.
const ACCEPT_WINDOW: u32 = 128 * 1024;
const ACK_WITHIN: Duration = Duration::from_millis(50);
/// How often a viewer is told that its clipboard is refused.
const REFUSAL_EVERY: Duration = Duration::from_secs(1);

/// Why a stream or a handshake ended: what the viewer is told, if it still listens.
pub(super) struct End {
    pub(super) code: Option<Code>,
    pub(super) text: String,
}

impl End {
    pub(super) fn gone() -> Self {
        Self { code: None, text: String::new() }
    }

    pub(super) fn told(code: Code, text: impl Into<String>) -> Self {
        Self { code: Some(code), text: text.into() }
    }

    pub(super) fn of(stop: &Stop) -> Self {
        let code = match stop {
            Stop::Superseded => Code::Superseded,
            Stop::Ended(_) => Code::Ended,
            Stop::Revoked => Code::Revoked,
            Stop::Idle => Code::Idle,
            Stop::Draining => Code::Draining,
        };
        Self::told(code, words(stop))
    }
}

/// Ends when the relay of the latest path says that it stops soon.
async fn told_to_move(service: &Service) {
    let mut told = service.ticket.move_off.clone();
    if told.wait_for(|told| *told).await.is_err() {
        std::future::pending::<()>().await;
    }
}

pub(super) async fn serve(socket: Socket, service: Service) {
    let mut next = greet(socket, service).await;
    while let Some(arrival) = next {
        next = place(arrival).await;
    }
}

/// Hands a path to its stream's owner or, where there is none, becomes it. The answer is a path that came as the stream closed.
async fn place(arrival: Arrival) -> Option<Arrival> {
    let (session, stream) = (arrival.service.grant.sub, arrival.service.grant.stream);
    match arrival.service.streams.place(session, stream) {
        // An owner that has just gone gives it back, and leaves its place free.
        Place::Taken(owner) => owner.send(arrival).await.err().map(|mpsc::error::SendError(back)| back),
        Place::Free(inbox) => own(arrival, inbox).await,
    }
}

/// Owns a stream until it closes.
async fn own(arrival: Arrival, mut inbox: Inbox) -> Option<Arrival> {
    let Arrival { service, attach, path } = arrival;
    let highest = service.streams.highest_attach(service.grant.sub, service.grant.stream);
    let mut core = AgentStream::new(ACCEPT_WINDOW, service.limits.window_bytes, highest, Duration::ZERO);
    let verdict = match core.attach(&attach, false, Duration::ZERO) {
        Ok(verdict) => verdict,
        Err(error) => {
            Arrival { service, attach, path }.refuse(error.code(), error.to_string());
            return inbox.close().await;
        }
    };
    service.streams.note_attach(&service.ticket, attach.number);
    let kept = Kept::new(service.metrics.kept.clone());
    let mut owner = Owner {
        desk: Desk::open(&service),
        watching: Watching::of(&service.grant),
        service,
        core,
        path: None,
        began: Instant::now(),
        ack_at: None,
        refused_at: None,
        parked_until: None,
        told_to_move: false,
        copied: None,
        kept,
    };
    owner.carry(path, verdict);
    let end = owner.run(&mut inbox).await;
    let late = inbox.close().await;
    owner.finish(end).await;
    late
}

struct Owner {
    /// As the latest path brought it: its grant and its place on the list are the stream's.
    service: Service,
    core: AgentStream,
    desk: Desk,
    watching: Watching,
    path: Option<Path>,
    began: Instant,
    ack_at: Option<Instant>,
    refused_at: Option<Instant>,
    parked_until: Option<Instant>,
    /// The viewer knows that this path's relay stops soon.
    told_to_move: bool,
    /// The latest text that was copied while no path was attached.
    copied: Option<Vec<u8>>,
    kept: Kept,
}

impl Owner {
    async fn run(&mut self, inbox: &mut Inbox) -> End {
        let metrics = &self.service.metrics.bytes;
        let to_viewer = metrics.get_or_create_owned(&WayLabel { way: Way::ToViewer });
        let from_viewer = metrics.get_or_create_owned(&WayLabel { way: Way::FromViewer });
        loop {
            self.send_counted();
            self.kept.set(self.kept_bytes());
            let (is_attached, has_sent) = (self.path.is_some(), self.core.unsent() == 0);
            let want_bytes = is_attached && has_sent && self.core.room() > 0;
            let want_copies = !is_attached || has_sent;
            let step = tokio::select! {
                stop = stopped(&self.service) => return End::of(&stop),
                arrival = inbox.next() => {
                    self.take_over(arrival).await;
                    ControlFlow::Continue(())
                }
                heard = hear(&mut self.path) => {
                    if let Heard::Message(bytes) = &heard {
                        from_viewer.inc_by(bytes.len() as u64);
                    }
                    self.take(heard).await
                }
                news = self.desk.turn(want_bytes, want_copies) => {
                    if let News::Read(bytes) = &news {
                        to_viewer.inc_by(bytes.len() as u64);
                    }
                    self.report(news)
                }
                () = told_to_move(&self.service), if !self.told_to_move => {
                    self.told_to_move = true;
                    let message = "the relay on the way is about to stop".into();
                    self.push(&Frame::Notice { code: Code::Draining, message });
                    ControlFlow::Continue(())
                }
                () = until(self.ack_at) => {
                    self.send_ack();
                    ControlFlow::Continue(())
                }
                () = until(self.parked_until) => ControlFlow::Break(End::gone()),
                () = self.watching.turn() => {
                    self.watching.judge(&self.service).map_or(ControlFlow::Continue(()), ControlFlow::Break)
                }
            };
            if let ControlFlow::Break(end) = step {
                return end;
            }
        }
    }

    /// What is held in memory until a side takes it. Each part has its bound, so the sum has.
    fn kept_bytes(&self) -> usize {
        self.core.kept() + self.desk.unread() + self.copied.as_ref().map_or(0, Vec::len)
    }

    /// A later path, whose viewer has proved itself.
    async fn take_over(&mut self, arrival: Arrival) {
        if arrival.service.grant.jkt != self.service.grant.jkt {
            return arrival.refuse(Code::Key, "the stream belongs to another key".into());
        }
        let may_resume = self.desk.may_go_on();
        let verdict = match self.core.attach(&arrival.attach, may_resume, self.began.elapsed()) {
            Ok(verdict) => verdict,
            Err(error) => return arrival.refuse(error.code(), error.to_string()),
        };
        let Arrival { service, attach, path } = arrival;
        service.streams.note_attach(&service.ticket, attach.number);
        self.farewell(Code::Superseded, words(&Stop::Superseded));
        if verdict == Verdict::Resumed {
            self.desk.set_policy(service.grant.policy);
        } else {
            self.copied = None;
            std::mem::replace(&mut self.desk, Desk::open(&service)).close().await;
        }
        self.service = service;
        self.carry(path, verdict);
    }

    /// Goes on over a path.
    fn carry(&mut self, mut path: Path, verdict: Verdict) {
        self.service.metrics.attached.get_or_create(&VerdictLabel::of(verdict)).inc();
        tracing::info!(?verdict, "a path carries the stream");
        path.push(&self.core.attached(verdict));
        self.path = Some(path);
        (self.parked_until, self.ack_at, self.told_to_move) = (None, None, false);
        if let Some(copied) = self.copied.take() {
            self.count(Channel::Clipboard, &copied);
        }
    }

    /// The path is gone. Where the viewer can come back to it, the stream waits.
    fn park(&mut self) -> ControlFlow<End> {
        if let Some(path) = self.path.take() {
            self.service.tasks.spawn("farewell", path.leave());
        }
        let window = self.service.limits.resume_window;
        if self.service.grant.jkt.is_none() || window.is_zero() {
            return ControlFlow::Break(End::gone());
        }
        tracing::info!("the path broke; the stream waits for another");
        self.desk.let_go();
        self.ack_at = None;
        self.parked_until = Some(Instant::now() + window);
        self.service.streams.park(&self.service.ticket);
        ControlFlow::Continue(())
    }

    /// The viewer goes for good. Nobody is there to be told, and nothing to wait for.
    fn left(&mut self) -> ControlFlow<End> {
        tracing::info!("the viewer left");
        self.service.metrics.left.inc();
        if let Some(path) = self.path.take() {
            self.service.tasks.spawn("farewell", path.leave());
        }
        ControlFlow::Break(End::gone())
    }

    async fn take(&mut self, heard: Heard) -> ControlFlow<End> {
        match heard {
            Heard::Message(bytes) => match Frame::decode(bytes) {
                Ok(frame) => self.take_frame(frame).await,
                Err(error) => breach(error.to_string()),
            },
            Heard::Flushed => ControlFlow::Continue(()),
            Heard::Hush => {
                self.desk.let_go();
                ControlFlow::Continue(())
            }
            Heard::Broken => self.park(),
            Heard::Nonsense => breach("only binary messages are understood".into()),
        }
    }

    async fn take_frame(&mut self, frame: Frame) -> ControlFlow<End> {
        match self.core.receive(frame, self.began.elapsed()) {
            Ok(Received::Data(bytes)) => match self.desk.take(&bytes).await {
                Ok(taken) => {
                    self.heed(&taken);
                    self.acknowledge();
                }
                Err(reason) => return breach(reason),
            },
            Ok(Received::Ping(token)) => {
                if !self.path.as_mut().is_none_or(|path| path.answer(token)) {
                    return breach("more pings than are answered".into());
                }
            }
            Ok(Received::Pong(_) | Received::Acked | Received::Nothing) => {}
            Ok(Received::Left) => return self.left(),
            Err(error) => return breach(error.to_string()),
        }
        ControlFlow::Continue(())
    }

    fn report(&mut self, news: News) -> ControlFlow<End> {
        match news {
            News::Opened => self.count(Channel::Control, br#"{"type":"ready"}"#),
            News::Wrote => self.acknowledge(),
            News::Read(bytes) => self.count(Channel::Display, &bytes),
            News::Copied(text) if self.path.is_some() => self.count(Channel::Clipboard, &text),
            News::Copied(text) => self.copied = Some(text),
            News::Closed(reason) => {
                return ControlFlow::Break(End::told(Code::DisplayUnavailable, reason));
            }
        }
        ControlFlow::Continue(())
    }

    fn heed(&mut self, taken: &Taken) {
        if taken.clipboard_refused {
            self.refuse_clipboard();
        }
        // Whoever looks on decides about nobody.
        if taken.stop_watching && self.service.grant.watch.is_none() {
            tracing::info!("the person at the desktop wants nobody to look on");
            self.service.streams.stop_watching(self.service.grant.sub);
        }
    }

    fn refuse_clipboard(&mut self) {
        if self.refused_at.is_none_or(|at| at.elapsed() >= REFUSAL_EVERY) {
            self.refused_at = Some(Instant::now());
            let message = "this session's policy does not let text in".into();
            self.push(&Frame::Notice { code: Code::ClipboardRefused, message });
        }
    }

    /// Acknowledges now or soon, unless there is nobody to hear it or the display lags behind.
    fn acknowledge(&mut self) {
        if self.path.is_none() || self.desk.lags() {
            return;
        }
        if self.core.ack_due() {
            self.send_ack();
        } else {
            self.ack_at.get_or_insert_with(|| Instant::now() + ACK_WITHIN);
        }
    }

    fn send_ack(&mut self) {
        self.ack_at = None;
        if self.path.as_ref().is_some_and(|path| !path.takes_answers()) {
            // A viewer that sends and does not read waits for its own reading.
            self.ack_at = Some(Instant::now() + ACK_WITHIN);
        } else if let Some(ack) = self.core.ack() {
            self.push(&ack);
        }
    }

    fn push(&mut self, frame: &Frame) {
        if let Some(path) = &mut self.path {
            path.push(frame);
        }
    }

    /// Adds a record to the agent's counted stream.
    fn count(&mut self, channel: Channel, payload: &[u8]) {
        // Every caller's payload is within its channel's bound; one that is not is left out whole.
        if let Ok(header) = record_header(channel, payload.len()) {
            self.core.write(&header);
            self.core.write(payload);
        }
    }

    /// Sends as much of the counted stream as the window allows. An acknowledgement that waits goes with it: one flush, and one awakening of every
    /// hop, for both.
    fn send_counted(&mut self) {
        while self.path.as_ref().is_some_and(Path::takes_data) {
            let Some(message) = self.core.next_message(self.began.elapsed()) else { return };
            if self.ack_at.is_some() {
                self.send_ack();
            }
            if let Some(path) = &mut self.path {
                path.push_data(message);
            }
        }
    }

    /// Closes the attached path, if there is one, without waiting for it.
    fn farewell(&mut self, code: Code, text: String) {
        if let Some(path) = self.path.take() {
            self.service.tasks.spawn("farewell", path.close(code, text));
        }
    }

    async fn finish(mut self, end: End) {
        if let Some(code) = end.code {
            if code == Code::Ended {
                let record = serde_json::json!({"type": "ended", "reason": end.text}).to_string();
                self.count(Channel::Control, record.as_bytes());
                self.send_counted();
            }
            self.farewell(code, end.text);
        }
        self.desk.close().await;
    }
}

fn breach(reason: String) -> ControlFlow<End> {
    ControlFlow::Break(End::told(Code::Protocol, reason))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
