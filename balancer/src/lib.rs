//! `meridian balance`: routes TCP connections by the server name of their TLS ClientHello, and passes TLS through unread.
//!
//! It answers for: which rule a connection falls under ([`route`]), in which order its backends are tried ([`choice`]) and
//! dialled ([`dial`]), which of them are in ([`standing`], [`check`], [`probe`]), who a connection is from (crate `meridian-origin`), and new
//! configurations that touch no live connection ([`balancer`], [`follow`]). It ends no TLS, reads nothing that it carries but
//! its first bytes, and keeps no buffer for an idle connection. Everything is bounded by the configuration, whose checked form
//! is a [`plan`]. The decisions are pure; sockets are at the rim.

mod backend;
mod balancer;
mod check;
mod choice;
mod connection;
mod dial;
mod follow;
mod hello;
mod metrics;
mod pipes;
mod places;
mod plan;
mod probe;
mod registry;
mod route;
mod rule;
mod splicing;
mod standing;
mod table;

use std::{fmt, io, net::SocketAddr, path::PathBuf, sync::Arc};

use meridian_node::JoinError;
use meridian_runtime::{Health, Tasks, name_node, serve_ops};
use meridian_settings::BalanceSettings;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{balancer::Balancer, plan::Plan, registry::Known};
pub use hello::{HelloError, MAX_HELLO_BYTES, Opening, OpeningReader};
pub use meridian_origin::{Guard, HeaderError, HeaderReader, MAX_HEADER_BYTES, Origin, header_of};
pub use metrics::{Metrics, Refused, Reload};

/// Why a balancer cannot start, or cannot take a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum BalanceError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("`{0}` is no server name: write a name such as `web.meridian`, or `*.agent.example`")]
    ServerName(String),
    #[error("the rule `{0}` has no backend")]
    NoBackend(String),
    #[error("there is no route for `listen`")]
    NoRoute,
    #[error("a route without `sni` takes everything: it must be the last one of its address")]
    Unreachable,
    #[error("there is more than one rule for `{0}`, or of that name")]
    SameName(String),
    #[error("`{0}` is no address of a backend: write `host:port`")]
    Address(String),
    #[error("the rule `{rule}` has the backend {address} more than once")]
    SameBackend { rule: String, address: String },
    #[error("the backend {0} is this balancer itself")]
    Itself(String),
    #[error("trusted_proxies: `{0}` is neither an address nor a network such as 10.0.0.0/8")]
    Trusted(String),
    #[error("check: {0}")]
    Check(String),
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    #[error("{0}")]
    Registry(&'static str),
    #[error("the balancer's identity cannot be used")]
    Join(#[from] JoinError),
}

/// A balancer that runs; it stops with its tasks.
pub struct BoundBalancer {
    /// Where `listen` came to be.
    pub local_addr: SocketAddr,
    /// Where `ops_listen` came to be.
    pub ops_addr: Option<SocketAddr>,
    pub metrics: Metrics,
    balancer: Arc<Balancer>,
}

impl fmt::Debug for BoundBalancer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("BoundBalancer").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl BoundBalancer {
    /// Lets a new configuration take over. No live connection is touched.
    ///
    /// # Errors
    /// As [`BalanceError`] says; then the one before goes on.
    pub async fn reload(&self, settings: BalanceSettings) -> Result<(), BalanceError> {
        self.balancer.reload_and_tell(settings).await
    }

    /// Reads the configuration file again on SIGHUP, and when it has changed, until the tasks stop.
    ///
    /// # Errors
    /// When the signal cannot be listened for.
    pub fn follow(&self, path: PathBuf, tasks: &Tasks) -> io::Result<()> {
        let hangup = signal(SignalKind::hangup())?;
        tasks.spawn_until_stop("configuration", follow::follow(self.balancer.clone(), path, hangup));
        Ok(())
    }

    /// Where a configured address came to be, for one whose port is 0.
    pub async fn address_of(&self, configured: SocketAddr) -> Option<SocketAddr> {
        self.balancer.local_addr(configured).await
    }
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
    name_node(&settings.zone, &settings.name);
    let (metrics, listen) = (Metrics::default(), settings.listen);
    let ops = match settings.ops_listen {
        Some(address) => Some((bind(address).await?, metrics.register(&settings.zone))),
        None => None,
    };
    let section = settings.node.clone();
    let joined = match &section {
        Some(section) => registry::rejoin(section).await?,
        None => None,
    };
    let (node, known) = joined.map_or((None, Known::default()), |(node, known)| (Some(node), known));
    let balancer = Balancer::start(settings, known, &metrics, tasks, health).await?;
    if let Some(section) = section {
        registry::follow(node, section, balancer.clone(), tasks, health);
    }
    let mut ops_addr = None;
    if let Some((listener, registry)) = ops {
        ops_addr = listener.local_addr().ok();
        serve_ops(tasks, listener, health.clone(), registry);
    }
    let local_addr = balancer.local_addr(listen).await.ok_or(BalanceError::NoRoute)?;
    Ok(BoundBalancer { local_addr, ops_addr, metrics, balancer })
}

/// Whether a configuration makes sense, without binding or dialling anything.
///
/// # Errors
/// As [`BalanceError`] says.
pub fn check_settings(settings: &BalanceSettings) -> Result<(), BalanceError> {
    Plan::new(settings, &Known::default()).map(drop)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, BalanceError> {
    TcpListener::bind(address).await.map_err(|source| BalanceError::Listen { address, source })
}
