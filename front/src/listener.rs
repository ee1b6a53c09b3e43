//! Takes connections, ends their TLS, and routes each request by its path.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use meridian_runtime::{Tasks, tune};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    answer::Body,
    backends::Backends,
    bounds::{DRAIN_WAIT, HEAD_WAIT, MAX_HEAD_BYTES},
    stream::{self, Caller},
    web::Web,
};

/// How long to leave the listener alone when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection's place; a stream keeps it after HTTP is over.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

pub(crate) struct Front {
    /// `/{proxy_path}/` and the zone's proxies.
    pub(crate) zones: Vec<(String, Arc<Backends>)>,
    pub(crate) web: Web,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) tasks: Tasks,
    pub(crate) stopping: CancellationToken,
    pub(crate) secure: bool,
}

/// Takes connections until the front stops. When there is no place, new ones wait in the kernel.
pub(crate) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, front: Arc<Front>) {
    loop {
        let (place, taken) = tokio::select! {
            () = front.stopping.cancelled() => return,
            taken = next(&listener, &front) => taken,
        };
        let (socket, peer) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, serving) = (tls.clone(), front.clone());
        front.tasks.spawn("front connection", greet(socket, peer.ip(), tls, serving, Arc::new(place)));
    }
}

async fn next(
    listener: &TcpListener,
    front: &Front,
) -> (OwnedSemaphorePermit, std::io::Result<(TcpStream, SocketAddr)>) {
    let place = front.places.clone().acquire_owned().await.expect("the semaphore is never closed");
    (place, listener.accept().await)
}

async fn greet(socket: TcpStream, peer: IpAddr, tls: Option<TlsAcceptor>, front: Arc<Front>, place: Place) {
    if tune(&socket).is_err() {
        return;
    }
    let Some(acceptor) = tls else { return serve(socket, peer, front, place).await };
    let handshake = tokio::select! {
        () = front.stopping.cancelled() => return,
        handshake = timeout(HEAD_WAIT, acceptor.accept(socket)) => handshake,
    };
    match handshake {
        Ok(Ok(stream)) => serve(stream, peer, front, place).await,
        Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS"),
        Err(_) => tracing::debug!(%peer, "no TLS in time"),
    }
}

async fn serve<S>(io: S, peer: IpAddr, front: Arc<Front>, place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stopping = front.stopping.clone();
    let service = service_fn(move |request| {
        let (front, place) = (front.clone(), place.clone());
        async move { Ok::<_, Infallible>(route(request, peer, &front, place).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT).max_buf_size(MAX_HEAD_BYTES);
    let mut connection = Box::pin(server.serve_connection(TokioIo::new(io), service).with_upgrades());
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopping.cancelled() => {
            // What is being answered is answered; an endless body is cut when its time is over.
            connection.as_mut().graceful_shutdown();
            match timeout(DRAIN_WAIT, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}

async fn route(request: Request<Incoming>, client: IpAddr, front: &Front, place: Place) -> Response<Body> {
    let path = request.uri().path();
    let zone = front.zones.iter().find(|(prefix, _)| path.starts_with(prefix.as_str()));
    match zone {
        Some((_, proxies)) => {
            let caller = Caller { client, secure: front.secure, place, tasks: &front.tasks };
            stream::answer(proxies, request, caller).await
        }
        None => front.web.answer(request, client, front.secure).await,
    }
}
