//! `meridian proxy`: the Dedicated Zone Proxy.
//!
//! A browser's connection goes through the phases of `meridian-proxy-core`; this crate is the sockets around them:
//!
//! ```text
//! listener ── TLS ──> connection ──┬─ question ──> Web App (Upstream Auth Address, signed call)
//!                                  └─ agent ─────> agent (mutual TLS, own upgrade request)
//!                     then live_stream: opaque bytes both ways, no buffer while idle
//! ```
//!
//! In a zone without proxies (`proxy_connections = false`) an agent has the same entrance in its own process, with itself alone behind it
//! ([`start_at_agent`]).
//!
//! It has no database, no users and no key that can mint access. What it must remember is on its own disk (crate `meridian-node`), so
//! live streams and a restart of the proxy do not depend on the control plane. Every queue, head and wait has its bound in
//! [`ProxySettings`].

mod agent;
mod browser;
mod connection;
mod forwarded;
mod goodbye;
mod handshakes;
mod listener;
mod live_stream;
mod metrics;
mod question;
mod quiet_tls;
mod streams;
mod turns;
mod zone;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use meridian_identity::{IdentityError, PublicCertificate, ZoneTickets};
use meridian_model::NodeRole;
use meridian_node::{HeartbeatParts, JoinError, NodeClient, UpstreamError, upstream_http};
use meridian_runtime::{Clock, Health, RelayLimits, Tasks, name_node, serve_ops};
use meridian_settings::ProxySettings;
use meridian_wire::NodeSettings;
use rustls::ServerConfig;
use tokio::{
    io::DuplexStream,
    net::TcpListener,
    sync::{Semaphore, mpsc},
};

pub use metrics::{Cut, Metrics};

use crate::{
    agent::{Dialler, Way},
    connection::Shared,
    forwarded::Trusted,
    handshakes::Handshakes,
    listener::{Entrance, Tls},
    question::Questioner,
    streams::Streams,
    turns::Turns,
    zone::CurrentZone,
};

/// How long what is left of a half-closed stream may be silent.
const HALF_CLOSE_WAIT: Duration = Duration::from_secs(30);
/// Updates wait here for the proxy; a full queue slows the control plane's messages down.
const UPDATE_QUEUE: usize = 16;

/// Why a proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the proxy could not join its deployment")]
    Join(#[from] JoinError),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the public listener has no TLS")]
    Tls(#[from] IdentityError),
    #[error("set both tls_certificate_file and tls_key_file, or neither")]
    HalfTls,
    #[error("trusted_proxies: `{0}` is neither an address nor a network such as 10.0.0.0/8")]
    Trusted(String),
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    #[error("stopped before it had started")]
    Stopped,
}

/// A proxy that runs; it stops with its tasks.
pub struct Proxy {
    pub local_addr: SocketAddr,
    pub metrics: Metrics,
    pub node: NodeClient,
}

/// Joins the deployment, binds, and serves until the tasks stop. Waits as long as enrolment takes.
///
/// # Errors
/// As [`ProxyError`] says.
pub async fn start(
    settings: ProxySettings,
    clock: Clock,
    tasks: &Tasks,
    health: &Health,
) -> Result<Proxy, ProxyError> {
    let tickets = ZoneTickets::new(clock.clone());
    let porch = Porch::read(&settings, &tickets, tasks)?;
    let stopping = tasks.stopping();
    let node = tokio::select! {
        () = stopping.cancelled() => return Err(ProxyError::Stopped),
        joined = NodeClient::join(&settings.node, NodeRole::Proxy, clock.clone()) => joined?,
    };
    name_node(&node.zone_name(), node.name().node);
    // Bound last: a balancer in front sends nobody to a proxy that cannot judge anyone yet.
    let (listener, local_addr) = bind(settings.listen).await?;
    let metrics = Metrics::default();
    if let Some(address) = settings.node.ops_listen {
        let (listener, _) = bind(address).await?;
        serve_ops(tasks, listener, health.clone(), metrics.register(&node.zone_name()));
    }
    // Made once: it keeps the sessions that make the next handshake with the same agent short.
    let way = Way::Network(node.tls().client_config());
    let shared = share(&settings, &node, way, clock, tasks, &porch, metrics.clone())?;
    follow_zone(&node, &shared, tasks, health);
    beat(&node, &shared, tasks);
    follow_ticket_keys(&node, tickets, tasks);
    tracing::info!(address = %local_addr, "proxy listens");
    tasks.spawn("goodbye", goodbye::at_stop(Arc::clone(&shared)));
    tasks.spawn_until_stop("drain", goodbye::when_drained(node.clone(), Arc::clone(&shared)));
    tasks.spawn("listener", listener::accept(porch.entrance(listener, &settings), shared));
    Ok(Proxy { local_addr, metrics, node })
}

/// An agent that takes browsers itself.
pub struct OwnAgent {
    /// As which it has joined: it signs the questions, and hears of the zone.
    pub node: NodeClient,
    /// Takes the far end of each connection, as if from a proxy.
    pub door: mpsc::Sender<DuplexStream>,
    /// What the entrance counts; the agent shows it.
    pub metrics: Metrics,
}

/// Opens the entrance in an agent's own process, and serves until the tasks stop: the same judgement, the same question, and that agent alone
/// behind it. It beats no heart and says no goodbyes: the agent does both. Gives where it listens.
///
/// # Errors
/// As [`ProxyError`] says.
pub async fn start_at_agent(
    settings: ProxySettings,
    agent: OwnAgent,
    clock: Clock,
    tasks: &Tasks,
    health: &Health,
) -> Result<SocketAddr, ProxyError> {
    let tickets = ZoneTickets::new(clock.clone());
    let porch = Porch::read(&settings, &tickets, tasks)?;
    let (listener, local_addr) = bind(settings.listen).await?;
    let OwnAgent { node, door, metrics } = agent;
    let way = Way::Own { agent: node.name().node, door };
    let shared = share(&settings, &node, way, clock, tasks, &porch, metrics)?;
    follow_zone(&node, &shared, tasks, health);
    tracing::info!(address = %local_addr, "the agent takes browsers");
    tasks.spawn("entrance", listener::accept(porch.entrance(listener, &settings), shared));
    Ok(local_addr)
}

/// What stands before the listener, read before anything is bound.
struct Porch {
    trusted: Trusted,
    balancers: Trusted,
    tls: Option<Arc<ServerConfig>>,
}

impl Porch {
    fn read(settings: &ProxySettings, tickets: &Arc<ZoneTickets>, tasks: &Tasks) -> Result<Self, ProxyError> {
        check(settings)?;
        let trusted = Trusted::read(&settings.trusted_proxies).map_err(ProxyError::Trusted)?;
        let balancers = if settings.proxy_protocol { trusted.clone() } else { Trusted::default() };
        let tls = match (&settings.tls_certificate_file, &settings.tls_key_file) {
            (Some(certificate), Some(key)) => {
                Some(PublicCertificate::serve_resuming(certificate, key, tickets.clone(), tasks)?)
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(ProxyError::HalfTls),
        };
        Ok(Self { trusted, balancers, tls })
    }

    fn entrance(self, listener: TcpListener, settings: &ProxySettings) -> Entrance {
        Entrance {
            listener,
            tls: self.tls.map(|config| Tls { config, handshakes: Handshakes::new() }),
            pending: Arc::new(Semaphore::new(settings.max_pending)),
            head_wait: Duration::from_secs(settings.head_wait_s),
            balancers: self.balancers,
        }
    }
}

fn check(settings: &ProxySettings) -> Result<(), ProxyError> {
    let bounds = [
        ("max_head_bytes", settings.max_head_bytes),
        ("max_streams", settings.max_streams),
        ("max_pending", settings.max_pending),
        ("copy_buffer_bytes", settings.copy_buffer_bytes),
    ];
    let waits = [
        ("head_wait_s", settings.head_wait_s),
        ("authorize_wait_s", settings.authorize_wait_s),
        ("dial_wait_s", settings.dial_wait_s),
    ];
    let zero = bounds.iter().find(|(_, value)| *value == 0).map(|(name, _)| *name);
    let zero = zero.or_else(|| waits.iter().find(|(_, value)| *value == 0).map(|(name, _)| *name));
    zero.map_or(Ok(()), |name| Err(ProxyError::Zero(name)))
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ProxyError> {
    let failed = |source| ProxyError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn share(
    settings: &ProxySettings,
    node: &NodeClient,
    way: Way,
    clock: Clock,
    tasks: &Tasks,
    porch: &Porch,
    metrics: Metrics,
) -> Result<Arc<Shared>, ProxyError> {
    let http = upstream_http(settings.node.upstream_ca_file.as_deref())?;
    let limits = RelayLimits { buffer_bytes: settings.copy_buffer_bytes, half_close_wait: HALF_CLOSE_WAIT };
    let zone = match &way {
        Way::Network(_) => CurrentZone::default(),
        Way::Own { .. } => CurrentZone::of_agent(),
    };
    Ok(Arc::new(Shared {
        zone,
        streams: Streams::new(metrics.clone()),
        metrics,
        questioner: Questioner {
            node: node.clone(),
            http,
            wait: Duration::from_secs(settings.authorize_wait_s),
        },
        dialler: Dialler { way, wait: Duration::from_secs(settings.dial_wait_s) },
        turns: Turns::default(),
        trusted: porch.trusted.clone(),
        clock,
        upstream: settings.node.upstream.clone(),
        max_head_bytes: settings.max_head_bytes,
        places: Arc::new(Semaphore::new(settings.max_streams)),
        limits,
        drain_wait: Duration::from_secs(settings.drain_wait_s),
        tasks: tasks.clone(),
        stopping: tasks.stopping(),
        closed: AtomicBool::new(false),
    }))
}

/// Keeps the zone's view as the control plane says it is.
fn follow_zone(node: &NodeClient, shared: &Arc<Shared>, tasks: &Tasks, health: &Health) {
    // What the disk remembers counts before the first connection.
    shared.zone.take(node.settings().borrow().as_deref(), &shared.streams, health);
    let following = shared.zone.clone().follow(node.settings(), shared.streams.clone(), health.clone());
    tasks.spawn_until_stop("zone", following);
}

/// Speaks with the control plane as a proxy does.
fn beat(node: &NodeClient, shared: &Shared, tasks: &Tasks) {
    let taken = Arc::new(AtomicI64::new(0));
    let (told, metrics) = (taken.clone(), shared.metrics.clone());
    let (sender, mut updates) = mpsc::channel(UPDATE_QUEUE);
    let parts = move || HeartbeatParts {
        since: told.load(Ordering::Relaxed),
        streams: Some(u32::try_from(metrics.streams()).unwrap_or_default()),
        ..HeartbeatParts::default()
    };
    node.run(tasks, parts, sender);
    // The node's client has taken all that concerns a proxy out of an update; its version is what is left.
    tasks.spawn_until_stop("updates", async move {
        while let Some(update) = updates.recv().await {
            // 0 is a hint without a number.
            if update.version > 0 {
                taken.store(update.version, Ordering::Relaxed);
            }
        }
    });
}

/// Keeps the zone's TLS ticket keys as the control plane says they are; what the disk remembers counts before the first connection.
fn follow_ticket_keys(node: &NodeClient, tickets: Arc<ZoneTickets>, tasks: &Tasks) {
    let mut heard = node.settings();
    let mut known = Vec::new();
    let mut take = move |settings: Option<&NodeSettings>| {
        let keys = settings.map(|settings| settings.ticket_keys.clone()).unwrap_or_default();
        if keys != known {
            tickets.replace(&keys);
            known = keys;
        }
    };
    take(heard.borrow_and_update().as_deref());
    tasks.spawn_until_stop("ticket keys", async move {
        while heard.changed().await.is_ok() {
            take(heard.borrow_and_update().as_deref());
        }
    });
}
