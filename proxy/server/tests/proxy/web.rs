//! A stand-in for the Web App: enrolment, the heartbeat over mutual TLS, and `authorize` with the signed call verified.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use meridian_identity::{Authority, CallHeaders, NodeKey, NodeName, NodeTls, verify_call};
use meridian_ids::{DeploymentId, NodeId, ZoneId};
use meridian_model::{NodeRole, ZoneSettings};
use meridian_runtime::{Clock, Tasks};
use meridian_ticket::SigningKey;
use meridian_wire::{
    AuthorizeRequest, AuthorizeResponse, EnrollRequest, EnrollResponse, Heartbeat, NodeSettings, PeerAddress,
    Revocation, TicketKey, Update, WEB_SERVER_NAME, node_paths, public_paths,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What `authorize` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answering {
    Grant,
    /// Closes the first connection after reading the question.
    LoseFirst,
    TicketUsed,
    Unavailable,
    Never,
    OtherAgent,
}

pub(crate) struct Web {
    pub(crate) authority: Authority,
    pub(crate) deployment: DeploymentId,
    pub(crate) zone: ZoneId,
    pub(crate) signing: SigningKey,
    pub(crate) agent: NodeId,
    pub(crate) public: SocketAddr,
    pub(crate) nodes: SocketAddr,
    pub(crate) state: Mutex<State>,
    tasks: Tasks,
}

pub(crate) struct State {
    pub(crate) answering: Answering,
    /// The calls to `authorize` that were properly signed.
    pub(crate) asked: Vec<AuthorizeRequest>,
    pub(crate) zone: ZoneSettings,
    pub(crate) agents: Vec<PeerAddress>,
    pub(crate) revocations: Vec<Revocation>,
    pub(crate) ticket_keys: Vec<TicketKey>,
    pub(crate) draining: bool,
    pub(crate) speaks_of_draining: bool,
    /// The latest heartbeat.
    pub(crate) heartbeat: Option<Heartbeat>,
    node_point: Vec<u8>,
    version: i64,
}

impl Web {
    pub(crate) async fn start() -> Arc<Self> {
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nodes = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let deployment = DeploymentId::generate();
        let web = Arc::new(Self {
            authority: Authority::generate(deployment, Clock::system().now()).unwrap(),
            deployment,
            zone: ZoneId::generate(),
            signing: SigningKey::generate().unwrap(),
            agent: NodeId::generate(),
            public: public.local_addr().unwrap(),
            nodes: nodes.local_addr().unwrap(),
            state: Mutex::new(State {
                answering: Answering::Grant,
                asked: Vec::new(),
                zone: ZoneSettings::default(),
                agents: Vec::new(),
                revocations: Vec::new(),
                ticket_keys: Vec::new(),
                draining: false,
                speaks_of_draining: true,
                heartbeat: None,
                node_point: Vec::new(),
                version: 1,
            }),
            tasks: Tasks::new(),
        });
        web.clone().serve(public, None);
        let name = NodeName { node: NodeId::generate(), role: NodeRole::Web, zone: None };
        let tls = web.identity(&name, &[WEB_SERVER_NAME.to_owned()]).server_config();
        web.clone().serve(nodes, Some(TlsAcceptor::from(tls)));
        web
    }

    /// TLS of a node with a certificate of the deployment's authority.
    pub(crate) fn identity(&self, name: &NodeName, extra_names: &[String]) -> NodeTls {
        let key = NodeKey::generate().unwrap();
        let request = key.request_pem().unwrap();
        let issued = self.authority.issue(&request, name, extra_names, Clock::system().now()).unwrap();
        NodeTls::new(&key, &issued.certificate_pem, self.authority.certificate_pem()).unwrap()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state);
        state.version += 1;
    }

    pub(crate) fn asked(&self) -> Vec<AuthorizeRequest> {
        self.state.lock().unwrap().asked.clone()
    }

    fn serve(self: Arc<Self>, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let tasks = self.tasks.clone();
        tasks.clone().spawn("web", async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (web, tls) = (self.clone(), tls.clone());
                tasks.spawn("web connection", async move {
                    let service = service_fn(move |request| web.clone().answer(request));
                    let server = http1::Builder::new();
                    // A lost answer ends the connection with an error: that is what it is for.
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

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, LostAnswer> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| LostAnswer)?.to_bytes();
        match parts.uri.path() {
            public_paths::ENROLL => Ok(self.enroll(&body)),
            public_paths::AUTHORIZE => self.authorize(&parts, &body).await,
            node_paths::HEARTBEAT => {
                self.state.lock().unwrap().heartbeat = Some(serde_json::from_slice(&body).unwrap());
                Ok(self.update())
            }
            _ => Ok(status(StatusCode::NOT_FOUND, "{}".into())),
        }
    }

    fn enroll(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let request: EnrollRequest = serde_json::from_slice(body).unwrap();
        assert_eq!(request.token, "token");
        let name = NodeName { node: NodeId::generate(), role: NodeRole::Proxy, zone: Some(self.zone) };
        let issued = self.authority.issue(&request.csr_pem, &name, &[], Clock::system().now()).unwrap();
        self.state.lock().unwrap().node_point = issued.public_point;
        json(&EnrollResponse {
            node_id: name.node,
            role: name.role,
            zone_id: name.zone,
            zone_name: Some("london".into()),
            deployment_id: self.deployment,
            certificate_pem: issued.certificate_pem,
            ca_pem: self.authority.certificate_pem().to_owned(),
            node_listener: self.nodes.to_string(),
        })
    }

    fn update(&self) -> Response<Full<Bytes>> {
        let state = self.state.lock().unwrap();
        let jwks = serde_json::json!({"keys": [self.signing.public()]}).to_string();
        json(&Update {
            deployment_id: self.deployment,
            epoch: 1,
            version: state.version,
            control_time: Clock::system().now(),
            sessions: Vec::new(),
            settings: Some(NodeSettings {
                zone_id: Some(self.zone),
                zone_name: Some("london".into()),
                zone: Some(state.zone.clone()),
                jwks: serde_json::value::RawValue::from_string(jwks).unwrap(),
                revocations: state.revocations.clone(),
                watches_over: Vec::new(),
                agents: state.agents.clone(),
                ticket_keys: state.ticket_keys.clone(),
                draining: state.speaks_of_draining.then_some(state.draining),
                fleet: None,
            }),
            images: None,
            forget_homes: None,
        })
    }

    async fn authorize(
        &self,
        parts: &http::request::Parts,
        body: &[u8],
    ) -> Result<Response<Full<Bytes>>, LostAnswer> {
        let headers =
            CallHeaders::read(|name| parts.headers.get(name).and_then(|value| value.to_str().ok())).unwrap();
        let question: AuthorizeRequest = serde_json::from_slice(body).unwrap();
        let (answering, first) = {
            let mut state = self.state.lock().unwrap();
            let now = Clock::system().now();
            verify_call(&headers, &state.node_point, "POST", public_paths::AUTHORIZE, body, now).unwrap();
            state.asked.push(question);
            (state.answering, state.asked.len() == 1)
        };
        let grant = |agent_id| Ok(json(&AuthorizeResponse { grant: "the.stream.grant".into(), agent_id }));
        match answering {
            Answering::LoseFirst if first => Err(LostAnswer),
            Answering::Grant | Answering::LoseFirst => grant(self.agent),
            Answering::OtherAgent => grant(NodeId::generate()),
            Answering::TicketUsed => Ok(status(
                StatusCode::CONFLICT,
                r#"{"error":{"code":"ticket_used","message":"This ticket was used already.","hop":"web","hint":"Reload the page.","request_id":"x"}}"#.into(),
            )),
            Answering::Unavailable => Ok(status(
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"error":{"code":"database_away","message":"The database is away.","hop":"database","request_id":"x"}}"#.into(),
            )),
            Answering::Never => std::future::pending().await,
        }
    }
}

/// Ends the connection without an answer.
#[derive(Debug)]
pub(crate) struct LostAnswer;

impl std::fmt::Display for LostAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer is lost on purpose")
    }
}

impl std::error::Error for LostAnswer {}

impl From<Infallible> for LostAnswer {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

fn json(value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    status(StatusCode::OK, serde_json::to_string(value).unwrap())
}

fn status(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}
