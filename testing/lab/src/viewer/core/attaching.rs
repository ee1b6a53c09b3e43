//! How a path comes to carry the stream.

use std::time::Duration;

use meridian_ids::StreamId;
use meridian_stream::{Attach, Frame, RecordReader, Verdict};

use super::{ATTACH_WITHIN, Core, Effect, Lost, Outbox, Path, PathId, Phase};

impl Core {
    pub(super) fn challenged(
        &mut self,
        id: PathId,
        nonce: &[u8; 32],
        stream: StreamId,
        now: Duration,
    ) -> Result<(), Lost> {
        let waiting = self.paths.iter().filter(|(_, path)| path.phase == Phase::Attaching);
        let waiting: Vec<_> = waiting.map(|(other, _)| *other).collect();
        if waiting.contains(&id) || self.current == Some(id) {
            return Err(Lost("a second CHALLENGE"));
        }
        for other in waiting {
            self.close(other);
        }
        self.last_attach += 1;
        let (number, received) = (self.last_attach, self.received);
        let key =
            self.key.sign(nonce, stream, number, received).map_err(|_| Lost("the lab could not sign"))?;
        let path = Path {
            phase: Phase::Attaching,
            deadline: now + ATTACH_WITHIN,
            attach_number: number,
            sent_at: now,
            received,
        };
        self.paths.insert(id, path);
        self.send(id, &Frame::Attach(Attach { number, received, key: Some(key) }));
        Ok(())
    }

    pub(super) fn attached_by(
        &mut self,
        id: PathId,
        verdict: Verdict,
        received: u64,
        window: u32,
        now: Duration,
    ) -> Result<(), Lost> {
        let path = self.paths.get_mut(&id).filter(|path| path.phase == Phase::Attaching);
        let path = path.ok_or(Lost("ATTACHED out of turn"))?;
        path.phase = Phase::Attached;
        let (signed, sent_at) = (path.received, path.sent_at);
        let resumed = verdict == Verdict::Resumed;
        if resumed {
            self.outbox.resume_at(received)?;
        } else {
            self.outbox = Outbox::default();
            self.records = RecordReader::default();
            self.received = 0;
        }
        let before = self.current.replace(id);
        self.window = u64::from(window);
        (self.heard_at, self.ping_due) = (now, now);
        self.took_round_trip(now.saturating_sub(sent_at));
        (self.suspected, self.ping, self.ack_due) = (false, None, None);
        if let Some(before) = before {
            self.close(before);
        }
        self.effects.push(Effect::Attached(verdict));
        // What came on the path before since ATTACH was signed need not be sent again.
        if resumed && self.received > signed {
            self.acknowledge(id);
        }
        self.acknowledged = self.received;
        self.pump();
        Ok(())
    }

    pub(super) fn is_overtaken(&self, id: PathId) -> bool {
        self.paths.get(&id).is_some_and(|path| path.attach_number < self.last_attach)
    }
}
