//! Those who ask: connections that stay open, each with one call after another on it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use meridian_identity::NodeTls;
use meridian_runtime::Tasks;
use meridian_wire::WEB_SERVER_NAME;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// No interaction takes as long, among however many agents.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const MAX_ANSWER_BYTES: usize = 16 << 20;

pub(super) type Call = Request<Full<Bytes>>;

/// A call to the public listener, or to the listener of nodes.
pub(super) fn call(
    method: Method,
    path: &str,
    bearer: Option<&str>,
    body: Option<Vec<u8>>,
) -> anyhow::Result<Call> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "bench.meridian");
    if let Some(token) = bearer {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    Ok(request.body(Full::new(body.unwrap_or_default().into()))?)
}

/// One open connection to a Web App.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Plain, as behind a balancer; or, as a node, over mutual TLS.
    pub(super) async fn open(
        address: SocketAddr,
        node: Option<&NodeTls>,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let sender = match node {
            None => {
                let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
                tasks.spawn_until_stop("bench connection", async move { drop(connection.await) });
                sender
            }
            Some(node) => {
                let name = ServerName::try_from(WEB_SERVER_NAME)?;
                let stream = TlsConnector::from(node.client_config()).connect(name, socket).await?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tasks.spawn_until_stop("bench connection", async move { drop(connection.await) });
                sender
            }
        };
        Ok(Self { sender })
    }

    /// Asks, and reads the answer, which must be a success.
    pub(super) async fn ask(&mut self, call: Call) -> anyhow::Result<Bytes> {
        let asked = format!("{} {}", call.method(), call.uri());
        self.sender.ready().await?;
        let answered = async {
            let answer = self.sender.send_request(call).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
            ensure!(status.is_success(), "{asked}: {status} {}", String::from_utf8_lossy(&body));
            Ok(body)
        };
        timeout(ANSWER_LIMIT, answered).await.with_context(|| format!("{asked}: no answer came"))?
    }
}

/// What somebody asks.
pub(super) enum Calls {
    /// These in turn, for ever.
    Again { calls: Vec<Call>, next: usize },
    /// Each of these once.
    Once(VecDeque<Call>),
}

impl Calls {
    pub(super) fn again(calls: Vec<Call>) -> Self {
        Self::Again { calls, next: 0 }
    }

    fn next(&mut self) -> Option<Call> {
        match self {
            Self::Again { calls, next } => {
                let call = calls.get(*next % calls.len().max(1)).cloned();
                *next += 1;
                call
            }
            Self::Once(calls) => calls.pop_front(),
        }
    }
}

/// One who asks: a call after the answer to the one before.
pub(super) struct Client {
    pub(super) connection: Connection,
    pub(super) calls: Calls,
}

impl Client {
    /// The next answer; none when nothing is left to be asked.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        match self.calls.next() {
            Some(call) => self.connection.ask(call).await.map(Some),
            None => Ok(None),
        }
    }
}

/// What was answered.
pub(super) struct Heard {
    pub(super) answers: u64,
    pub(super) kept: Vec<Bytes>,
}

/// Everybody asks until the time is up, or has nothing left to ask. With `keep` the answers are kept.
pub(super) async fn drive(clients: &mut [Client], wanted: Duration, keep: bool) -> anyhow::Result<Heard> {
    let until = Instant::now() + wanted;
    let all = try_join_all(clients.iter_mut().map(|client| ask_until(client, until, keep))).await?;
    Ok(Heard {
        answers: all.iter().map(|heard| heard.answers).sum(),
        kept: all.into_iter().flat_map(|heard| heard.kept).collect(),
    })
}

async fn ask_until(client: &mut Client, until: Instant, keep: bool) -> anyhow::Result<Heard> {
    let mut heard = Heard { answers: 0, kept: Vec::new() };
    while Instant::now() < until
        && let Some(answer) = client.next().await?
    {
        heard.answers += 1;
        heard.kept.extend(keep.then_some(answer));
    }
    Ok(heard)
}
