//! `meridian balance`: routes TCP connections by the server name of their TLS ClientHello, and passes TLS through unread.
//!
//! It answers for: which rule a connection falls under ([`route`]), which backend it gets ([`pool`]), active health checks, a dial
//! that fails being tried elsewhere before the client notices, and bounds on everything. It ends no TLS, reads nothing that
//! it carries, and keeps no buffer for an idle connection. The choices are pure; sockets are at the rim
//! ([`backends`], [`listener`]).

mod backends;
mod hello;
mod listener;
mod metrics;
mod pool;
mod route;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use meridian_runtime::{Health, RelayLimits, Tasks, serve_ops};
use meridian_settings::BalanceSettings;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    backends::{Backends, keep_checked},
    listener::Balancer,
    route::Routes,
};
pub use metrics::{Metrics, Refused};

/// Bytes read at once from a connection; nothing is held while it is idle.
const BUFFER_BYTES: usize = 32 * 1024;
/// How long what is left of a half-closed connection may be silent.
const HALF_CLOSE_WAIT: Duration = Duration::from_secs(60);
/// Reason code of `/readyz`: no rule has a backend that answers.
const NO_BACKEND: &str = "no_backend";

/// Why a balancer cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BalanceError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("`{0}` is no server name: write a name such as `web.meridian`, or `*.agent.example`")]
    ServerName(String),
    #[error("the route `{0}` has no backend")]
    NoBackend(String),
    #[error("there is no route")]
    NoRoute,
    #[error("a route without `sni` takes everything: it must be the last one")]
    Unreachable,
    #[error("{0} must be at least 1")]
    Zero(&'static str),
}

/// A balancer that runs; it stops with its tasks.
#[derive(Debug)]
pub struct BoundBalancer {
    pub local_addr: SocketAddr,
    pub metrics: Metrics,
}

/// Binds and serves until the tasks stop.
///
/// # Errors
/// As [`BalanceError`] says.
pub async fn start(
    settings: BalanceSettings,
    tasks: &Tasks,
    health: &Health,
) -> Result<BoundBalancer, BalanceError> {
    let routes = Routes::new(&settings)?;
    let period = positive(settings.check_period_s, "check_period_s")?;
    let dial_wait = positive(settings.dial_wait_s, "dial_wait_s")?;
    let hello_wait = positive(settings.hello_wait_s, "hello_wait_s")?;
    let max_connections = u32::try_from(settings.max_connections).unwrap_or(u32::MAX / 2);
    positive(u64::from(max_connections), "max_connections")?;
    let listener = bind(settings.listen).await?;
    let local_addr = listener.local_addr().map_err(|source| listen_error(settings.listen, source))?;
    let metrics = Metrics::default();
    if let Some(address) = settings.ops_listen {
        serve_ops(tasks, bind(address).await?, health.clone(), metrics.register());
    }
    let backends: Arc<[_]> =
        settings.routes.iter().map(|route| Backends::new(route, dial_wait, &metrics)).collect();
    keep_checked(&backends, period, tasks, health, NO_BACKEND);
    let balancer = Arc::new(Balancer {
        routes,
        backends,
        hello_wait,
        drain_wait: Duration::from_secs(settings.drain_wait_s),
        limits: RelayLimits { buffer_bytes: BUFFER_BYTES, half_close_wait: HALF_CLOSE_WAIT },
        max_connections,
        places: Arc::new(Semaphore::new(max_connections as usize)),
        metrics: metrics.clone(),
        cut: CancellationToken::new(),
    });
    tasks.spawn("listener", listener::accept(listener, balancer, tasks.clone()));
    tracing::info!(address = %local_addr, routes = settings.routes.len(), "balancing");
    Ok(BoundBalancer { local_addr, metrics })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, BalanceError> {
    TcpListener::bind(address).await.map_err(|source| listen_error(address, source))
}

fn listen_error(address: SocketAddr, source: std::io::Error) -> BalanceError {
    BalanceError::Listen { address, source }
}

fn positive(seconds: u64, name: &'static str) -> Result<Duration, BalanceError> {
    if seconds == 0 { Err(BalanceError::Zero(name)) } else { Ok(Duration::from_secs(seconds)) }
}
