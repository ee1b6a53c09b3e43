//! One connection, from its first byte to a relayed stream.
//!
//! The question to the Web App and the dial to the agent run at the same time. A browser that leaves cancels both. The relay is a
//! task of its own: what a connection needed to become a stream is freed before.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Method;
use meridian_ids::Uuid;
use meridian_proxy_core::{Accepted, Fault, Next, Refusal};
use meridian_runtime::{Clock, RelayLimits, Tasks, random_bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    agent::{Dialler, Upstream},
    browser::{
        DISTANCE_ANSWER, DISTANCE_PATH, Ended, MAX_ROUNDS, PROBE_PATH, gone, probe_answer, read_head, refuse,
    },
    forwarded::Trusted,
    live_stream::LiveStream,
    metrics::Metrics,
    question::Questioner,
    streams::Streams,
    turns::Turns,
    zone::{CurrentZone, ZoneView},
};

/// How long either side may take to accept the first bytes of a stream.
const FIRST_BYTES_WAIT: Duration = Duration::from_secs(10);

/// What all connections of a proxy share.
pub(crate) struct Shared {
    pub(crate) zone: CurrentZone,
    pub(crate) streams: Arc<Streams>,
    pub(crate) metrics: Metrics,
    pub(crate) questioner: Questioner,
    pub(crate) dialler: Dialler,
    pub(crate) turns: Turns,
    pub(crate) trusted: Trusted,
    pub(crate) clock: Clock,
    /// Where to ask when the zone names no Upstream Auth Address.
    pub(crate) upstream: String,
    pub(crate) max_head_bytes: usize,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) limits: RelayLimits,
    pub(crate) drain_wait: Duration,
    pub(crate) tasks: Tasks,
    pub(crate) stopping: CancellationToken,
    /// No new stream is taken: the proxy drains, and balancers have had their time to notice.
    pub(crate) closed: AtomicBool,
}

/// What a connection is made of when both sides have agreed.
struct Opened {
    upstream: Upstream,
    early: Vec<u8>,
    place: OwnedSemaphorePermit,
    zone: Arc<ZoneView>,
}

/// Serves one connection whose first byte is still to come.
pub(crate) async fn serve<S>(mut io: Box<S>, peer: SocketAddr, deadline: Instant, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut outcome = open(&mut io, peer, deadline, &shared).await;
    for _ in 1..MAX_ROUNDS {
        if !matches!(outcome, Err(Ended::Measured)) || io.write_all(DISTANCE_ANSWER).await.is_err() {
            break;
        }
        outcome = open(&mut io, peer, deadline, &shared).await;
    }
    match outcome {
        Ok(opened) => begin(io, opened, shared).await,
        Err(Ended::Left) => {
            shared.metrics.left.inc();
        }
        Err(Ended::Probed { ready }) => refuse(&mut io, probe_answer(ready)).await,
        Err(Ended::Measured) => refuse(&mut io, DISTANCE_ANSWER).await,
        Err(Ended::Refused(refusal)) => {
            let request_id = Uuid::now_v7().to_string();
            shared.metrics.refuse(&refusal);
            let (code, hop) = (refusal.label(), refusal.hop().as_str());
            match refusal.fault() {
                Fault::Client => {
                    tracing::info!(request_id, code, hop, reason = %refusal, "connection refused")
                }
                Fault::Ours => tracing::warn!(request_id, code, hop, reason = %refusal, "connection refused"),
            }
            refuse(&mut io, &refusal.answer(&request_id)).await;
        }
    }
}

async fn open<S: AsyncRead + Unpin>(
    io: &mut S,
    peer: SocketAddr,
    deadline: Instant,
    shared: &Shared,
) -> Result<Opened, Ended> {
    let (request, mut early) = tokio::select! {
        () = shared.stopping.cancelled() => return Err(Ended::Left),
        head = read_head(io, shared.max_head_bytes, deadline) => head?,
    };
    let zone = shared.zone.get();
    if request.uri().path() == PROBE_PATH && request.method() == Method::GET {
        let ready = zone.as_ref().is_some_and(|zone| !zone.draining) && !shared.stopping.is_cancelled();
        return Err(Ended::Probed { ready });
    }
    if request.uri().path().ends_with(DISTANCE_PATH) && request.method() == Method::GET {
        return Err(Ended::Measured);
    }
    let zone = zone.ok_or(Refusal::NotReady)?;
    if shared.closed.load(Ordering::Relaxed) {
        return Err(Refusal::Draining.into());
    }
    let accepted = Accepted::judge(&request, &zone.zone(), shared.clock.control_now())?;
    let client = shared.trusted.client_address(peer, request.headers()).to_string();
    drop(request);
    let place = shared.places.clone().try_acquire_owned().map_err(|_| Refusal::Full)?;
    let upstream = tokio::select! {
        () = shared.stopping.cancelled() => return Err(Refusal::Stopping.into()),
        () = gone(io, &mut early) => return Err(Ended::Left),
        upstream = establish(accepted, client, &zone, shared) => upstream?,
    };
    Ok(Opened { upstream, early, place, zone })
}

/// Waits for its turn; asks and dials at once; then upgrades. The first failure ends both. About a pass nobody is asked.
async fn establish(
    accepted: Accepted,
    client: String,
    zone: &ZoneView,
    shared: &Shared,
) -> Result<Upstream, Refusal> {
    let agent = accepted.agent();
    let name = zone.agent_name(agent);
    let _turn = shared.turns.next(agent).await?;
    let question = match accepted.next(hex_of(random_bytes()), client) {
        Next::Ask(question) => question,
        Next::Resume => {
            let stream = shared.dialler.reach(zone, agent).await?;
            return shared.dialler.upgrade(accepted.resume()?, stream, &name).await;
        }
    };
    let configured = zone.settings.upstream_auth_address.as_str();
    let upstream = if configured.is_empty() { shared.upstream.as_str() } else { configured };
    let asked_at = Instant::now();
    let upstream = accepted.host().fill(upstream);
    let asking = shared.questioner.ask(&upstream, &question);
    // Reached first: about an agent that nobody knows nothing is asked.
    let (stream, answer) = tokio::try_join!(shared.dialler.reach(zone, agent), Box::pin(asking))?;
    shared.metrics.authorize.observe(asked_at.elapsed().as_secs_f64());
    let authorized = accepted.authorize(answer)?;
    shared.dialler.upgrade(authorized, stream, &name).await
}

fn hex_of(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// Answers the browser, hands on what either side said already, and leaves the rest to a relay.
async fn begin<S>(mut io: Box<S>, opened: Opened, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Opened { upstream: Upstream { connected, mut stream, early: said }, early, place, zone } = opened;
    let session = connected.session();
    let first_bytes = async {
        io.write_all(&connected.answer()).await?;
        io.write_all(&said).await?;
        io.flush().await?;
        stream.write_all(&early).await?;
        stream.flush().await
    };
    if !matches!(timeout(FIRST_BYTES_WAIT, first_bytes).await, Ok(Ok(()))) {
        shared.metrics.left.inc();
        return;
    }
    let entry = shared.streams.enter(&connected, || shared.zone.get());
    tracing::info!(session.id = %session, transport = connected.transport().as_str(), "stream opened");
    drop(zone);
    let tasks = shared.tasks.clone();
    let stream_of_session = LiveStream { connected, entry, place, shared };
    tasks.spawn("stream", stream_of_session.carry(io, stream));
}
