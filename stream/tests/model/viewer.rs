//! The viewer of the model.

use std::collections::BTreeMap;

use bytes::Bytes;
use meridian_stream::{Attach, Code, Frame, Verdict, ViewerKey};

use super::{PathId, Said};

const ACK_EVERY: u64 = 16_384;

enum Phase {
    Challenge,
    Attaching { number: u64, received: u64 },
    Attached,
}

pub(crate) struct ViewerModel {
    paths: BTreeMap<PathId, Phase>,
    current: Option<PathId>,
    last_attach: u64,
    /// The attach number whose answer began the present counts.
    pub(crate) begun_by: Option<u64>,
    /// All that was written since then.
    pub(crate) written: Vec<u8>,
    sent: u64,
    acked: u64,
    window: u64,
    /// All that arrived since then.
    pub(crate) received: Vec<u8>,
    acknowledged: u64,
}

impl ViewerModel {
    pub(crate) fn new() -> Self {
        Self {
            paths: BTreeMap::new(),
            current: None,
            last_attach: 0,
            begun_by: None,
            written: Vec::new(),
            sent: 0,
            acked: 0,
            window: 0,
            received: Vec::new(),
            acknowledged: 0,
        }
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.current.is_some()
    }

    pub(crate) fn opened(&mut self, path: PathId) {
        self.paths.insert(path, Phase::Challenge);
    }

    pub(crate) fn closed(&mut self, path: PathId) {
        self.paths.remove(&path);
        self.current = self.current.filter(|current| *current != path);
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Said {
        if self.begun_by.is_none() {
            return Vec::new();
        }
        self.written.extend_from_slice(bytes);
        self.pump()
    }

    pub(crate) fn acknowledge(&mut self) -> Said {
        let Some(path) = self.current else { return Vec::new() };
        if self.acknowledged == self.count() {
            return Vec::new();
        }
        self.acknowledged = self.count();
        vec![(path, Frame::Ack { received: self.count() }.encode())]
    }

    pub(crate) fn ping(&self) -> Said {
        self.current.map(|path| (path, Frame::Ping { token: 7 }.encode())).into_iter().collect()
    }

    /// Goes for good: said wherever the agent may hold the stream by now.
    pub(crate) fn leave(&mut self) -> Said {
        let paths = std::mem::take(&mut self.paths);
        self.current = None;
        let has_asked = |phase: &Phase| !matches!(phase, Phase::Challenge);
        let told = paths.iter().filter(|(_, phase)| has_asked(phase));
        told.map(|(path, _)| (*path, Frame::Leave.encode())).collect()
    }

    pub(crate) fn receive(&mut self, path: PathId, message: Bytes) -> Said {
        let Some(phase) = self.paths.get(&path) else { return Vec::new() };
        match (Frame::decode(message).unwrap(), phase) {
            (Frame::Challenge { .. }, Phase::Challenge) => self.attach(path),
            (Frame::Attached { verdict, received, window }, Phase::Attaching { number, received: said }) => {
                let (number, said) = (*number, *said);
                self.attached(path, verdict, (number, said), received, window)
            }
            (Frame::Refused { code, .. }, Phase::Attaching { number, .. }) => {
                assert!(
                    code == Code::Superseded && *number < self.last_attach,
                    "an honest viewer's latest attach"
                );
                self.closed(path);
                Vec::new()
            }
            (Frame::Data { offset, bytes }, Phase::Attached) => self.take(offset, &bytes),
            (Frame::Ack { received }, Phase::Attached) => {
                assert!(received <= self.sent, "what was never sent is acknowledged");
                self.acked = self.acked.max(received);
                self.pump()
            }
            (frame, _) => panic!("{frame:?} out of turn"),
        }
    }

    /// An answer to an earlier attach is not waited for any more: the agent takes it for lost.
    fn attach(&mut self, path: PathId) -> Said {
        self.paths.retain(|_, phase| !matches!(phase, Phase::Attaching { .. }));
        self.last_attach += 1;
        let (number, received) = (self.last_attach, self.count());
        self.paths.insert(path, Phase::Attaching { number, received });
        let key = Some(ViewerKey { point: [4; 65], signature: [5; 64] });
        vec![(path, Frame::Attach(Attach { number, received, key }).encode())]
    }

    fn attached(
        &mut self,
        path: PathId,
        verdict: Verdict,
        (number, said): (u64, u64),
        received: u64,
        window: u32,
    ) -> Said {
        if let Some(before) = self.current.replace(path) {
            self.paths.remove(&before);
        }
        self.paths.insert(path, Phase::Attached);
        self.window = u64::from(window);
        let mut out = Vec::new();
        if verdict == Verdict::Resumed {
            assert!((self.acked..=self.sent).contains(&received), "resumed at bytes that are not kept");
            (self.acked, self.sent) = (received, received);
            self.acknowledged = self.count();
            if self.count() > said {
                out.push((path, Frame::Ack { received: self.count() }.encode()));
            }
        } else {
            self.begun_by = Some(number);
            self.written.clear();
            self.received.clear();
            (self.sent, self.acked, self.acknowledged) = (0, 0, 0);
        }
        out.extend(self.pump());
        out
    }

    fn take(&mut self, offset: u64, bytes: &[u8]) -> Said {
        let known = self.count().checked_sub(offset).expect("no gap");
        let known = usize::try_from(known).unwrap().min(bytes.len());
        self.received.extend_from_slice(&bytes[known..]);
        if self.count() - self.acknowledged >= ACK_EVERY { self.acknowledge() } else { Vec::new() }
    }

    fn pump(&mut self) -> Said {
        let Some(path) = self.current else { return Vec::new() };
        let mut said = Vec::new();
        loop {
            let end = (self.acked + self.window).min(self.written.len() as u64);
            let length = end.saturating_sub(self.sent).min(Frame::MAX_DATA_BYTES as u64);
            if length == 0 {
                return said;
            }
            let from = usize::try_from(self.sent).unwrap();
            let bytes = Bytes::copy_from_slice(&self.written[from..from + usize::try_from(length).unwrap()]);
            // An acknowledgement that waits goes with what is sent.
            said.extend(self.acknowledge());
            said.push((path, Frame::Data { offset: self.sent, bytes }.encode()));
            self.sent += length;
        }
    }

    fn count(&self) -> u64 {
        self.received.len() as u64
    }
}
