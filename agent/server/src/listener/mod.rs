//! The agent's listener: mutual TLS for proxies and the Web App, nobody else. The entrance for browsers in the agent's own process, where
//! there is one, comes through no socket.

mod push;
mod upgrade;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use meridian_engine::Engine;
use meridian_identity::{NodeTls, Peer};
use meridian_model::NodeRole;
use meridian_node::NodeClient;
use meridian_runtime::Tasks;
use meridian_wire::{Update, agent_paths};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    grants::Grants,
    metrics::{Metrics, ReasonLabel},
    refusal::Refusal,
    sessions::Sessions,
    stream::{Limits, Streams},
};

/// After an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEAD_LIMIT: Duration = Duration::from_secs(10);
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Connections beside those of streams: pushes, and upgrades under way.
const SPARE_CONNECTIONS: usize = 256;

/// What requests are answered with.
pub(crate) struct Front {
    pub(crate) client: NodeClient,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) grants: Grants,
    pub(crate) sessions: Sessions,
    pub(crate) streams: Streams,
    pub(crate) updates: mpsc::Sender<Update>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limits: Limits,
}

/// Serves until the tasks stop.
pub(crate) fn serve(tasks: &Tasks, listener: TcpListener, front: Arc<Front>) {
    let (connections, stopping) = (tasks.clone(), tasks.stopping());
    let room = Arc::new(Semaphore::new(front.limits.max_streams + SPARE_CONNECTIONS));
    tasks.spawn("listener", async move {
        loop {
            let accepted = tokio::select! {
                () = stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (socket, _) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No descriptor left, mostly: waiting a little is all that helps.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
            let (front, tasks) = (Arc::clone(&front), connections.clone());
            connections.spawn("connection", async move {
                serve_connection(socket, front, tasks).await;
                drop(permit);
            });
        }
    });
}

/// Serves the agent's own entrance until the tasks stop. How many come is bounded there.
pub(crate) fn serve_own(tasks: &Tasks, mut door: mpsc::Receiver<DuplexStream>, front: Arc<Front>) {
    let connections = tasks.clone();
    tasks.spawn_until_stop("own entrance", async move {
        while let Some(stream) = door.recv().await {
            let (own, front, tasks) = (front.client.name(), Arc::clone(&front), connections.clone());
            connections.spawn("connection", speak(stream, own, front, tasks));
        }
    });
}

async fn serve_connection(socket: TcpStream, front: Arc<Front>, tasks: Tasks) {
    // Keys are small packets that must not wait for company.
    let _ = socket.set_nodelay(true);
    let acceptor = TlsAcceptor::from(front.client.tls().server_config());
    let Ok(Ok(stream)) = timeout(HANDSHAKE_LIMIT, acceptor.accept(socket)).await else { return };
    let certificates = stream.get_ref().1.peer_certificates();
    let Some(peer) = NodeTls::peer(certificates, &[NodeRole::Proxy, NodeRole::Web]) else { return };
    if peer.role == NodeRole::Proxy && peer.zone != front.client.name().zone {
        tracing::warn!(%peer, "a proxy of another zone is turned away");
        return;
    }
    speak(stream, peer, front, tasks).await;
}

/// Answers what a known peer asks.
async fn speak<S>(stream: S, peer: Peer, front: Arc<Front>, tasks: Tasks)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stopping = tasks.stopping();
    let service = service_fn(move |request| {
        let (front, tasks) = (Arc::clone(&front), tasks.clone());
        async move { Ok::<_, Infallible>(answer(request, peer, front, &tasks).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MAX_HEAD_BYTES);
    let connection = server.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::select! {
        // A peer that went away is not an error.
        _ = connection => {}
        () = stopping.cancelled() => {}
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    front: Arc<Front>,
    tasks: &Tasks,
) -> Response<Full<Bytes>> {
    let metrics = Arc::clone(&front.metrics);
    let answered = if request.uri().path() == agent_paths::PUSH {
        if request.method() == Method::POST && peer.role == NodeRole::Web {
            push::take(request, &front).await
        } else {
            Err(Refusal::Peer)
        }
    } else if request.uri().path() == agent_paths::DRAIN {
        if request.method() == Method::POST && peer.role == NodeRole::Proxy {
            front.streams.move_off(peer.node);
            Ok(push::no_content())
        } else {
            Err(Refusal::Peer)
        }
    // No agent comes over the network: the one that does is this one's own entrance.
    } else if peer.role == NodeRole::Proxy || peer.role == NodeRole::Agent {
        upgrade::open(request, &peer, front, tasks).await
    } else {
        Err(Refusal::NotFound)
    };
    answered.unwrap_or_else(|refusal| {
        tracing::info!(%peer, code = refusal.code(), reason = %refusal, "a request is refused");
        metrics.refused.get_or_create(&ReasonLabel { reason: refusal.code() }).inc();
        refusal.response()
    })
}
