//! Viewers: TLS connections that upgrade, give an order, and then stay.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use rustls::{
    CipherSuite, ClientConfig, HandshakeKind, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    order::{ORDER_BYTES, Order},
    stand_in::{GREETING_BYTES, StandIn},
};

/// Name in the certificate that relays show to viewers.
pub(crate) const PUBLIC_NAME: &str = "relay.bench.meridian";
const OPEN_LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);
/// Streams opened at once: a relay is measured, not a storm.
pub(crate) const AT_ONCE: usize = 8;

/// Opens streams through relays, and holds them.
pub(crate) struct Viewers {
    fresh: TlsConnector,
    remembering: TlsConnector,
    direct: TlsConnector,
    pub(crate) stand_in: Arc<StandIn>,
}

/// Which way a viewer goes.
#[derive(Clone, Copy)]
pub(crate) enum Road {
    Relay(SocketAddr),
    /// To the agent itself, with what a relay would show it.
    Direct,
}

/// How a viewer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coming {
    /// For the first time: a whole handshake, and a ticket.
    New,
    /// With the TLS session of an earlier visit, and a ticket.
    Again,
    /// With the TLS session of an earlier visit, and the pass of a stream whose path broke.
    Back,
}

/// An open stream, and whether its TLS session was resumed.
pub(crate) struct Opened {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) resumed: bool,
}

impl Viewers {
    pub(crate) fn new(roots: RootCertStore, stand_in: Arc<StandIn>) -> anyhow::Result<Self> {
        // As browsers offer them: AES-128 first.
        let mut provider = default_provider();
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let provider = Arc::new(provider);
        let client =
            || ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let remembering = client()?.with_root_certificates(roots).with_no_client_auth();
        let mut fresh = remembering.clone();
        fresh.resumption = Resumption::disabled();
        let identity = stand_in.relay_identity()?;
        let mut authority = RootCertStore::empty();
        authority.add(CertificateDer::from_pem_slice(identity.authority.as_bytes())?)?;
        let chain =
            CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
        let direct = client()?.with_root_certificates(authority).with_client_auth_cert(chain, key)?;
        let connector = |config| TlsConnector::from(Arc::new(config));
        Ok(Self {
            fresh: connector(fresh),
            remembering: connector(remembering),
            direct: connector(direct),
            stand_in,
        })
    }

    /// Opens `count` streams; each has carried bytes both ways when this returns.
    pub(crate) async fn open(
        &self,
        road: Road,
        count: usize,
        order: Order,
    ) -> anyhow::Result<Vec<TlsStream<TcpStream>>> {
        let mut streams = Vec::with_capacity(count);
        while streams.len() < count {
            let wave =
                (0..AT_ONCE.min(count - streams.len())).map(|_| self.open_one(road, Coming::New, order));
            streams.extend(try_join_all(wave).await?.into_iter().map(|opened| opened.stream));
        }
        Ok(streams)
    }

    /// Tries until a first stream opens: a relay may listen before it has all it needs.
    pub(crate) async fn wait_until_ready(&self, relay: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + OPEN_LIMIT;
        loop {
            match self.open_one(Road::Relay(relay), Coming::New, Order::Echo).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    pub(crate) async fn open_one(&self, road: Road, coming: Coming, order: Order) -> anyhow::Result<Opened> {
        let opening = self.try_open(road, coming, order);
        timeout(OPEN_LIMIT, opening).await.context("a stream was not open in time")?
    }

    async fn connect(&self, road: Road, coming: Coming) -> anyhow::Result<TlsStream<TcpStream>> {
        let (address, name, connector) = match (road, coming) {
            (Road::Direct, _) => {
                (self.stand_in.agent_address, self.stand_in.agent_name().to_string(), &self.direct)
            }
            (Road::Relay(relay), Coming::New) => (relay, PUBLIC_NAME.to_owned(), &self.fresh),
            (Road::Relay(relay), Coming::Again | Coming::Back) => {
                (relay, PUBLIC_NAME.to_owned(), &self.remembering)
            }
        };
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(connector.connect(ServerName::try_from(name)?, socket).await?)
    }

    fn request(&self, coming: Coming) -> String {
        let credential = match coming {
            Coming::New | Coming::Again => format!("meridian.ticket.{}", self.stand_in.token()),
            Coming::Back => format!("meridian.pass.{}", self.stand_in.pass()),
        };
        format!(
            "GET /desktop/{}/stream HTTP/1.1\r\nHost: {PUBLIC_NAME}\r\nOrigin: https://{PUBLIC_NAME}\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: meridian.v1, {credential}\r\n\r\n",
            self.stand_in.session,
        )
    }

    async fn try_open(&self, road: Road, coming: Coming, order: Order) -> anyhow::Result<Opened> {
        let mut stream = self.connect(road, coming).await?;
        stream.write_all(self.request(coming).as_bytes()).await?;
        let mut heard = Vec::with_capacity(2 * GREETING_BYTES);
        let end = loop {
            ensure!(stream.read_buf(&mut heard).await? > 0, "the relay closed: {}", heard.escape_ascii());
            if let Some(at) = heard.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        ensure!(heard.starts_with(b"HTTP/1.1 101"), "the relay refused: {}", heard.escape_ascii());
        let greeted = end + GREETING_BYTES;
        while heard.len() < greeted {
            ensure!(stream.read_buf(&mut heard).await? > 0, "the stream ended early");
        }
        ensure!(heard.len() == greeted, "the agent says more than it was asked for");
        stream.write_all(&order.word()).await?;
        // Exactly: what follows is measured.
        stream.read_exact(&mut [0; ORDER_BYTES]).await.context("the stream ended early")?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Opened { stream, resumed })
    }
}
