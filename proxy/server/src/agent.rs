//! The proxy's side towards an agent: dial, mutual TLS, its own upgrade request. In an agent's own process there is nothing to dial: a
//! connection is handed to the agent next door, and all else is the same.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Response, header};
use meridian_ids::NodeId;
use meridian_proxy_core::{Authorized, Connected, Passed, Refusal, UpstreamKey, parse_response};
use meridian_runtime::{random_bytes, tune};
use meridian_wire::agent_paths;
use rustls::{ClientConfig, client::UnbufferedClientConnection, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

use crate::{quiet_tls::QuietTls, zone::ZoneView};

/// What may wait between the entrance and the agent in one process, per direction.
const DOOR_BYTES: usize = 32 * 1024;
/// An agent's answer is a few headers; its refusals a short envelope.
const MAX_ANSWER_BYTES: usize = 8 * 1024;
const PIECE_BYTES: usize = 1024;

/// The proxy's end of a connection to an agent.
pub(crate) enum AgentStream {
    Dialled(Box<QuietTls<UnbufferedClientConnection>>),
    Own(DuplexStream),
}

/// How agents are reached.
pub(crate) enum Way {
    /// Over the network, with mutual TLS.
    Network(Arc<ClientConfig>),
    /// This process is the agent, and takes what is sent here.
    Own { agent: NodeId, door: mpsc::Sender<DuplexStream> },
}

/// Reaches agents.
pub(crate) struct Dialler {
    pub(crate) way: Way,
    /// Limit of dial and handshake together, and of the answer to the upgrade.
    pub(crate) wait: Duration,
}

/// A stream to an agent, upgraded, and what it said already.
pub(crate) struct Upstream {
    pub(crate) connected: Connected,
    pub(crate) stream: AgentStream,
    pub(crate) early: Vec<u8>,
}

impl Dialler {
    /// Reaches an agent of the zone, and nobody else in its place.
    pub(crate) async fn reach(&self, zone: &ZoneView, agent: NodeId) -> Result<AgentStream, Refusal> {
        match &self.way {
            Way::Network(tls) => {
                let address = zone.agent_address(agent).ok_or(Refusal::AgentUnknown)?;
                self.dial(tls, address, &zone.agent_name(agent)).await
            }
            Way::Own { agent: own, door } => {
                if *own != agent {
                    return Err(Refusal::AgentUnknown);
                }
                let (near, far) = duplex(DOOR_BYTES);
                match timeout(self.wait, door.send(far)).await {
                    Ok(Ok(())) => Ok(AgentStream::Own(near)),
                    Ok(Err(_)) => Err(Refusal::Stopping),
                    Err(_) => Err(Refusal::AgentSilent),
                }
            }
        }
    }

    async fn dial(&self, tls: &Arc<ClientConfig>, address: &str, name: &str) -> Result<AgentStream, Refusal> {
        let server_name =
            ServerName::try_from(name.to_owned()).map_err(|_| Refusal::AgentAnswer("it has no name"))?;
        let dialling = async {
            let socket = TcpStream::connect(address).await?;
            tune(&socket)?;
            let session =
                UnbufferedClientConnection::new(tls.clone(), server_name).map_err(io::Error::other)?;
            QuietTls::handshake(socket, session).await
        };
        match timeout(self.wait, Box::pin(dialling)).await {
            Ok(Ok(stream)) => Ok(AgentStream::Dialled(Box::new(stream))),
            Ok(Err(error)) => {
                tracing::warn!(hop = "agent", address, name, %error, "the agent could not be reached");
                Err(Refusal::AgentUnreachable)
            }
            Err(_) => Err(Refusal::AgentSilent),
        }
    }

    /// Tells an agent that this proxy stops soon, so that its viewers move first.
    pub(crate) async fn say_goodbye(&self, zone: &ZoneView, agent: NodeId) -> Result<(), Refusal> {
        let mut stream = self.reach(zone, agent).await?;
        let name = zone.agent_name(agent);
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {name}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            agent_paths::DRAIN
        );
        let telling = async {
            stream.write_all(request.as_bytes()).await.map_err(|_| Refusal::AgentUnreachable)?;
            stream.flush().await.map_err(|_| Refusal::AgentUnreachable)?;
            let mut bytes = Vec::with_capacity(PIECE_BYTES);
            loop {
                if let Some(head) = parse_response(&bytes)? {
                    return if head.message.status().is_success() {
                        Ok(())
                    } else {
                        Err(Refusal::AgentAnswer("it does not take a goodbye"))
                    };
                }
                if bytes.len() >= MAX_ANSWER_BYTES || stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return Err(Refusal::AgentAnswer("it did not answer a goodbye"));
                }
            }
        };
        timeout(self.wait, telling).await.map_err(|_| Refusal::AgentSilent)?
    }

    /// Asks for the session's stream and takes the answer.
    pub(crate) async fn upgrade(
        &self,
        authorized: Authorized,
        mut stream: AgentStream,
        name: &str,
    ) -> Result<Upstream, Refusal> {
        let key = UpstreamKey::new(random_bytes());
        let request = authorized.upstream_request(name, &key);
        let asking = async {
            stream.write_all(&request).await.map_err(|_| Refusal::AgentUnreachable)?;
            stream.flush().await.map_err(|_| Refusal::AgentUnreachable)?;
            read_answer(&mut stream).await
        };
        let (answer, early) = timeout(self.wait, asking).await.map_err(|_| Refusal::AgentSilent)??;
        let connected = authorized.connect(&answer, &key)?;
        Ok(Upstream { connected, stream, early })
    }
}

impl AsyncRead for AgentStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Dialled(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Own(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for AgentStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Dialled(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Own(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Dialled(stream) => Pin::new(stream).poll_flush(cx),
            Self::Own(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Dialled(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Own(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The head of an answer that upgrades, and the bytes after it. Any other answer is read to its end and is a refusal.
async fn read_answer(stream: &mut AgentStream) -> Result<(Response<()>, Vec<u8>), Refusal> {
    let mut bytes = Vec::with_capacity(PIECE_BYTES);
    loop {
        if let Some(head) = parse_response(&bytes)? {
            let rest = bytes.split_off(head.length);
            if head.message.status().is_informational() {
                return Ok((head.message, rest));
            }
            return Err(refused(&head.message, rest, stream).await);
        }
        if bytes.len() >= MAX_ANSWER_BYTES {
            return Err(Refusal::AgentAnswer("its answer is too long"));
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return Err(Refusal::AgentAnswer("it closed the connection without an answer"));
        }
    }
}

async fn refused(answer: &Response<()>, mut body: Vec<u8>, stream: &mut AgentStream) -> Refusal {
    let length = answer.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<usize>().ok());
    let length = length.unwrap_or(MAX_ANSWER_BYTES).min(MAX_ANSWER_BYTES);
    while body.len() < length && stream.read_buf(&mut body).await.unwrap_or(0) > 0 {}
    let status = answer.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Refusal::AgentAnswer("it did not upgrade the connection");
    }
    let fallback = ("agent_refused", "The machine that runs this session refused the stream.");
    Refusal::AgentRefused(Passed::read(status, &body, fallback))
}
