//! One connection, from its first byte to its end.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use meridian_origin::{Guard, Origin, header_of, read_origin};
use meridian_runtime::{RelayEnd, RelayLimits, Tasks, relay_ways, tune};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    balancer::Balancer,
    dial::{Dialled, dial},
    hello::{HelloError, Opening, OpeningReader},
    metrics::Refused,
    places::Taken,
    rule::Rule,
    splicing::{Side, SocketWay},
    table::Table,
};

/// Bytes read at once while the opening is awaited.
const OPENING_PIECE_BYTES: usize = 2048;

/// A client and a backend that answered.
struct Joined {
    client: Guarded,
    dialled: Dialled,
    rule: Arc<Rule>,
}

/// From the first byte to a dialled backend. The relay itself is a task of its own, so that an idle one is small.
pub(crate) async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    listen: SocketAddr,
    balancer: Arc<Balancer>,
    place: Taken,
    tasks: &Tasks,
) {
    let table = balancer.table.load_full();
    match join(socket, peer, listen, &table).await {
        Ok(joined) => {
            let (cut, limits) = (balancer.cut.clone(), table.terms.relay);
            tasks.spawn("relay", async move {
                tokio::select! {
                    () = cut.cancelled() => {}
                    () = carry(joined, limits, &balancer) => {}
                }
                drop(place);
            });
        }
        Err(reason) => {
            balancer.metrics.refuse(reason);
            tracing::debug!(?reason, client = %peer, "connection refused");
        }
    }
}

async fn join(
    mut socket: TcpStream,
    peer: SocketAddr,
    listen: SocketAddr,
    table: &Table,
) -> Result<Joined, Refused> {
    tune(&socket).map_err(|_| Refused::BadHello)?;
    // A listener that a new configuration has taken away may still hand over its last connection.
    let routes = table.listeners.get(&listen).ok_or(Refused::NoRoute)?;
    let reading = async {
        let origin = origin_of(&mut socket, peer, table).await?;
        match routes.only() {
            Some(rule) => Ok((origin, rule, Vec::new())),
            None => {
                let (opening, bytes) = read_opening(&mut socket).await?;
                Ok((origin, routes.find(&opening).ok_or(Refused::NoRoute)?, bytes))
            }
        }
    };
    let (origin, rule, mut opening) =
        timeout(table.terms.hello_wait, reading).await.map_err(|_| Refused::SlowHello)??;
    let rule = table.rules[rule].clone();
    let mut client = Guarded::new(socket, &rule);
    if !client.guard.passes(&opening) {
        return Err(Refused::ForgedHeader);
    }
    if rule.terms.proxy_protocol {
        let header = header_of(origin).map_err(|_| Refused::BadHeader)?;
        opening.splice(..0, header);
    }
    let mut dialled =
        dial(&rule, rule.order(origin.client.ip()), table.terms.dial).await.ok_or(Refused::NoBackend)?;
    if !opening.is_empty() {
        dialled.socket.write_all(&opening).await.map_err(|_| Refused::NoBackend)?;
    }
    rule.series.routed();
    Ok(Joined { client, dialled, rule })
}

/// Where the connection is from: the socket's ends, or what a trusted balancer in front says. One that is trusted must say it:
/// guessing whether a header is there would let its clients forge one (PROXY protocol, section 5).
async fn origin_of(socket: &mut TcpStream, peer: SocketAddr, table: &Table) -> Result<Origin, Refused> {
    let server = socket.local_addr().map_err(|_| Refused::BadHello)?;
    let own = Origin { client: peer, server };
    let address = peer.ip().to_canonical();
    if !table.terms.trusted.iter().any(|network| network.contains(&address)) {
        return Ok(own);
    }
    let told = read_origin(socket).await.map_err(|_| Refused::BadHeader)?;
    Ok(told.unwrap_or(own))
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

async fn carry(joined: Joined, limits: RelayLimits, balancer: &Balancer) {
    let Joined { mut client, dialled, rule } = joined;
    let Dialled { mut socket, backend, place } = dialled;
    let reset = rule.terms.reset_when_unreachable.then(|| backend.cut_token());
    let (metrics, series) = (&balancer.metrics, rule.series.clone());
    // The rule may be out of the configuration long before this connection ends.
    drop((rule, backend));
    metrics.open.inc();
    let end = tokio::select! {
        end = pass(&mut client, &mut socket, limits, balancer) => Some(end),
        () = cancelled(reset.as_ref()) => None,
    };
    drop(place);
    metrics.open.dec();
    match end {
        Some(RelayEnd::Closed | RelayEnd::Disconnected | RelayEnd::HalfCloseExpired) => {}
        Some(RelayEnd::Failed(error)) => tracing::warn!(%error, "a relayed connection broke"),
        None => {
            series.reset();
            // Without lingering a close is a reset; one that is gone already needs none.
            let _ = client.socket.set_zero_linger();
            let _ = socket.set_zero_linger();
        }
    }
    if client.forged {
        metrics.refuse(Refused::ForgedHeader);
    }
}

/// Bytes both ways until both have ended.
async fn pass(
    client: &mut Guarded,
    socket: &mut TcpStream,
    limits: RelayLimits,
    balancer: &Balancer,
) -> RelayEnd {
    let (mut forth, mut back) = (SocketWay::default(), SocketWay::default());
    relay_ways(limits, move |cx, moved| {
        let mut count = |count| {
            *moved += count;
            balancer.metrics.bytes.inc_by(count as u64);
        };
        let (means, bytes) = (&balancer.means, limits.buffer_bytes);
        let one = forth.poll(cx, client, socket, bytes, means, &mut count);
        (one, back.poll(cx, socket, client, bytes, means, &mut count))
    })
    .await
}

/// Never, where there is no token: streams are not reset.
async fn cancelled(reset: Option<&CancellationToken>) {
    match reset {
        Some(reset) => reset.cancelled().await,
        None => std::future::pending().await,
    }
}

/// A client that cannot pretend to be a balancer: what it sends first is looked at on its way.
struct Guarded {
    socket: TcpStream,
    guard: Guard,
    forged: bool,
}

impl Guarded {
    fn new(socket: TcpStream, rule: &Rule) -> Self {
        // After a header of ours, one of the client's is only content.
        let guard = if rule.terms.proxy_protocol { Guard::off() } else { Guard::default() };
        Self { socket, guard, forged: false }
    }
}

impl Side for Guarded {
    fn socket(&self) -> Option<&TcpStream> {
        self.guard.is_satisfied().then_some(&self.socket)
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        if !self.guard.passes(&buffer.filled()[before..]) {
            self.forged = true;
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
