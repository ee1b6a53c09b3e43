//! Which streams live, and telling them to stop.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use meridian_ids::{SessionId, StreamId};
use meridian_runtime::Tasks;
use meridian_ticket::Grant;
use meridian_wire::{NodeSettings, Revocation};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;

use crate::{grants::is_before, metrics::Metrics, refusal::Refusal};

/// Why a stream has to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Superseded,
    Ended(String),
    Revoked,
    Draining,
}

/// The live streams of the agent. Clones share them.
#[derive(Clone)]
pub(crate) struct Streams {
    state: Arc<Mutex<State>>,
    next: Arc<AtomicU64>,
    gauge: Gauge,
}

#[derive(Default)]
struct State {
    live: HashMap<u64, Live>,
    /// The highest attach number of each stream, kept as long as its session may have streams.
    attached: HashMap<SessionId, HashMap<StreamId, u64>>,
}

struct Live {
    session: SessionId,
    stream: StreamId,
    issued_s: i64,
    stop: watch::Sender<Option<Stop>>,
}

/// A live stream's entry; dropping it takes the stream off the list.
pub(crate) struct Ticket {
    number: u64,
    streams: Streams,
    pub(crate) stop: watch::Receiver<Option<Stop>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.streams.lock().live.remove(&self.number);
        self.streams.gauge.dec();
    }
}

/// More streams of one session are forgotten from the lowest attach number on; a viewer makes one per page.
const MAX_ATTACHED: usize = 256;

impl Streams {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self { state: Arc::default(), next: Arc::default(), gauge: metrics.streams.clone() }
    }

    /// Puts a stream on the list, if there is room.
    pub(crate) fn admit(&self, grant: &Grant, at_most: usize) -> Result<Ticket, Refusal> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (stop, told) = watch::channel(None);
        let mut state = self.lock();
        if state.live.len() >= at_most {
            return Err(Refusal::Busy);
        }
        let live = Live { session: grant.sub, stream: grant.stream, issued_s: grant.iat, stop };
        state.live.insert(number, live);
        drop(state);
        self.gauge.inc();
        Ok(Ticket { number, streams: self.clone(), stop: told })
    }

    /// The highest attach number that a stream had.
    pub(crate) fn highest_attach(&self, session: SessionId, stream: StreamId) -> Option<u64> {
        self.lock().attached.get(&session)?.get(&stream).copied()
    }

    /// Notes an attach, unless a higher one came first; older paths of the stream are told to stop.
    pub(crate) fn attach(&self, ticket: &Ticket, session: SessionId, stream: StreamId, attach: u64) -> bool {
        let mut state = self.lock();
        let attached = state.attached.entry(session).or_default();
        if attached.get(&stream).is_some_and(|highest| *highest >= attach) {
            return false;
        }
        attached.insert(stream, attach);
        if attached.len() > MAX_ATTACHED
            && let Some(oldest) = attached.iter().filter(|(id, _)| **id != stream).min_by_key(|(id, _)| **id)
        {
            let oldest = *oldest.0;
            attached.remove(&oldest);
        }
        for (number, live) in &state.live {
            if live.stream == stream && *number != ticket.number {
                live.stop.send_replace(Some(Stop::Superseded));
            }
        }
        true
    }

    pub(crate) fn count(&self, session: SessionId) -> u32 {
        let state = self.lock();
        u32::try_from(state.live.values().filter(|live| live.session == session).count()).unwrap_or(u32::MAX)
    }

    /// The session is over: its streams are told why.
    pub(crate) fn end(&self, session: SessionId, reason: &str) {
        let mut state = self.lock();
        state.attached.remove(&session);
        for live in state.live.values().filter(|live| live.session == session) {
            live.stop.send_replace(Some(Stop::Ended(reason.to_owned())));
        }
    }

    /// Cuts the streams that revocations name, now and whenever the settings change.
    pub(crate) fn follow_revocations(
        &self,
        tasks: &Tasks,
        mut settings: watch::Receiver<Option<Arc<NodeSettings>>>,
    ) {
        let streams = self.clone();
        tasks.spawn_until_stop("revocations", async move {
            loop {
                let current = settings.borrow_and_update().clone();
                for revocation in current.iter().flat_map(|settings| &settings.revocations) {
                    streams.revoke(revocation);
                }
                if settings.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn revoke(&self, revocation: &Revocation) {
        for live in self.lock().live.values() {
            if live.session == revocation.session_id && is_before(live.issued_s, revocation.issued_before) {
                live.stop.send_replace(Some(Stop::Revoked));
            }
        }
    }

    /// When the agent stops, viewers are told to look for another path; workspaces go on.
    pub(crate) fn drain_at_stop(&self, tasks: &Tasks) {
        let (streams, stopping) = (self.clone(), tasks.stopping());
        tasks.spawn("drain", async move {
            stopping.cancelled().await;
            for live in streams.lock().live.values() {
                live.stop.send_replace(Some(Stop::Draining));
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
