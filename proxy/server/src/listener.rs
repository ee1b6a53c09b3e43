//! Takes connections from browsers and ends their TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use meridian_runtime::{is_disconnect, tune};
use prometheus_client::metrics::gauge::Gauge;
use rustls::{ServerConfig, server::UnbufferedServerConnection};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::{
    connection::{Shared, serve},
    quiet_tls::QuietTls,
};

/// How long to leave the listener alone when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Entrance {
    pub(crate) listener: TcpListener,
    /// None: plain HTTP.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Places for connections that are no streams yet. When there is none, new ones wait in the kernel.
    pub(crate) pending: Arc<Semaphore>,
    pub(crate) head_wait: Duration,
}

/// A place among the connections that are no streams yet.
struct Pending {
    gauge: Gauge,
    _place: OwnedSemaphorePermit,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// Takes connections until the proxy stops.
pub(crate) async fn accept(entrance: Entrance, shared: Arc<Shared>) {
    loop {
        let (place, taken) = tokio::select! {
            () = shared.stopping.cancelled() => return,
            taken = next(&entrance) => taken,
        };
        let (socket, peer) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        shared.metrics.pending.inc();
        let pending = Pending { gauge: shared.metrics.pending.clone(), _place: place };
        let deadline = Instant::now() + entrance.head_wait;
        let (tls, shared_by_it) = (entrance.tls.clone(), shared.clone());
        shared.tasks.spawn("connection", async move {
            greet(socket, peer, tls, deadline, shared_by_it).await;
            drop(pending);
        });
    }
}

async fn next(entrance: &Entrance) -> (OwnedSemaphorePermit, std::io::Result<(TcpStream, SocketAddr)>) {
    let place = entrance.pending.clone().acquire_owned().await.expect("the semaphore is never closed");
    (place, entrance.listener.accept().await)
}

async fn greet(
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    deadline: Instant,
    shared: Arc<Shared>,
) {
    if tune(&socket).is_err() {
        return;
    }
    let Some(config) = tls else { return serve(Box::new(socket), peer, deadline, shared).await };
    let session = match UnbufferedServerConnection::new(config) {
        Ok(session) => session,
        Err(error) => return tracing::error!(%error, "TLS cannot begin"),
    };
    let handshake = tokio::select! {
        () = shared.stopping.cancelled() => return,
        handshake = timeout_at(deadline, QuietTls::handshake(socket, session)) => handshake,
    };
    match handshake {
        Ok(Ok(stream)) => serve(Box::new(stream), peer, deadline, shared).await,
        Ok(Err(error)) => {
            shared.metrics.left.inc();
            if !is_disconnect(&error) {
                tracing::debug!(%error, %peer, "no TLS");
            }
        }
        Err(_) => {
            shared.metrics.left.inc();
        }
    }
}
