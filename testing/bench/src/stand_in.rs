//! Stand-ins for what a proxy speaks with: a Web App that grants whatever it is asked, and an agent that greets and echoes.
//!
//! Both speak as the real ones do (mutual TLS by Meridian's own authority, the node protocol), because what TLS and HTTP cost
//! is part of the measurement. Neither checks anything: that is measured elsewhere, and tested.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use meridian_identity::{Authority, NodeKey, NodeName, NodeTls};
use meridian_ids::{DeploymentId, NodeId, SessionId, StreamId, TicketId, UserId, ZoneId};
use meridian_model::{NodeRole, Policy, Transport, ZoneSettings};
use meridian_proxy_core::{accept_key, parse_request};
use meridian_runtime::{Clock, Tasks};
use meridian_ticket::{
    PASS_LIFETIME_S, Pass, SigningKey, TICKET_LIFETIME_S, Ticket, resume_audience, zone_audience,
};
use meridian_wire::{
    AuthorizeResponse, EnrollRequest, EnrollResponse, NodeSettings, PeerAddress, Update, WEB_SERVER_NAME,
    node_paths, public_paths,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{order::FarEnd, pacer::Pacer};

/// What an agent sends first: about what a desktop's first messages are, so that buffers on the way have been used.
pub(crate) const GREETING_BYTES: usize = 4096;

pub(crate) struct StandIn {
    authority: Authority,
    deployment: DeploymentId,
    zone: ZoneId,
    agent: NodeId,
    signing: SigningKey,
    pub(crate) clock: Clock,
    pub(crate) session: SessionId,
    /// Plain HTTP: enrolment and `authorize`.
    pub(crate) public: SocketAddr,
    nodes: SocketAddr,
    pub(crate) agent_address: SocketAddr,
    pub(crate) far_end: FarEnd,
}

/// Certificate, key and authority of a relay, as PEM.
pub(crate) struct RelayIdentity {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) authority: String,
}

impl StandIn {
    pub(crate) async fn start(tasks: &Tasks) -> anyhow::Result<Arc<Self>> {
        let [public, nodes, agents] = [bind().await?, bind().await?, bind().await?];
        let (deployment, clock) = (DeploymentId::generate(), Clock::system());
        let this = Arc::new(Self {
            authority: Authority::generate(deployment, clock.now())?,
            deployment,
            zone: ZoneId::generate(),
            agent: NodeId::generate(),
            signing: SigningKey::generate()?,
            clock,
            session: SessionId::generate(),
            public: public.local_addr()?,
            nodes: nodes.local_addr()?,
            agent_address: agents.local_addr()?,
            far_end: FarEnd { made: Instant::now(), pacer: Pacer::start(tasks) },
        });
        let web = NodeName { node: NodeId::generate(), role: NodeRole::Web, zone: None };
        let web = this.identity(&web, &[WEB_SERVER_NAME.to_owned()])?;
        let agent = this.identity(&this.agent_name(), &[])?;
        this.clone().serve_web(public, None, tasks);
        this.clone().serve_web(nodes, Some(TlsAcceptor::from(web.server_config())), tasks);
        this.clone().serve_agent(agents, TlsAcceptor::from(agent.server_config()), tasks);
        Ok(this)
    }

    pub(crate) fn agent_name(&self) -> NodeName {
        NodeName { node: self.agent, role: NodeRole::Agent, zone: Some(self.zone) }
    }

    /// A token for one more stream.
    pub(crate) fn token(&self) -> String {
        let now = self.clock.now().as_second();
        self.signing.sign_ticket(&Ticket {
            iss: self.deployment,
            aud: zone_audience(self.zone),
            sub: self.session,
            jti: TicketId::generate(),
            iat: now,
            exp: now + TICKET_LIFETIME_S,
            epoch: 1,
            generation: 1,
            agent: self.agent,
            user: UserId::generate(),
            transport: Transport::MeridianV1,
            jkt: None,
            watch: None,
        })
    }

    /// A pass, with which a viewer comes back without anyone being asked.
    pub(crate) fn pass(&self) -> String {
        let now = self.clock.now().as_second();
        self.signing.sign_pass(&Pass {
            iss: self.deployment,
            aud: resume_audience(self.zone),
            sub: self.session,
            stream: StreamId::generate(),
            iat: now,
            exp: now + PASS_LIFETIME_S,
            epoch: 1,
            generation: 1,
            agent: self.agent,
            user: UserId::generate(),
            // The thumbprint of a key: 32 bytes in base64url.
            jkt: "k".repeat(43),
            watch: None,
            policy: Policy::OWNER,
        })
    }

    /// What a peer shows to the agent, as a proxy would.
    pub(crate) fn relay_identity(&self) -> anyhow::Result<RelayIdentity> {
        let name = NodeName { node: NodeId::generate(), role: NodeRole::Proxy, zone: Some(self.zone) };
        let key = NodeKey::generate()?;
        let issued = self.authority.issue(&key.request_pem()?, &name, &[], self.clock.now())?;
        let authority = self.authority.certificate_pem().to_owned();
        Ok(RelayIdentity { certificate: issued.certificate_pem, key: key.to_pem(), authority })
    }

    fn identity(&self, name: &NodeName, extra_names: &[String]) -> anyhow::Result<NodeTls> {
        let key = NodeKey::generate()?;
        let issued = self.authority.issue(&key.request_pem()?, name, extra_names, self.clock.now())?;
        Ok(NodeTls::new(&key, &issued.certificate_pem, self.authority.certificate_pem())?)
    }

    fn serve_web(self: Arc<Self>, listener: TcpListener, tls: Option<TlsAcceptor>, tasks: &Tasks) {
        let connections = tasks.clone();
        tasks.spawn_until_stop("web", async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (web, tls) = (self.clone(), tls.clone());
                connections.spawn_until_stop("web connection", async move {
                    let service = service_fn(move |request| web.clone().answer(request));
                    let server = http1::Builder::new();
                    // A connection that breaks shows in the proxy's own behaviour.
                    let _ = match tls {
                        None => server.serve_connection(TokioIo::new(socket), service).await,
                        Some(tls) => match tls.accept(socket).await {
                            Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await,
                            Err(_) => return,
                        },
                    };
                });
            }
        });
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        let answer = match path.as_str() {
            public_paths::ENROLL => serde_json::to_vec(&self.enroll(&body)?)?,
            public_paths::AUTHORIZE => {
                let grant = self.token();
                serde_json::to_vec(&AuthorizeResponse { grant, agent_id: self.agent })?
            }
            node_paths::HEARTBEAT => serde_json::to_vec(&self.update()?)?,
            other => anyhow::bail!("{other} is not served"),
        };
        Ok(Response::new(Full::new(answer.into())))
    }

    fn enroll(&self, body: &[u8]) -> anyhow::Result<EnrollResponse> {
        let request: EnrollRequest = serde_json::from_slice(body)?;
        let name = NodeName { node: NodeId::generate(), role: NodeRole::Proxy, zone: Some(self.zone) };
        let issued = self.authority.issue(&request.csr_pem, &name, &[], self.clock.now())?;
        Ok(EnrollResponse {
            node_id: name.node,
            role: name.role,
            zone_id: name.zone,
            zone_name: Some("bench".into()),
            deployment_id: self.deployment,
            certificate_pem: issued.certificate_pem,
            ca_pem: self.authority.certificate_pem().to_owned(),
            node_listener: self.nodes.to_string(),
        })
    }

    fn update(&self) -> anyhow::Result<Update> {
        let jwks = serde_json::json!({"keys": [self.signing.public()]}).to_string();
        Ok(Update {
            deployment_id: self.deployment,
            epoch: 1,
            version: 1,
            control_time: self.clock.now(),
            sessions: Vec::new(),
            settings: Some(NodeSettings {
                zone_id: Some(self.zone),
                zone_name: Some("bench".into()),
                zone: Some(ZoneSettings::default()),
                jwks: serde_json::value::RawValue::from_string(jwks)?,
                revocations: Vec::new(),
                watches_over: Vec::new(),
                agents: vec![PeerAddress { node_id: self.agent, address: self.agent_address.to_string() }],
                ticket_keys: Vec::new(),
                draining: None,
                fleet: None,
            }),
            images: None,
            forget_homes: None,
        })
    }

    fn serve_agent(self: Arc<Self>, listener: TcpListener, acceptor: TlsAcceptor, tasks: &Tasks) {
        let connections = tasks.clone();
        tasks.spawn_until_stop("agent", async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, agent) = (acceptor.clone(), self.clone());
                connections.spawn_until_stop("agent connection", async move {
                    // Frames must not wait for the acknowledgement of those before.
                    if socket.set_nodelay(true).is_ok()
                        && let Ok(stream) = acceptor.accept(socket).await
                    {
                        // A stream that breaks shows at the viewer.
                        let _ = agent.serve_stream(stream).await;
                    }
                });
            }
        });
    }

    async fn serve_stream(&self, mut stream: TlsStream<TcpStream>) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        let head = loop {
            anyhow::ensure!(stream.read_buf(&mut bytes).await? > 0, "the relay left");
            let parsed = parse_request(&bytes);
            if let Some(head) = parsed? {
                break head.message;
            }
        };
        let key = head.headers().get("sec-websocket-key").context("there is no key")?.to_str()?;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: meridian.v1\r\n\r\n",
            accept_key(key)
        );
        stream.write_all(&[answer.as_bytes(), &[b'g'; GREETING_BYTES]].concat()).await?;
        drop((bytes, head));
        self.far_end.serve(stream).await
    }
}

async fn bind() -> anyhow::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await.context("no port is free on loopback")
}
