//! `meridian up`'s own front: one public address for everything on a machine.
//!
//! It ends TLS (or speaks plain HTTP on loopback) and routes by path. What lies under a zone's path goes to that zone's proxies, and an
//! upgraded stream is relayed byte by byte; everything else goes to the Web App nodes, bodies passed on as they come. Whatever
//! a client says about its own address is overwritten. It decides nothing else: where a backend is away, the next is tried, and
//! a person reads which hop was missing.

mod answer;
mod backends;
mod forward;
mod listener;
mod stream;
mod web;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use meridian_identity::{IdentityError, PublicCertificate};
use meridian_runtime::Tasks;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::{backends::Backends, listener::Front as Serving, web::Web};

/// Bounds. A front serves one machine's people; a zone of its own has `meridian proxy` and `meridian balance`, whose bounds are settings.
mod bounds {
    use std::time::Duration;

    pub(crate) const MAX_CONNECTIONS: usize = 8192;
    pub(crate) const MAX_HEAD_BYTES: usize = 32 * 1024;
    pub(crate) const HEAD_WAIT: Duration = Duration::from_secs(30);
    pub(crate) const DIAL_WAIT: Duration = Duration::from_secs(5);
    /// Longer than the Web App's own limit for a request, and a proxy's for an upgrade.
    pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(45);
    pub(crate) const HALF_CLOSE_WAIT: Duration = Duration::from_secs(30);
    pub(crate) const DRAIN_WAIT: Duration = Duration::from_secs(2);
    pub(crate) const COPY_BUFFER_BYTES: usize = 32 * 1024;
}

/// What a front needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontSettings {
    pub listen: SocketAddr,
    /// Certificate chain and key (PEM files); none: plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Web App nodes.
    pub web: Vec<SocketAddr>,
    /// A zone's `proxy_path` and its proxies.
    pub zones: Vec<(String, Vec<SocketAddr>)>,
}

/// Why a front cannot start.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the front has no TLS")]
    Tls(#[from] IdentityError),
    #[error("`{0}` cannot be a zone's path: it is empty, `api`, or another zone's too")]
    Path(String),
    #[error("there is no {0} to hand connections to")]
    NoBackend(&'static str),
}

/// A front that runs; it stops with its tasks.
#[derive(Debug)]
pub struct Front {
    pub local_addr: SocketAddr,
}

/// Binds and serves until the tasks stop.
///
/// # Errors
/// As [`FrontError`] says.
pub async fn start(settings: FrontSettings, tasks: &Tasks) -> Result<Front, FrontError> {
    let zones = zones(&settings)?;
    if settings.web.is_empty() {
        return Err(FrontError::NoBackend("Web App node"));
    }
    let tls = match &settings.tls {
        Some((certificate, key)) => {
            Some(TlsAcceptor::from(PublicCertificate::serve(certificate, key, tasks)?))
        }
        None => None,
    };
    let listen_error = |source| FrontError::Listen { address: settings.listen, source };
    let listener = TcpListener::bind(settings.listen).await.map_err(listen_error)?;
    let local_addr = listener.local_addr().map_err(listen_error)?;
    let serving = Arc::new(Serving {
        zones,
        web: Web::new(Backends::new(settings.web)),
        places: Arc::new(Semaphore::new(bounds::MAX_CONNECTIONS)),
        tasks: tasks.clone(),
        stopping: tasks.stopping(),
        secure: tls.is_some(),
    });
    tracing::info!(address = %local_addr, "front listens");
    tasks.spawn("front", listener::accept(listener, tls, serving));
    Ok(Front { local_addr })
}

fn zones(settings: &FrontSettings) -> Result<Vec<(String, Arc<Backends>)>, FrontError> {
    let mut zones: Vec<(String, Arc<Backends>)> = Vec::with_capacity(settings.zones.len());
    for (path, proxies) in &settings.zones {
        let prefix = format!("/{}/", path.trim_matches('/'));
        if prefix == "//" || prefix.starts_with("/api/") || zones.iter().any(|(known, _)| *known == prefix) {
            return Err(FrontError::Path(path.clone()));
        }
        if proxies.is_empty() {
            return Err(FrontError::NoBackend("proxy"));
        }
        zones.push((prefix, Backends::new(proxies.clone())));
    }
    Ok(zones)
}
