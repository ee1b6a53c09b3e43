//! The viewer's side of one `meridian.v1` stream, without sockets and clocks: messages and times go in, effects come out.
//!
//! It keeps the rules of docs/integrators/stream.md as the console's viewer does (console/app/stream/core.ts), and is stricter in one
//! point: where the counts of both sides do not fit, the stream is lost and the lab says so; a person's viewer would begin another.
//! Each path goes through
//!
//! ```text
//! challenge ──> attaching ──> attached ──> closed
//! ```
//!
//! and at most one path is attached. At most one ATTACH waits for its answer.

mod attaching;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use meridian_stream::{Channel, Code, Frame, Piece, RecordReader, Verdict, record_header};

use super::{key::StreamKey, outbox::Outbox};

/// Acknowledge at least this often; the wire format asks for every 32 KiB.
const ACK_EVERY: u64 = 16_384;
/// And within this time of the last byte; the wire format asks for 100 ms.
const ACK_WITHIN: Duration = Duration::from_millis(40);
/// The agent answers an opened path, and a sent ATTACH, within this time.
const ATTACH_WITHIN: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(1);
/// Nothing heard for so long although a PING is out: worth opening another path beside this one.
const SUSPECT_AFTER: Duration = Duration::from_millis(1800);
/// An answer to a PING is late after this time, or after three round trips where those take longer.
const PONG_WITHIN: Duration = Duration::from_millis(800);
/// And then in any case.
const PONG_WITHIN_AT_MOST: Duration = Duration::from_secs(15);
/// Of a long round trip, so much still counts at each later one: who takes slow paths for dead and opens others makes them slower.
const ROUND_TRIP_KEPT: f64 = 0.8;
/// Nothing heard for so long: the path is dead.
const SILENT_AFTER: Duration = Duration::from_secs(30);

pub(crate) type PathId = u32;

/// What both sides counted does not fit, or a rule was broken: in the lab that is a finding, never mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost(pub(crate) &'static str);

#[derive(Debug)]
pub(crate) enum Effect {
    Send(PathId, Bytes),
    /// The path is given up.
    Close(PathId),
    /// The path carries the stream from here on. Unless resumed, the display begins anew.
    Attached(Verdict),
    /// `overtaken`: this viewer has sent a later ATTACH on another path.
    Refused {
        code: Code,
        message: String,
        overtaken: bool,
    },
    Notice {
        path: PathId,
        code: Code,
        message: String,
        overtaken: bool,
    },
    /// The attached path looks dead.
    Suspect,
    Display(Vec<u8>),
    Ended(String),
    Lost(Lost),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Challenge,
    Attaching,
    Attached,
}

struct Path {
    phase: Phase,
    deadline: Duration,
    attach_number: u64,
    /// When ATTACH was sent.
    sent_at: Duration,
    /// What ATTACH says was received: it is signed.
    received: u64,
}

/// Times are since any fixed moment.
pub(crate) struct Core {
    key: StreamKey,
    paths: BTreeMap<PathId, Path>,
    last_path: PathId,
    last_attach: u64,
    current: Option<PathId>,
    outbox: Outbox,
    window: u64,
    records: RecordReader,
    received: u64,
    acknowledged: u64,
    ack_due: Option<Duration>,
    ping: Option<(u64, Duration)>,
    ping_due: Duration,
    heard_at: Duration,
    /// The longest lately, of this path and those before it.
    round_trip: Duration,
    suspected: bool,
    effects: Vec<Effect>,
}

impl Core {
    pub(crate) fn new(key: StreamKey) -> Self {
        Self {
            key,
            paths: BTreeMap::new(),
            last_path: 0,
            last_attach: 0,
            current: None,
            outbox: Outbox::default(),
            window: 0,
            records: RecordReader::default(),
            received: 0,
            acknowledged: 0,
            ack_due: None,
            ping: None,
            ping_due: Duration::ZERO,
            heard_at: Duration::ZERO,
            round_trip: Duration::ZERO,
            suspected: false,
            effects: Vec::new(),
        }
    }

    /// The effects since the last call, in order.
    pub(crate) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn attached(&self) -> bool {
        self.current.is_some()
    }

    /// Paths that are open and not attached.
    pub(crate) fn handshakes(&self) -> usize {
        self.paths.len() - usize::from(self.attached())
    }

    pub(crate) fn newest(&self, path: PathId) -> bool {
        self.paths.keys().all(|known| *known <= path)
    }

    pub(crate) fn path_opened(&mut self, now: Duration) -> PathId {
        self.last_path += 1;
        let path = Path {
            phase: Phase::Challenge,
            deadline: now + ATTACH_WITHIN,
            attach_number: 0,
            sent_at: now,
            received: 0,
        };
        self.paths.insert(self.last_path, path);
        self.last_path
    }

    pub(crate) fn path_closed(&mut self, id: PathId) {
        self.paths.remove(&id);
        if self.current == Some(id) {
            self.detach();
        }
    }

    /// The viewer goes for good, and says so wherever the agent may hold the stream by now.
    pub(crate) fn leave(&mut self) {
        let told = self.paths.iter().filter(|(_, path)| path.phase != Phase::Challenge);
        let told: Vec<_> = told.map(|(id, _)| *id).collect();
        for id in told {
            self.send(id, &Frame::Leave);
        }
        self.paths.clear();
        self.detach();
    }

    pub(crate) fn send_display(&mut self, bytes: &[u8]) {
        match record_header(Channel::Display, bytes.len()) {
            Ok(header) => {
                self.outbox.write(&header);
                self.outbox.write(bytes);
                self.pump();
            }
            Err(_) => self.effects.push(Effect::Lost(Lost("the lab wrote too long a record"))),
        }
    }

    pub(crate) fn receive(&mut self, id: PathId, message: Bytes, now: Duration) {
        if !self.paths.contains_key(&id) {
            return;
        }
        if let Err(lost) = Frame::decode(message)
            .map_err(|_| Lost("the agent sent a message that is no frame"))
            .and_then(|frame| self.handle(id, frame, now))
        {
            self.effects.push(Effect::Lost(lost));
        }
    }

    /// When [`Core::tick`] must be called next.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let handshakes = self.paths.values().filter(|path| path.phase != Phase::Attached);
        let live = self.current.map(|_| [Some(self.ping_due), self.ack_due, self.suspect_due()]);
        let live = live.into_iter().flatten().flatten();
        handshakes.map(|path| path.deadline).chain(live).min()
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        let late = |path: &Path| path.phase != Phase::Attached && now >= path.deadline;
        let late: Vec<_> = self.paths.iter().filter(|(_, path)| late(path)).map(|(id, _)| *id).collect();
        for id in late {
            self.close(id);
        }
        let Some(current) = self.current else { return };
        if self.ack_due.is_some_and(|due| now >= due) {
            self.acknowledge(current);
        }
        if self.suspect_due().is_some_and(|due| now >= due) {
            self.suspected = true;
            self.effects.push(Effect::Suspect);
        }
        if now >= self.ping_due {
            self.test_path(current, now);
        }
    }

    /// Counted from the last word, and from the PING, which may have gone out late.
    fn suspect_due(&self) -> Option<Duration> {
        let (_, at) = self.ping.filter(|_| !self.suspected)?;
        let patience = PONG_WITHIN.max(3 * self.round_trip).min(PONG_WITHIN_AT_MOST);
        Some((self.heard_at + SUSPECT_AFTER).max(at + patience))
    }

    fn took_round_trip(&mut self, took: Duration) {
        self.round_trip = took.max(self.round_trip.mul_f64(ROUND_TRIP_KEPT));
    }

    fn test_path(&mut self, id: PathId, now: Duration) {
        if now.saturating_sub(self.heard_at) >= SILENT_AFTER {
            return self.close(id);
        }
        if self.ping.is_none() {
            let token = u64::try_from(now.as_millis()).unwrap_or_default();
            self.ping = Some((token, now));
            self.send(id, &Frame::Ping { token });
        }
        self.ping_due = now + PING_EVERY;
    }

    fn handle(&mut self, id: PathId, frame: Frame, now: Duration) -> Result<(), Lost> {
        if self.current == Some(id) {
            self.heard_at = now;
            self.suspected = false;
        }
        match frame {
            Frame::Challenge { nonce, stream } => self.challenged(id, &nonce, stream, now),
            Frame::Attached { verdict, received, window } => {
                self.attached_by(id, verdict, received, window, now)
            }
            Frame::Refused { code, message } => {
                let overtaken = self.is_overtaken(id);
                self.effects.push(Effect::Refused { code, message, overtaken });
                self.close(id);
                Ok(())
            }
            Frame::Notice { code, message } => {
                let overtaken = self.is_overtaken(id);
                self.effects.push(Effect::Notice { path: id, code, message, overtaken });
                Ok(())
            }
            Frame::Ping { token } => {
                self.send(id, &Frame::Pong { token });
                Ok(())
            }
            Frame::Pong { token } => {
                if let Some((_, at)) = self.ping.take_if(|(sent, _)| *sent == token) {
                    self.took_round_trip(now.saturating_sub(at));
                }
                Ok(())
            }
            Frame::Data { offset, bytes } => self.counted(id, offset, &bytes, now),
            Frame::Ack { received } => {
                self.must_be_current(id)?;
                self.outbox.acknowledge(received)?;
                self.pump();
                Ok(())
            }
            Frame::Attach(_) => Err(Lost("the agent sent an ATTACH")),
            Frame::Leave => Err(Lost("the agent sent a LEAVE")),
        }
    }

    fn counted(&mut self, id: PathId, offset: u64, bytes: &[u8], now: Duration) -> Result<(), Lost> {
        self.must_be_current(id)?;
        let known = self.received.checked_sub(offset).ok_or(Lost("DATA with a gap before it"))?;
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(bytes.len());
        let mut fresh = &bytes[known..];
        self.received += fresh.len() as u64;
        while let Some(piece) =
            self.records.next(&mut fresh).map_err(|_| Lost("the agent sent what is no record"))?
        {
            match piece {
                Piece::Display(bytes) => self.effects.push(Effect::Display(bytes.to_vec())),
                Piece::Whole(Channel::Control, text) => {
                    let value: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
                    if value["type"] == "ended" {
                        let reason = value["reason"].as_str().unwrap_or_default();
                        self.effects.push(Effect::Ended(reason.to_owned()));
                    }
                }
                Piece::Whole(Channel::Display | Channel::Clipboard, _) => {}
            }
        }
        if self.received - self.acknowledged >= ACK_EVERY {
            self.acknowledge(id);
        } else {
            self.ack_due.get_or_insert(now + ACK_WITHIN);
        }
        Ok(())
    }

    fn must_be_current(&self, id: PathId) -> Result<(), Lost> {
        if self.current == Some(id) { Ok(()) } else { Err(Lost("DATA or ACK before ATTACHED")) }
    }

    fn acknowledge(&mut self, id: PathId) {
        self.ack_due = None;
        self.acknowledged = self.received;
        self.send(id, &Frame::Ack { received: self.received });
    }

    fn pump(&mut self) {
        let Some(current) = self.current else { return };
        while let Some(frame) = self.outbox.next_frame(self.window) {
            if self.received > self.acknowledged {
                self.acknowledge(current);
            }
            self.send(current, &frame);
        }
    }

    fn send(&mut self, path: PathId, frame: &Frame) {
        self.effects.push(Effect::Send(path, frame.encode()));
    }

    fn close(&mut self, id: PathId) {
        self.path_closed(id);
        self.effects.push(Effect::Close(id));
    }

    fn detach(&mut self) {
        self.current = None;
        self.ping = None;
        self.ack_due = None;
    }
}
