//! Requests under a zone's path: to one of its proxies, on a connection of its own, and relayed once both have agreed to upgrade.

use std::{net::IpAddr, pin::Pin, time::Duration};

use http::{Request, Response, StatusCode};
use http_body_util::Either;
use hyper::{body::Incoming, client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use meridian_runtime::{RelayEnd, RelayLimits, Tasks, relay};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::{
    answer::{Body, Missing},
    backends::Backends,
    bounds::{ANSWER_WAIT, COPY_BUFFER_BYTES, DRAIN_WAIT, HALF_CLOSE_WAIT, MAX_HEAD_BYTES},
    forward::{drop_hop_by_hop, is_upgrade, set_forwarded},
    listener::Place,
};

const LIMITS: RelayLimits = RelayLimits { buffer_bytes: COPY_BUFFER_BYTES, half_close_wait: HALF_CLOSE_WAIT };
/// How long either side may take to accept the first bytes of a stream.
const FIRST_BYTES_WAIT: Duration = Duration::from_secs(10);

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}
type BoxedIo = Pin<Box<dyn Io>>;

/// Where a request under a zone's path comes from.
pub(crate) struct Caller<'a> {
    pub(crate) client: IpAddr,
    pub(crate) secure: bool,
    pub(crate) place: Place,
    pub(crate) tasks: &'a Tasks,
}

/// Hands the request to a proxy of the zone, and the answer back.
pub(crate) async fn answer(
    proxies: &Backends,
    mut request: Request<Incoming>,
    caller: Caller<'_>,
) -> Response<Body> {
    let upgrading = is_upgrade(request.headers());
    if !upgrading {
        drop_hop_by_hop(request.headers_mut());
    }
    set_forwarded(request.headers_mut(), caller.client, caller.secure);
    let browser = hyper::upgrade::on(&mut request);
    let Ok(socket) = proxies.dial().await else { return Missing::ProxyAway.answer() };
    let built = http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(TokioIo::new(socket)).await;
    let Ok((mut sender, connection)) = built else { return Missing::ProxyAway.answer() };
    let driving = connection.with_upgrades();
    caller.tasks.spawn_until_stop("stream's request", async move {
        // Whoever waits for the answer sees how it ended.
        let _ = driving.await;
    });
    let mut response = match timeout(ANSWER_WAIT, sender.send_request(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a proxy broke a request off");
            return Missing::Broken.answer();
        }
        Err(_) => return Missing::ProxySilent.answer(),
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        drop_hop_by_hop(response.headers_mut());
        return response.map(Either::Left);
    }
    if !upgrading {
        return Missing::Broken.answer();
    }
    let proxy = hyper::upgrade::on(&mut response);
    let (stopping, place) = (caller.tasks.stopping(), caller.place);
    caller.tasks.spawn("stream", async move {
        let (Ok(browser), Ok(proxy)) = tokio::join!(browser, proxy) else { return };
        carry(browser, proxy, stopping).await;
        drop(place);
    });
    response.map(Either::Left)
}

/// Relays until either side ends, or the front has stopped for long enough.
async fn carry(browser: Upgraded, proxy: Upgraded, stopping: CancellationToken) {
    let Some(((browser, from_browser), (proxy, from_proxy))) = take_out(browser).zip(take_out(proxy)) else {
        tracing::error!("a connection is of a kind that was never made");
        return;
    };
    let (mut browser, mut proxy) = (browser, proxy);
    let first_bytes = async {
        browser.write_all(&from_proxy).await?;
        proxy.write_all(&from_browser).await
    };
    if !matches!(timeout(FIRST_BYTES_WAIT, first_bytes).await, Ok(Ok(()))) {
        return;
    }
    drop((from_browser, from_proxy));
    let stopped = async {
        stopping.cancelled().await;
        tokio::time::sleep(DRAIN_WAIT).await;
    };
    tokio::select! {
        end = relay(browser, proxy, LIMITS, |_, _| {}) => match end {
            RelayEnd::Closed | RelayEnd::Disconnected | RelayEnd::HalfCloseExpired => {}
            RelayEnd::Failed(error) => tracing::warn!(%error, "a stream broke"),
        },
        () = stopped => {}
    }
}

/// The connection itself, without the HTTP around it, and what was read of it already.
fn take_out(upgraded: Upgraded) -> Option<(BoxedIo, bytes::Bytes)> {
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => Some((Box::pin(parts.io.into_inner()), parts.read_buf)),
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>().ok()?;
            Some((Box::pin(parts.io.into_inner()), parts.read_buf))
        }
    }
}
