//! One backend of one rule: what is known of it, and who is on it. It outlives the configuration it was first named in.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{choice::backend_key, metrics::BackendSeries, standing::Standing};

#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) address: String,
    pub(crate) key: u64,
    connections: AtomicUsize,
    standing: Mutex<Standing>,
    /// Cancelled, and replaced, to reset the connections of this backend.
    cut: Mutex<CancellationToken>,
    /// A client's dial failed: the next check is due now.
    pub(crate) doubted: Notify,
    pub(crate) series: BackendSeries,
}

/// The place that a connection takes on its backend.
pub(crate) struct Place(Arc<Backend>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        self.0.series.connections.dec();
    }
}

impl Backend {
    /// `came_at`: when it joined backends that were there already; none: all begin together.
    pub(crate) fn new(address: &str, came_at: Option<Instant>, series: BackendSeries) -> Arc<Self> {
        series.healthy(true);
        Arc::new(Self {
            address: address.to_owned(),
            key: backend_key(address),
            connections: AtomicUsize::new(0),
            standing: Mutex::new(Standing::new(came_at)),
            cut: Mutex::default(),
            doubted: Notify::new(),
            series,
        })
    }

    pub(crate) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counted before it is dialled, so that clients who come together spread over the backends.
    pub(crate) fn take_place(self: &Arc<Self>) -> Place {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.series.connections.inc();
        Place(self.clone())
    }

    /// Cancelled when the connections that there are now must be reset.
    pub(crate) fn cut_token(&self) -> CancellationToken {
        self.cut_lock().clone()
    }

    pub(crate) fn cut_connections(&self) {
        std::mem::take(&mut *self.cut_lock()).cancel();
    }

    fn cut_lock(&self) -> MutexGuard<'_, CancellationToken> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
