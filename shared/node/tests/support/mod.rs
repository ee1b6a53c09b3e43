//! A control plane of a few pages for tests: it enrols, answers heartbeats, feeds watches, renews, and can be cut off.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use meridian_identity::{Authority, NodeKey, NodeName, NodeTls, web_name};
use meridian_ids::{DeploymentId, NodeId, SessionId, WatchId, ZoneId};
use meridian_model::{NodeRole, ZoneSettings};
use meridian_runtime::{Clock, Tasks};
use meridian_ticket::{KeySet, SigningKey};
use meridian_wire::{
    DesiredSession, EnrollRequest, EnrollResponse, Heartbeat, ImageOrders, ImageStanding, NodeSettings,
    ObservedSession, RenewRequest, RenewResponse, Revocation, Update, WEB_SERVER_NAME, node_paths,
    public_paths,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

pub(crate) const LIMIT: Duration = Duration::from_secs(30);

type Answer = Response<BoxBody<Bytes, Infallible>>;

pub(crate) struct Control {
    pub(crate) deployment: DeploymentId,
    pub(crate) zone: ZoneId,
    pub(crate) authority: Authority,
    pub(crate) signing: SigningKey,
    pub(crate) clock: Clock,
    /// Where nodes enrol.
    pub(crate) public: SocketAddr,
    pub(crate) node_listener: SocketAddr,
    state: Mutex<State>,
    version: watch::Sender<i64>,
    /// Bumped to break every connection.
    cut: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    tokens: HashMap<String, NodeRole>,
    refuse_enrolment: bool,
    epoch: i64,
    sessions: Vec<(i64, DesiredSession)>,
    revocations: Vec<Revocation>,
    watches_over: Vec<WatchId>,
    heartbeats: Vec<Heartbeat>,
    images: Option<ImageOrders>,
    images_told: usize,
    standings: Vec<ImageStanding>,
    home_storage: String,
    outage_grace_s: Option<u32>,
    renewals: usize,
    watches: usize,
    /// Connections of nodes that are open.
    open: usize,
    /// Connections that came during a cut.
    turned_away: usize,
}

impl Control {
    pub(crate) async fn start(tasks: &Tasks, clock: Clock) -> Arc<Self> {
        meridian_identity::install_crypto_provider();
        let deployment = DeploymentId::generate();
        let authority = Authority::generate(deployment, clock.now()).unwrap();
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nodes = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let control = Arc::new(Self {
            deployment,
            zone: ZoneId::generate(),
            authority,
            signing: SigningKey::generate().unwrap(),
            clock,
            public: public.local_addr().unwrap(),
            node_listener: nodes.local_addr().unwrap(),
            state: Mutex::new(State { epoch: 1, ..State::default() }),
            version: watch::Sender::new(1),
            cut: watch::Sender::new(false),
        });
        let tls = control.identity(web_name(NodeId::generate()), &[WEB_SERVER_NAME.to_owned()]);
        control.serve(tasks, public, None);
        control.serve(tasks, nodes, Some(TlsAcceptor::from(tls.server_config())));
        control
    }

    /// A node of this deployment, made without enrolment.
    pub(crate) fn identity(&self, name: NodeName, extra: &[String]) -> NodeTls {
        let key = NodeKey::generate().unwrap();
        let issued =
            self.authority.issue(&key.request_pem().unwrap(), &name, extra, self.clock.now()).unwrap();
        NodeTls::new(&key, &issued.certificate_pem, self.authority.certificate_pem()).unwrap()
    }

    pub(crate) fn token(&self, role: NodeRole) -> String {
        let token = meridian_runtime::random_token();
        self.lock().tokens.insert(token.clone(), role);
        token
    }

    /// Orders something of the one agent that there is, by its watch.
    pub(crate) fn order(&self, session: DesiredSession) {
        let version = *self.version.borrow() + 1;
        self.lock().sessions.push((version, session));
        self.version.send_replace(version);
    }

    pub(crate) fn revoke(&self, revocation: Revocation) {
        self.lock().revocations.push(revocation);
        self.version.send_modify(|version| *version += 1);
    }

    /// Somebody's looking on is over.
    pub(crate) fn end_watch(&self, watch: WatchId) {
        self.lock().watches_over.push(watch);
        self.version.send_modify(|version| *version += 1);
    }

    /// What the zone wants on its agents, from the next heartbeat on.
    pub(crate) fn want_images(&self, orders: ImageOrders) {
        self.lock().images = Some(orders);
    }

    /// What the agent said last of images.
    pub(crate) fn standings(&self) -> Vec<ImageStanding> {
        self.lock().standings.clone()
    }

    pub(crate) fn times_images_were_told(&self) -> usize {
        self.lock().images_told
    }

    /// Where the zone's agents are to reach its storage for homes.
    pub(crate) fn set_home_storage(&self, path: &str) {
        path.clone_into(&mut self.lock().home_storage);
        self.version.send_modify(|version| *version += 1);
    }

    /// How long the zone's agents take passes while nobody can be asked.
    pub(crate) fn set_outage_grace(&self, seconds: u32) {
        self.lock().outage_grace_s = Some(seconds);
        self.version.send_modify(|version| *version += 1);
    }

    pub(crate) fn raise_epoch(&self) {
        self.lock().epoch += 1;
        self.version.send_modify(|version| *version += 1);
    }

    /// Cuts nodes off, or lets them come back.
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }

    /// Connections of nodes that are open now.
    pub(crate) fn open(&self) -> usize {
        self.lock().open
    }

    pub(crate) fn turned_away(&self) -> usize {
        self.lock().turned_away
    }

    pub(crate) fn last_heartbeat(&self) -> Option<Heartbeat> {
        self.lock().heartbeats.last().cloned()
    }

    pub(crate) fn heartbeats(&self) -> usize {
        self.lock().heartbeats.len()
    }

    pub(crate) fn renewals(&self) -> usize {
        self.lock().renewals
    }

    pub(crate) fn watches(&self) -> usize {
        self.lock().watches
    }

    pub(crate) fn observed(&self, session: SessionId) -> Option<ObservedSession> {
        let report = self.last_heartbeat()?.agent?;
        report.sessions.into_iter().find(|observed| observed.session_id == session)
    }

    pub(crate) fn update(&self, since: i64) -> Update {
        let state = self.lock();
        let keys = serde_json::to_string(&KeySet { keys: vec![self.signing.public()] }).unwrap();
        Update {
            deployment_id: self.deployment,
            epoch: state.epoch,
            version: *self.version.borrow(),
            control_time: self.clock.now(),
            sessions: state
                .sessions
                .iter()
                .filter(|(version, _)| *version > since)
                .map(|(_, session)| session.clone())
                .collect(),
            settings: Some(NodeSettings {
                zone_id: Some(self.zone),
                zone_name: Some("test".into()),
                zone: Some(ZoneSettings {
                    home_storage: state.home_storage.clone(),
                    outage_grace_s: state
                        .outage_grace_s
                        .unwrap_or_else(|| ZoneSettings::default().outage_grace_s),
                    ..ZoneSettings::default()
                }),
                jwks: serde_json::value::RawValue::from_string(keys).unwrap(),
                revocations: state.revocations.clone(),
                watches_over: state.watches_over.clone(),
                agents: Vec::new(),
                ticket_keys: Vec::new(),
                draining: None,
                fleet: None,
            }),
            images: None,
            forget_homes: None,
        }
    }

    /// Notes what an agent says of images; what it is told, if it knows another version.
    fn take_images(&self, heartbeat: &Heartbeat) -> Option<ImageOrders> {
        let report = heartbeat.agent.as_ref()?;
        let mut state = self.lock();
        if let Some(standings) = &report.standings {
            state.standings.clone_from(standings);
        }
        let orders =
            state.images.clone().filter(|orders| report.images_version.as_ref() != Some(&orders.version))?;
        state.images_told += 1;
        Some(orders)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(self: &Arc<Self>, tasks: &Tasks, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let (control, connections) = (Arc::clone(self), tasks.clone());
        tasks.spawn_until_stop("control", async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (control, tls) = (Arc::clone(&control), tls.clone());
                if *control.cut.borrow() {
                    control.lock().turned_away += 1;
                    continue;
                }
                connections.spawn_until_stop("control connection", async move {
                    match tls {
                        Some(tls) => {
                            let Ok(socket) = tls.accept(socket).await else { return };
                            control.lock().open += 1;
                            Arc::clone(&control).serve_connection(socket).await;
                            control.lock().open -= 1;
                        }
                        None => control.serve_connection(socket).await,
                    }
                });
            }
        });
    }

    async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin>(self: Arc<Self>, socket: S) {
        let mut cut = self.cut.subscribe();
        let control = Arc::clone(&self);
        let service = service_fn(move |request| {
            let control = Arc::clone(&control);
            async move { Ok::<_, Infallible>(control.answer(request).await) }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        tokio::select! {
            _ = connection => {}
            _ = cut.wait_for(|cut| *cut) => {}
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (path, query) =
            (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
        if request.method() == Method::GET && path == node_paths::WATCH {
            self.lock().watches += 1;
            let since = query.strip_prefix("since=").and_then(|since| since.parse().ok()).unwrap_or(0);
            return self.watch(since);
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        match path.as_str() {
            public_paths::ENROLL => self.enrol(&serde_json::from_slice(&body).unwrap()),
            node_paths::HEARTBEAT => {
                let heartbeat: Heartbeat = serde_json::from_slice(&body).unwrap();
                let mut update = self.update(heartbeat.since);
                update.images = self.take_images(&heartbeat);
                self.lock().heartbeats.push(heartbeat);
                json(StatusCode::OK, &update)
            }
            node_paths::RENEW => {
                let request: RenewRequest = serde_json::from_slice(&body).unwrap();
                self.lock().renewals += 1;
                let name =
                    NodeName { node: NodeId::generate(), role: NodeRole::Agent, zone: Some(self.zone) };
                let issued = self.authority.issue(&request.csr_pem, &name, &[], self.clock.now()).unwrap();
                let ca_pem = self.authority.certificate_pem().to_owned();
                json(StatusCode::OK, &RenewResponse { certificate_pem: issued.certificate_pem, ca_pem })
            }
            _ => json(StatusCode::NOT_FOUND, &()),
        }
    }

    fn enrol(&self, request: &EnrollRequest) -> Answer {
        let Some(role) = self.lock().tokens.remove(&request.token) else {
            let refusal = serde_json::json!({"error": {"code": "token", "message": "The token was used up"}});
            return json(StatusCode::FORBIDDEN, &refusal);
        };
        let name = NodeName { node: NodeId::generate(), role, zone: Some(self.zone) };
        let issued = self.authority.issue(&request.csr_pem, &name, &[], self.clock.now()).unwrap();
        let response = EnrollResponse {
            node_id: name.node,
            role,
            zone_id: Some(self.zone),
            zone_name: Some("test".into()),
            deployment_id: self.deployment,
            certificate_pem: issued.certificate_pem,
            ca_pem: self.authority.certificate_pem().to_owned(),
            node_listener: self.node_listener.to_string(),
        };
        json(StatusCode::OK, &response)
    }

    fn watch(self: &Arc<Self>, since: i64) -> Answer {
        let (control, versions) = (Arc::clone(self), self.version.subscribe());
        let lines = futures_util::stream::unfold(
            (control, versions, since),
            |(control, mut versions, mut since)| async move {
                let changed = timeout(Duration::from_secs(2), versions.wait_for(|version| *version > since))
                    .await
                    .is_ok();
                let line = if changed {
                    let update = control.update(since);
                    since = update.version;
                    format!("{}\n", serde_json::to_string(&update).unwrap())
                } else {
                    "\n".into()
                };
                Some((Ok(Frame::data(Bytes::from(line))), (control, versions, since)))
            },
        );
        Response::new(BodyExt::boxed(StreamBody::new(Box::pin(lines) as Lines)))
    }
}

type Lines =
    std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync>>;

fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(serde_json::to_vec(body).unwrap())).boxed());
    *response.status_mut() = status;
    response
}

/// Waits until `look` finds something; `what` says in words what was waited for.
pub(crate) async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < LIMIT, "waited in vain for {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A connection to a node's listener, as `tls` says who is calling.
pub(crate) async fn dial(
    address: SocketAddr,
    name: &str,
    tls: &NodeTls,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(tls.client_config()).connect(name, socket).await
}
