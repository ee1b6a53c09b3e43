//! Both ends of a stream over paths that lose messages: the agent's real core, and a viewer that does what docs/integrators/stream.md
//! asks of one (as console/app/stream/core.ts does), without records.

mod viewer;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use meridian_ids::{StreamId, Uuid};
use meridian_stream::{AgentStream, Attach, Frame, Received, Verdict};
pub(crate) use viewer::ViewerModel;

pub(crate) const ACCEPT_WINDOW: u32 = 128 << 10;
pub(crate) const SEND_WINDOW: u32 = 256 << 10;

pub(crate) type PathId = u64;

/// What leaves a side on a path.
pub(crate) type Said = Vec<(PathId, Bytes)>;

/// One beginning at offset 0: what was written and what arrived, at the agent.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) written: Vec<u8>,
    pub(crate) received: Vec<u8>,
    /// A frame came after the answer that began it.
    pub(crate) is_confirmed: bool,
    /// The viewer has left it.
    pub(crate) is_left: bool,
}

/// The agent, its proof of keys left out.
pub(crate) struct AgentModel {
    pub(crate) core: AgentStream,
    pub(crate) path: Option<PathId>,
    pub(crate) now: Duration,
    /// Every beginning, and which of them an attach number began.
    pub(crate) lives: Vec<Life>,
    pub(crate) begun: BTreeMap<u64, usize>,
    pub(crate) verdicts: Vec<Verdict>,
}

impl AgentModel {
    pub(crate) fn new() -> Self {
        Self {
            core: AgentStream::new(ACCEPT_WINDOW, SEND_WINDOW, None, Duration::ZERO),
            path: None,
            now: Duration::ZERO,
            lives: Vec::new(),
            begun: BTreeMap::new(),
            verdicts: Vec::new(),
        }
    }

    pub(crate) fn life(&mut self) -> &mut Life {
        self.lives.last_mut().expect("the stream has begun")
    }

    pub(crate) fn opened(path: PathId) -> Said {
        let nonce = [path as u8; 32];
        vec![(path, Frame::Challenge { nonce, stream: StreamId(Uuid::from_u128(9)) }.encode())]
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Said {
        if self.lives.last().is_none_or(|life| life.is_left) {
            return Vec::new();
        }
        self.life().written.extend_from_slice(bytes);
        self.core.write(bytes);
        self.pump()
    }

    /// A message of a viewer that keeps the rules.
    pub(crate) fn receive(&mut self, path: PathId, message: Bytes) -> Said {
        let frame = Frame::decode(message).expect("a viewer that keeps the rules");
        if let Frame::Attach(attach) = frame {
            return self.attach(path, &attach);
        }
        if self.path != Some(path) {
            return Vec::new();
        }
        let is_leave = matches!(frame, Frame::Leave);
        self.life().is_confirmed = !is_leave;
        match self.core.receive(frame, self.now).expect("a viewer that keeps the rules") {
            Received::Data(bytes) => self.life().received.extend_from_slice(&bytes),
            Received::Ping(_) | Received::Pong(_) | Received::Acked | Received::Nothing => {}
            Received::Left => self.left(),
        }
        let mut said = self.pump();
        if self.core.ack_due() {
            said.extend(self.acknowledge());
        }
        said
    }

    fn attach(&mut self, path: PathId, attach: &Attach) -> Said {
        let acked = self.core.window().acked();
        let verdict = match self.core.attach(attach, true, self.now) {
            Ok(verdict) => verdict,
            Err(error) => {
                return vec![(path, Frame::Refused { code: error.code(), message: String::new() }.encode())];
            }
        };
        self.verdicts.push(verdict);
        if verdict == Verdict::Resumed {
            assert!(self.life().is_confirmed);
        } else {
            let wants_nothing_that_is_gone = attach.received > 0 || acked == 0;
            let could = self.lives.last().is_some_and(|life| life.is_confirmed && wants_nothing_that_is_gone);
            assert!(!could, "a stream restarts only where it must");
            self.begun.insert(attach.number, self.lives.len());
            self.lives.push(Life::default());
        }
        self.path = Some(path);
        let mut said = vec![(path, self.core.attached(verdict).encode())];
        said.extend(self.pump());
        said
    }

    /// Nothing is kept for a viewer that has left.
    fn left(&mut self) {
        assert_eq!((self.core.kept(), self.core.unsent(), self.core.ack_due()), (0, 0, false));
        self.path = None;
        self.life().is_left = true;
    }

    pub(crate) fn closed(&mut self, path: PathId) {
        self.path = self.path.filter(|current| *current != path);
    }

    pub(crate) fn acknowledge(&mut self) -> Said {
        let Some(path) = self.path else { return Vec::new() };
        self.core.ack().map(|ack| (path, ack.encode())).into_iter().collect()
    }

    fn pump(&mut self) -> Said {
        let Some(path) = self.path else { return Vec::new() };
        let mut said = Vec::new();
        while let Some(message) = self.core.next_message(self.now) {
            said.push((path, message));
        }
        said
    }
}
