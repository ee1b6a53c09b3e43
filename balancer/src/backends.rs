//! The backends of one rule, dialled and checked.
//!
//! A failed dial is tried on the next backend before the client notices. Checks dial once per period, with a limit, and close at
//! once; a dial that carries a client counts as a check too.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use meridian_runtime::{Health, Tasks, tune};
use meridian_settings::RouteSettings;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    metrics::{BackendLabels, Metrics},
    pool::Pool,
};

pub(crate) struct Backends {
    addresses: Vec<String>,
    pool: Mutex<Pool>,
    dial_wait: Duration,
    metrics: Metrics,
}

/// A dialled backend, counted as busy until this is dropped.
pub(crate) struct Dialled {
    pub(crate) socket: TcpStream,
    pub(crate) place: Place,
}

/// The place that a connection takes on its backend.
pub(crate) struct Place {
    backends: Arc<Backends>,
    index: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.backends.pool().closed(self.index);
    }
}

impl Backends {
    pub(crate) fn new(route: &RouteSettings, dial_wait: Duration, metrics: &Metrics) -> Arc<Self> {
        let addresses: Vec<String> = route.backends.iter().map(|backend| backend.address.clone()).collect();
        let pool = Mutex::new(Pool::new(addresses.len()));
        Arc::new(Self { addresses, pool, dial_wait, metrics: metrics.clone() })
    }

    /// Dials the backends in their order until one answers; `None` when none does.
    pub(crate) async fn dial(self: &Arc<Self>) -> Option<Dialled> {
        let order = self.pool().order();
        for index in order {
            // Counted before it is dialled, so that clients who come together spread over the backends.
            self.pool().opened(index);
            let place = Place { backends: self.clone(), index };
            if let Some(socket) = self.try_one(index).await {
                return Some(Dialled { socket, place });
            }
        }
        None
    }

    async fn try_one(&self, index: usize) -> Option<TcpStream> {
        let address = &self.addresses[index];
        let dialled = timeout(self.dial_wait, TcpStream::connect(address)).await;
        let socket = dialled.ok().and_then(Result::ok).filter(|socket| tune(socket).is_ok());
        let healthy = socket.is_some();
        let news = self.pool().note(index, healthy);
        self.metrics
            .healthy
            .get_or_create(&BackendLabels { backend: address.clone() })
            .set(i64::from(healthy));
        match (news, healthy) {
            (true, true) => tracing::info!(backend = %address, "backend answers again"),
            (true, false) => tracing::warn!(backend = %address, "backend does not answer"),
            (false, _) => {}
        }
        socket
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks every backend in a task of its own, each period, until the tasks stop. The balancer is ready while any route has a backend: one
/// agent that is down is that agent's trouble, and shows in the metrics.
pub(crate) fn keep_checked(
    routes: &Arc<[Arc<Backends>]>,
    period: Duration,
    tasks: &Tasks,
    health: &Health,
    code: &'static str,
) {
    for backends in routes.iter() {
        for index in 0..backends.addresses.len() {
            let (routes, backends, health) = (routes.clone(), backends.clone(), health.clone());
            tasks.spawn_until_stop("backend check", async move {
                let mut ticks = tokio::time::interval(period);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    backends.try_one(index).await;
                    report(&routes, &health, code);
                }
            });
        }
    }
}

fn report(routes: &[Arc<Backends>], health: &Health, code: &'static str) {
    if routes.iter().any(|backends| backends.pool().any_healthy()) {
        health.restore(code);
    } else {
        health.degrade(code, "no route has a backend that answers");
    }
}
