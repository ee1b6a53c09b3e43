//! A stand-in for an agent: mutual TLS, records the upgrade request to the letter, speaks first, then echoes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use meridian_identity::{NodeName, NodeTls};
use meridian_model::NodeRole;
use meridian_proxy_core::{accept_key, parse_request};
use meridian_runtime::Tasks;
use meridian_wire::agent_paths;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::web::Web;

/// What the agent says before it hears anything: as CHALLENGE does in `meridian.v1`.
pub(crate) const GREETING: &[u8] = b"agent speaks first;";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrading {
    Echo,
    Refuse,
    WrongAccept,
    Silent,
}

pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    pub(crate) heard: Mutex<Heard>,
    tasks: Tasks,
}

pub(crate) struct Heard {
    pub(crate) upgrading: Upgrading,
    /// Connections whose handshake succeeded.
    pub(crate) dialled: usize,
    pub(crate) open: usize,
    /// The heads of upgrade requests, as they came.
    pub(crate) requests: Vec<String>,
}

impl Agent {
    pub(crate) async fn start(web: &Web) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let name = NodeName { node: web.agent, role: NodeRole::Agent, zone: Some(web.zone) };
        let acceptor = TlsAcceptor::from(web.identity(&name, &[]).server_config());
        let heard = Heard { upgrading: Upgrading::Echo, dialled: 0, open: 0, requests: Vec::new() };
        let agent = Arc::new(Self { address, heard: Mutex::new(heard), tasks: Tasks::new() });
        let serving = agent.clone();
        agent.tasks.spawn("agent", async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (agent, acceptor) = (serving.clone(), acceptor.clone());
                serving.tasks.spawn("agent connection", async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        agent.hear(|heard| heard.open += 1);
                        agent.serve(stream).await;
                        agent.hear(|heard| heard.open -= 1);
                    }
                });
            }
        });
        agent
    }

    pub(crate) fn hear<T>(&self, change: impl FnOnce(&mut Heard) -> T) -> T {
        change(&mut self.heard.lock().unwrap())
    }

    async fn serve(&self, mut stream: TlsStream<TcpStream>) {
        let peer = NodeTls::peer(stream.get_ref().1.peer_certificates(), &[NodeRole::Proxy]);
        assert!(peer.is_some(), "only a proxy may ask");
        let upgrading = self.hear(|heard| {
            heard.dialled += 1;
            heard.upgrading
        });
        let mut bytes = Vec::new();
        let head = loop {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(head) = parse_request(&bytes).unwrap() {
                break head;
            }
        };
        let early = bytes.split_off(head.length);
        self.hear(|heard| heard.requests.push(String::from_utf8(bytes).unwrap()));
        if head.message.uri().path() == agent_paths::DRAIN {
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            return;
        }
        let header = |name| head.message.headers().get(name).unwrap().to_str().unwrap();
        let accept = match upgrading {
            Upgrading::Echo => accept_key(header("sec-websocket-key")),
            Upgrading::WrongAccept => accept_key("x"),
            Upgrading::Refuse => {
                let body = r#"{"error":{"code":"grant_used","message":"The grant was used already.","hop":"agent","request_id":"x"}}"#;
                let answer =
                    format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
                return;
            }
            Upgrading::Silent => {
                let _ = stream.read_to_end(&mut Vec::new()).await;
                return;
            }
        };
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
            header("sec-websocket-protocol")
        );
        let _ = stream.write_all(&[answer.as_bytes(), GREETING, &early].concat()).await;
        echo(stream).await;
    }
}

/// Echoes until the other side ends, then says so and ends too.
async fn echo(stream: TlsStream<TcpStream>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    if tokio::io::copy(&mut reader, &mut writer).await.is_ok() {
        let _ = writer.write_all(b";the end").await;
        let _ = writer.shutdown().await;
    }
}
