//! Takes connections, reads how they open, and relays them.

use std::{sync::Arc, time::Duration};

use meridian_runtime::{RelayEnd, RelayLimits, Tasks, relay, tune};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    backends::{Backends, Dialled},
    hello::{HelloError, Opening, OpeningReader},
    metrics::{Metrics, Refused},
    route::Routes,
};

/// Bytes read at once while the opening is awaited.
const OPENING_PIECE_BYTES: usize = 2048;
/// How long to leave the listener alone when the system has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Balancer {
    pub(crate) routes: Routes,
    pub(crate) backends: Arc<[Arc<Backends>]>,
    pub(crate) hello_wait: Duration,
    pub(crate) drain_wait: Duration,
    pub(crate) limits: RelayLimits,
    pub(crate) max_connections: u32,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
    /// Cancelled when connections have had their time to end after a stop.
    pub(crate) cut: CancellationToken,
}

/// Takes connections until the tasks stop; then gives those that live their time.
pub(crate) async fn accept(listener: TcpListener, balancer: Arc<Balancer>, tasks: Tasks) {
    let stopping = tasks.stopping();
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        balancer.metrics.accepted.inc();
        let Ok(place) = balancer.places.clone().try_acquire_owned() else {
            balancer.metrics.refuse(Refused::Full);
            continue;
        };
        let (balancer, tasks_of_streams) = (balancer.clone(), tasks.clone());
        tasks.spawn("connection", async move {
            let cut = balancer.cut.clone();
            tokio::select! {
                () = cut.cancelled() => {}
                () = serve(socket, balancer, place, &tasks_of_streams) => {}
            }
        });
    }
    drop(listener);
    // All places are free again when the last connection has ended.
    let _ = timeout(balancer.drain_wait, balancer.places.acquire_many(balancer.max_connections)).await;
    balancer.cut.cancel();
}

/// From the first byte to a dialled backend. The relay itself is a task of its own, so that an idle one is small.
async fn serve(socket: TcpStream, balancer: Arc<Balancer>, place: OwnedSemaphorePermit, tasks: &Tasks) {
    match connect(socket, &balancer).await {
        Ok((client, dialled)) => {
            let cut = balancer.cut.clone();
            tasks.spawn("relay", async move {
                tokio::select! {
                    () = cut.cancelled() => {}
                    () = carry(client, dialled, &balancer) => {}
                }
                drop(place);
            });
        }
        Err(reason) => {
            balancer.metrics.refuse(reason);
            tracing::debug!(?reason, "connection refused");
        }
    }
}

async fn connect(mut client: TcpStream, balancer: &Balancer) -> Result<(TcpStream, Dialled), Refused> {
    if tune(&client).is_err() {
        return Err(Refused::BadHello);
    }
    let (rule, opening) = match balancer.routes.only() {
        Some(rule) => (rule, Vec::new()),
        None => {
            let reading = read_opening(&mut client);
            let (opening, bytes) =
                timeout(balancer.hello_wait, reading).await.map_err(|_| Refused::SlowHello)??;
            (balancer.routes.find(&opening).ok_or(Refused::NoRoute)?, bytes)
        }
    };
    let mut dialled = balancer.backends[rule].dial().await.ok_or(Refused::NoBackend)?;
    dialled.socket.write_all(&opening).await.map_err(|_| Refused::NoBackend)?;
    Ok((client, dialled))
}

async fn read_opening(client: &mut TcpStream) -> Result<(Opening, Vec<u8>), Refused> {
    let mut reader = Box::<OpeningReader>::default();
    let mut piece = Vec::with_capacity(OPENING_PIECE_BYTES);
    loop {
        piece.clear();
        let count = client.read_buf(&mut piece).await.map_err(|_| Refused::BadHello)?;
        if count == 0 {
            return Err(Refused::BadHello);
        }
        match reader.push(&piece) {
            Ok(Some(opening)) => return Ok((opening, reader.into_bytes())),
            Ok(None) => {}
            Err(HelloError::Malformed | HelloError::TooLong) => return Err(Refused::BadHello),
        }
    }
}

async fn carry(client: TcpStream, dialled: Dialled, balancer: &Balancer) {
    balancer.metrics.open.inc();
    let bytes = balancer.metrics.bytes.clone();
    let Dialled { socket, place } = dialled;
    let end = relay(client, socket, balancer.limits, |_, count| {
        bytes.inc_by(count as u64);
    })
    .await;
    drop(place);
    balancer.metrics.open.dec();
    match end {
        RelayEnd::Closed | RelayEnd::Disconnected | RelayEnd::HalfCloseExpired => {}
        RelayEnd::Failed(error) => tracing::warn!(%error, "a relayed connection broke"),
    }
}
