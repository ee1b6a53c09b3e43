//! The live streams: how many, and which are to be cut.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use meridian_ids::SessionId;
use meridian_proxy_core::{Connected, revoked};
use meridian_wire::{CutReason, Revocation};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{Cut, Metrics},
    zone::ZoneView,
};

pub(crate) struct Streams {
    live: Mutex<Live>,
    metrics: Metrics,
}

#[derive(Default)]
struct Live {
    next: u64,
    by_number: HashMap<u64, Stream>,
}

struct Stream {
    session: SessionId,
    issued_at_s: i64,
    cut: CancellationToken,
}

/// A stream's entry; gone when this is dropped.
pub(crate) struct Entry {
    streams: Arc<Streams>,
    number: u64,
    pub(crate) cut: CancellationToken,
}

impl Streams {
    pub(crate) fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { live: Mutex::default(), metrics })
    }

    /// Enters a stream. `known` are the revocations of this moment: one may have come since the stream's ticket was judged, and one that
    /// comes later finds the entry.
    pub(crate) fn enter(
        self: &Arc<Self>,
        connected: &Connected,
        known: impl FnOnce() -> Option<Arc<ZoneView>>,
    ) -> Entry {
        let cut = CancellationToken::new();
        let stream =
            Stream { session: connected.session(), issued_at_s: connected.issued_at_s(), cut: cut.clone() };
        let mut live = self.live();
        let number = live.next;
        live.next += 1;
        live.by_number.insert(number, stream);
        drop(live);
        self.metrics.streams.inc();
        self.metrics.opened.inc();
        let entry = Entry { streams: self.clone(), number, cut };
        if known().is_some_and(|zone| is_cut(connected.session(), connected.issued_at_s(), &zone.revocations))
        {
            self.cut(connected.session(), &entry.cut);
        }
        entry
    }

    /// Cuts every stream that a revocation names.
    pub(crate) fn revoke(&self, revocations: &[Revocation]) {
        if revocations.is_empty() {
            return;
        }
        for stream in self.live().by_number.values() {
            if is_cut(stream.session, stream.issued_at_s, revocations) {
                self.cut(stream.session, &stream.cut);
            }
        }
    }

    fn cut(&self, session: SessionId, token: &CancellationToken) {
        if !token.is_cancelled() {
            token.cancel();
            self.metrics.count_cut(Cut::Revoked);
            tracing::info!(session.id = %session, "stream cut: access was taken away");
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a stream is this relay's to cut. Of one that idles its viewer is told by the agent, which a relay that is quicker would prevent.
fn is_cut(session: SessionId, issued_at_s: i64, revocations: &[Revocation]) -> bool {
    let mut others = revocations.iter().filter(|revocation| revocation.because != Some(CutReason::Idle));
    others.any(|revocation| revoked(session, issued_at_s, std::slice::from_ref(revocation)))
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.streams.live().by_number.remove(&self.number);
        self.streams.metrics.streams.dec();
    }
}
