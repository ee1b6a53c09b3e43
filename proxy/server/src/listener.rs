//! Takes connections from browsers and ends their TLS.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use meridian_origin::read_origin;
use meridian_runtime::{is_disconnect, tune};
use prometheus_client::metrics::gauge::Gauge;
use rustls::{ServerConfig, server::UnbufferedServerConnection};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout_at},
};

use crate::{
    connection::{Shared, serve},
    forwarded::Trusted,
    handshakes::{Handshakes, TURN, Turn},
    quiet_tls::QuietTls,
};

/// How long to leave the listener alone when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How soon a browser that leaves gives its place to another, while it waits for its turn: what it sent hides from a read that it left.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(crate) struct Entrance {
    pub(crate) listener: TcpListener,
    /// None: plain HTTP.
    pub(crate) tls: Option<Tls>,
    /// Places for connections that are no streams yet. When there is none, new ones wait in the kernel.
    pub(crate) pending: Arc<Semaphore>,
    pub(crate) head_wait: Duration,
    /// Whose connections begin with a PROXY header.
    pub(crate) balancers: Trusted,
}

/// How TLS is spoken, and by how many at once.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) handshakes: Arc<Handshakes>,
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
        let has_header = entrance.balancers.holds(peer.ip().to_canonical());
        shared.tasks.spawn("connection", async move {
            let greeted = match has_header {
                true => introduce(socket, peer, deadline, &shared_by_it).await,
                false => Some((socket, peer)),
            };
            if let Some((socket, client)) = greeted {
                greet(socket, client, tls, deadline, shared_by_it).await;
            }
            drop(pending);
        });
    }
}

async fn next(entrance: &Entrance) -> (OwnedSemaphorePermit, io::Result<(TcpStream, SocketAddr)>) {
    let place = entrance.pending.clone().acquire_owned().await.expect("the semaphore is never closed");
    (place, entrance.listener.accept().await)
}

/// Reads whose connection it is, as a balancer in front must say first: one that says nothing, or not in time, is let go.
async fn introduce(
    mut socket: TcpStream,
    peer: SocketAddr,
    deadline: Instant,
    shared: &Shared,
) -> Option<(TcpStream, SocketAddr)> {
    let told = tokio::select! {
        () = shared.stopping.cancelled() => return None,
        told = timeout_at(deadline, read_origin(&mut socket)) => told,
    };
    match told {
        Ok(Ok(told)) => return Some((socket, told.map_or(peer, |origin| origin.client))),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a balancer in front sent no PROXY header that can be used")
        }
        Err(_) => tracing::debug!(%peer, "a balancer in front took too long over its PROXY header"),
    }
    shared.metrics.left.inc();
    None
}

async fn greet(
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<Tls>,
    deadline: Instant,
    shared: Arc<Shared>,
) {
    if tune(&socket).is_err() {
        return;
    }
    let Some(tls) = tls else { return serve(Box::new(socket), peer, deadline, shared).await };
    let handshake = tokio::select! {
        () = shared.stopping.cancelled() => return,
        handshake = timeout_at(deadline, Box::pin(shake_hands(socket, tls))) => handshake,
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

/// The handshake, when its turn has come.
async fn shake_hands(socket: TcpStream, tls: Tls) -> io::Result<QuietTls<UnbufferedServerConnection>> {
    let turn = turn_of(&socket, &tls.handshakes).await?;
    let session = UnbufferedServerConnection::new(tls.config).map_err(io::Error::other)?;
    let mut handshake = pin!(QuietTls::handshake(socket, session));
    tokio::select! {
        biased;
        done = &mut handshake => return done,
        () = sleep(TURN) => drop(turn),
    }
    handshake.await
}

/// Waits until the browser has said something, and then for its turn.
async fn turn_of(socket: &TcpStream, handshakes: &Arc<Handshakes>) -> io::Result<Turn> {
    // Browsers open connections in advance and let them lie.
    socket.readable().await?;
    let mut turn = pin!(handshakes.turn());
    loop {
        let taken = tokio::select! {
            biased;
            turn = &mut turn => Some(turn),
            () = sleep(LOOK_EVERY) => None,
        };
        if socket.ready(Interest::READABLE).await?.is_read_closed() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(turn) = taken {
            return Ok(turn);
        }
    }
}
