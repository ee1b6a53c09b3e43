//! HTTP/1.1 over mutual TLS to the Web App's node listener, directly or through the zone's private balancer.
//!
//! A link keeps one connection while it works and dials a new one when it does not. Every wait has a limit, and no answer is read
//! beyond its bound.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use meridian_identity::NodeTls;
use meridian_wire::{WEB_SERVER_NAME, WireError};
use rustls::pki_types::ServerName;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tokio_rustls::TlsConnector;

const DIAL_LIMIT: Duration = Duration::from_secs(5);
/// From the request to the head of the answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// A full resynchronisation of an agent with hundreds of sessions stays far below this.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Why the Web App's node listener could not be spoken with.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot reach the Web App's node listener at {address}")]
    Dial {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the Web App's node listener at {address} did not answer within {} seconds", limit.as_secs())]
    Silent { address: String, limit: Duration },
    #[error("the connection to the Web App's node listener broke")]
    Http(#[source] hyper::Error),
    #[error("the Web App refused: {message} (HTTP status {status})")]
    Refused { status: StatusCode, message: String },
    #[error("the Web App's answer is not understood")]
    Answer,
}

/// One connection at a time. Not shared: a second use is a second link.
pub(crate) struct Link {
    address: String,
    tls: NodeTls,
    open: Option<Open>,
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    pub(crate) fn new(address: String, tls: NodeTls) -> Self {
        Self { address, tls, open: None }
    }

    /// Posts `body` and reads the whole answer.
    pub(crate) async fn post<B: Serialize, A: DeserializeOwned>(
        &mut self,
        path: &'static str,
        body: &B,
    ) -> Result<A, LinkError> {
        let body = serde_json::to_vec(body).map_err(|_| LinkError::Answer)?;
        let request = request(Method::POST, path, body)?;
        let response = self.send(request).await?;
        let read = timeout(ANSWER_LIMIT, read_all(response.into_body())).await;
        match read {
            Ok(Ok(bytes)) => serde_json::from_slice(&bytes).map_err(|_| LinkError::Answer),
            Ok(Err(error)) => {
                self.open = None;
                Err(error)
            }
            Err(_) => Err(self.silent(ANSWER_LIMIT)),
        }
    }

    /// Opens a body without an end; the link must live as long as it is read.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Incoming, LinkError> {
        let request = request(Method::GET, path, Vec::new())?;
        Ok(self.send(request).await?.into_body())
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, LinkError> {
        // A connection that the other side closed while idle is replaced before use rather than after a failure.
        let mut open = match self.open.take().filter(|open| !open.sender.is_closed()) {
            Some(open) => open,
            None => self.dial().await?,
        };
        let answered = timeout(ANSWER_LIMIT, async {
            open.sender.ready().await?;
            open.sender.send_request(request).await
        })
        .await;
        let response = match answered {
            Ok(response) => response.map_err(LinkError::Http)?,
            Err(_) => return Err(self.silent(ANSWER_LIMIT)),
        };
        if response.status().is_success() {
            self.open = Some(open);
            return Ok(response);
        }
        Err(refusal(response).await)
    }

    fn silent(&mut self, limit: Duration) -> LinkError {
        self.open = None;
        LinkError::Silent { address: self.address.clone(), limit }
    }

    async fn dial(&self) -> Result<Open, LinkError> {
        let dialled = timeout(DIAL_LIMIT, async {
            let socket = TcpStream::connect(&self.address).await?;
            socket.set_nodelay(true)?;
            let name = ServerName::try_from(WEB_SERVER_NAME).expect("the name is a DNS name");
            TlsConnector::from(self.tls.client_config()).connect(name, socket).await
        })
        .await;
        let stream = match dialled {
            Ok(connected) => {
                connected.map_err(|source| LinkError::Dial { address: self.address.clone(), source })?
            }
            Err(_) => return Err(LinkError::Silent { address: self.address.clone(), limit: DIAL_LIMIT }),
        };
        let (sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(LinkError::Http)?;
        #[expect(clippy::disallowed_methods, reason = "the driver is owned by the link and aborted with it")]
        let driver = tokio::spawn(async move {
            // How it ended is seen by whoever uses the sender.
            let _ = connection.await;
        });
        Ok(Open { sender, driver })
    }
}

fn request(method: Method, path: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>, LinkError> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, WEB_SERVER_NAME)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| LinkError::Answer)
}

async fn read_all(body: Incoming) -> Result<Bytes, LinkError> {
    let read = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|_| LinkError::Answer)?;
    Ok(read.to_bytes())
}

async fn refusal(response: Response<Incoming>) -> LinkError {
    let status = response.status();
    let body = timeout(ANSWER_LIMIT, read_all(response.into_body())).await;
    let message = match body {
        Ok(Ok(bytes)) => serde_json::from_slice::<WireError>(&bytes).ok().map(|error| error.error.message),
        Ok(Err(_)) | Err(_) => None,
    };
    LinkError::Refused { status, message: message.unwrap_or_else(|| "no reason given".into()) }
}
