//! A listener of the Web App: takes connections, learns who they are from, ends their TLS, and serves HTTP on them until they end.
//!
//! Where balancers in front speak the PROXY protocol, a connection of theirs begins with a header that says whose it is. It must be
//! there: a connection that has none is closed. Nobody else's header is looked at; it is content, and no HTTP or TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use meridian_identity::NodeTls;
use meridian_model::NodeRole;
use meridian_origin::read_origin;
use meridian_runtime::Tasks;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{api::node_listener::HANDSHAKE_WAIT, state::TrustedRange};

/// Connections at once, to each listener.
const MAX_CONNECTIONS: usize = 8192;
/// How long a client may take over a request's head.
const HEAD_WAIT: Duration = Duration::from_secs(10);
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How long a listener is left alone when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Entrance {
    pub(crate) name: &'static str,
    pub(crate) listener: TcpListener,
    /// Whose connections begin with a PROXY header.
    pub(crate) balancers: Vec<TrustedRange>,
    /// None: plain HTTP.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) router: Router,
}

/// What one connection needs.
#[derive(Clone)]
struct Inside {
    balancers: Arc<[TrustedRange]>,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
}

impl Entrance {
    /// Accepts until the tasks stop; then connections finish what they are doing.
    pub(crate) fn accept(self, tasks: &Tasks) {
        let Self { name, listener, balancers, tls, router } = self;
        let (stop, shared) = (tasks.stopping(), tasks.clone());
        let inside = Inside { balancers: balancers.into(), tls, router, stop: stop.clone() };
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        tasks.spawn(name, async move {
            loop {
                let accepted = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let (socket, peer) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of file descriptors, mostly: waiting a little is all that helps.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let Ok(place) = places.clone().try_acquire_owned() else {
                    tracing::warn!(%peer, "a connection was refused: there are {MAX_CONNECTIONS} already");
                    continue;
                };
                let inside = inside.clone();
                shared.spawn("connection", async move {
                    let _place = place;
                    let _ = socket.set_nodelay(true);
                    inside.greet(socket, peer).await;
                });
            }
        });
    }
}

impl Inside {
    async fn greet(self, mut socket: TcpStream, peer: SocketAddr) {
        let deadline = Instant::now() + HANDSHAKE_WAIT;
        let stop = self.stop.clone();
        let client = tokio::select! {
            () = stop.cancelled() => None,
            client = self.client(&mut socket, peer, deadline) => client,
        };
        let Some(client) = client else { return };
        let Some(acceptor) = &self.tls else { return self.serve(socket, client, None).await };
        let Ok(Ok(stream)) = timeout_at(deadline, acceptor.accept(socket)).await else {
            tracing::debug!(peer = %client, "a TLS handshake failed or took too long");
            return;
        };
        let node = NodeTls::peer(stream.get_ref().1.peer_certificates(), &NodeRole::ALL).map(Arc::new);
        self.serve(stream, client, node).await;
    }

    /// Who the connection is from; none when its header is missing, wrong or late.
    async fn client(
        &self,
        socket: &mut TcpStream,
        peer: SocketAddr,
        deadline: Instant,
    ) -> Option<SocketAddr> {
        if !self.balancers.iter().any(|range| range.contains(peer.ip())) {
            return Some(peer);
        }
        match timeout_at(deadline, read_origin(socket)).await {
            Ok(Ok(told)) => Some(told.map_or(peer, |origin| origin.client)),
            // A check that only dials ends here too.
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a balancer in front sent no PROXY header that can be used");
                None
            }
            Err(_) => {
                tracing::debug!(%peer, "a balancer in front took too long over its PROXY header");
                None
            }
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        stream: S,
        peer: SocketAddr,
        node: Option<Arc<meridian_identity::Peer>>,
    ) {
        let mut router = self.router.layer(Extension(ConnectInfo(peer)));
        if let Some(node) = node {
            router = router.layer(Extension(node));
        }
        let service =
            hyper::service::service_fn(move |request: Request<Incoming>| router.clone().oneshot(request));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT).max_buf_size(MAX_HEAD_BYTES);
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::pin!(connection);
        tokio::select! {
            // A client that went away is not an error.
            _ = connection.as_mut() => {}
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}
