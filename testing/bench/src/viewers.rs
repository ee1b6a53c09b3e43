//! Viewers: TLS connections that upgrade, exchange a little, and then stay.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::stand_in::{GREETING_BYTES, StandIn};

/// Name in the certificate that relays show to viewers.
pub(crate) const PUBLIC_NAME: &str = "relay.bench.meridian";
const OPEN_LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);
/// Streams opened at once: a relay is measured, not a storm.
const AT_ONCE: usize = 8;
const WORD: &[u8; 64] = &[b'w'; 64];

/// Opens streams through relays, and holds them.
pub(crate) struct Viewers {
    connector: TlsConnector,
    stand_in: Arc<StandIn>,
}

impl Viewers {
    pub(crate) fn new(roots: RootCertStore, stand_in: Arc<StandIn>) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), stand_in })
    }

    /// Opens `count` streams; each has carried bytes both ways when this returns.
    pub(crate) async fn open(
        &self,
        relay: SocketAddr,
        count: usize,
    ) -> anyhow::Result<Vec<TlsStream<TcpStream>>> {
        let mut streams = Vec::with_capacity(count);
        while streams.len() < count {
            let wave = (0..AT_ONCE.min(count - streams.len())).map(|_| self.open_one(relay));
            for opened in join_all(wave).await {
                streams.push(opened?);
            }
        }
        Ok(streams)
    }

    /// Tries until a first stream opens: a relay may listen before it has all it needs.
    pub(crate) async fn wait_until_ready(&self, relay: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + OPEN_LIMIT;
        loop {
            match self.open_one(relay).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn open_one(&self, relay: SocketAddr) -> anyhow::Result<TlsStream<TcpStream>> {
        timeout(OPEN_LIMIT, self.try_open(relay)).await.context("a stream was not open in time")?
    }

    async fn try_open(&self, relay: SocketAddr) -> anyhow::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(relay).await?;
        socket.set_nodelay(true)?;
        let mut stream = self.connector.connect(ServerName::try_from(PUBLIC_NAME)?, socket).await?;
        let request = format!(
            "GET /desktop/{}/stream HTTP/1.1\r\nHost: {PUBLIC_NAME}\r\nOrigin: https://{PUBLIC_NAME}\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: meridian.v1, meridian.ticket.{}\r\n\r\n",
            self.stand_in.session,
            self.stand_in.token()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut heard = Vec::with_capacity(2 * GREETING_BYTES);
        let end = loop {
            ensure!(stream.read_buf(&mut heard).await? > 0, "the relay closed: {}", heard.escape_ascii());
            if let Some(at) = heard.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        ensure!(heard.starts_with(b"HTTP/1.1 101"), "the relay refused: {}", heard.escape_ascii());
        stream.write_all(WORD).await?;
        while heard.len() < end + GREETING_BYTES + WORD.len() {
            ensure!(stream.read_buf(&mut heard).await? > 0, "the stream ended early");
        }
        Ok(stream)
    }
}

/// Runs a few futures at the same time.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in &mut futures {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *done = Some(value);
            }
        }
        let all = futures.iter().all(|(_, done)| done.is_some());
        if all { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    futures.into_iter().filter_map(|(_, done)| done).collect()
}
