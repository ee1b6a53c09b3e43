//! Starting a Web App node: database, keys, listeners, jobs.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use meridian_identity::{IdentityError, NodeTls, PublicCertificate};
use meridian_ids::NodeId;
use meridian_model::NodeRole;
use meridian_runtime::{Clock, Health, Tasks, VERSION, name_node, serve_ops};
use meridian_settings::WebSettings;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    api::{node_listener, public_router},
    app::{
        bus::Bus,
        identity::{Deployment, FoundingError},
        live::LiveStreams,
        own_certificate::OwnCertificate,
        passwords::{PasswordError, Passwords},
        push::Pusher,
    },
    bootstrap::{self, BootstrapError},
    metrics::Metrics,
    state::{App, AppState, TrustedRange},
    store::{Database, Store, StoreError, nodes::WebNode},
    tasks,
};

/// Connections at once, to each listener.
const MAX_CONNECTIONS: usize = 8192;
/// How long a client may take over a request's head.
const HEAD_WAIT: Duration = Duration::from_secs(10);
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Hashing at once: each takes 19 MiB and a core.
const HASHES_AT_ONCE: usize = 4;

/// The node could not start.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Founding(#[from] FoundingError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error("cannot read or write {path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error("give both tls_certificate_file and tls_key_file, or neither")]
    HalfTls,
    #[error("trusted_proxies: {0} is no address and no range")]
    Trusted(String),
}

/// A running Web App node.
pub struct Web {
    pub state: AppState,
    /// Where browsers come in.
    pub address: SocketAddr,
    /// Where nodes come in.
    pub node_address: SocketAddr,
}

impl Web {
    /// Starts a node on a database that may still be empty.
    ///
    /// # Errors
    /// As [`WebError`] says; nothing keeps running then but what `tasks` stops.
    pub async fn start(
        mut settings: WebSettings,
        database: impl Into<Database>,
        clock: Clock,
        tasks: Tasks,
        health: Health,
    ) -> Result<Self, WebError> {
        fs::create_dir_all(&settings.data)
            .map_err(|source| WebError::File { path: settings.data.display().to_string(), source })?;
        let listener = listen(settings.listen).await?;
        let node_listener = listen(settings.node_listen).await?;
        let (address, node_address) =
            (local(&listener, settings.listen)?, local(&node_listener, settings.node_listen)?);
        if settings.node_advertise.is_empty() {
            settings.node_advertise = node_address.to_string();
        }
        let store = Store::new(
            database,
            settings.database_connections,
            Duration::from_secs(settings.database_wait_s),
        )?;
        store.prepare(&tasks).await?;
        store.learn_time(&clock).await?;
        let master_key_file =
            settings.master_key_file.clone().unwrap_or_else(|| settings.data.join("master.key"));
        let deployment = Deployment::open(&store, &master_key_file, &clock).await?;
        let node = web_node_id(&settings.data.join("web-node-id"))?;
        name_node("", node);
        let own = OwnCertificate::issue(&deployment.authority, node, clock.control_now())?;
        let written = WebNode {
            id: node,
            name: &settings.name,
            address: &settings.node_advertise,
            version: VERSION,
            public_point: own.public_point(),
        };
        store.register_web_node(&written).await?;
        let node_tls = own.tls();
        let public_tls = match (&settings.tls_certificate_file, &settings.tls_key_file) {
            (Some(certificate), Some(key)) => Some(PublicCertificate::serve(certificate, key, &tasks)?),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(WebError::HalfTls),
        };
        let trusted = settings
            .trusted_proxies
            .iter()
            .map(|text| TrustedRange::parse(text).ok_or_else(|| WebError::Trusted(text.clone())))
            .collect::<Result<_, _>>()?;
        let state: AppState = Arc::new(App {
            trusted,
            deployment,
            passwords: Passwords::new(HASHES_AT_ONCE)?,
            bus: Bus::start(store.database().clone(), &tasks),
            store,
            clock,
            tasks: tasks.clone(),
            health,
            metrics: Metrics::default(),
            live: LiveStreams::default(),
            pusher: Pusher::new(node_tls.clone(), tasks.clone()),
            nodes: tokio::sync::RwLock::default(),
            settings,
        });
        if let Some(furnish) = &state.settings.furnish {
            bootstrap::furnish(&state, furnish).await?;
            bootstrap::keep_certificate(&state);
        }
        tasks::start(&state, node);
        own.keep(&state);
        if let Some(address) = state.settings.ops_listen {
            let metrics = Arc::new(state.metrics.register());
            serve_ops(&tasks, listen(address).await?, state.health.clone(), metrics);
        }
        accept(
            &tasks,
            "public listener",
            listener,
            public_tls.map(TlsAcceptor::from),
            public_router(state.clone()),
        );
        accept(
            &tasks,
            "node listener",
            node_listener,
            Some(TlsAcceptor::from(node_tls.server_config())),
            node_listener::node_router(state.clone()),
        );
        tracing::info!(%address, %node_address, "the Web App serves");
        Ok(Self { state, address, node_address })
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, WebError> {
    TcpListener::bind(address).await.map_err(|source| WebError::Listen { address, source })
}

fn local(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, WebError> {
    listener.local_addr().map_err(|source| WebError::Listen { address, source })
}

/// The node's id outlives its restarts.
fn web_node_id(path: &PathBuf) -> Result<NodeId, WebError> {
    let error = |source| WebError::File { path: path.display().to_string(), source };
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|_| error(std::io::Error::other("it holds no node id"))),
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => {
            let id = NodeId::generate();
            // Whole or not at all: half an id would keep the node from ever starting again.
            let temporary = path.with_extension("new");
            fs::write(&temporary, id.to_string())
                .and_then(|()| fs::rename(&temporary, path))
                .map_err(error)?;
            Ok(id)
        }
        Err(other) => Err(error(other)),
    }
}

/// Accepts until the tasks stop; then connections finish what they are doing.
fn accept(
    tasks: &Tasks,
    name: &'static str,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
) {
    let (stop, shared) = (tasks.stopping(), tasks.clone());
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tasks.spawn(name, async move {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: waiting a little is all that helps.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                tracing::warn!(%peer, "a connection was refused: there are {MAX_CONNECTIONS} already");
                continue;
            };
            let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
            shared.spawn("connection", async move {
                let _place = place;
                let _ = socket.set_nodelay(true);
                match tls {
                    None => serve(socket, peer, router, None, stop).await,
                    Some(acceptor) => serve_tls(socket, peer, router, acceptor, stop).await,
                }
            });
        }
    });
}

async fn serve_tls(
    socket: TcpStream,
    peer: SocketAddr,
    router: Router,
    acceptor: TlsAcceptor,
    stop: CancellationToken,
) {
    let Ok(Ok(stream)) = tokio::time::timeout(node_listener::HANDSHAKE_WAIT, acceptor.accept(socket)).await
    else {
        tracing::debug!(%peer, "a TLS handshake failed or took too long");
        return;
    };
    let node = NodeTls::peer(stream.get_ref().1.peer_certificates(), &NodeRole::ALL).map(Arc::new);
    serve(stream, peer, router, node, stop).await;
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    node: Option<Arc<meridian_identity::Peer>>,
    stop: CancellationToken,
) {
    let mut router = router.layer(Extension(ConnectInfo(peer)));
    if let Some(node) = node {
        router = router.layer(Extension(node));
    }
    let service =
        hyper::service::service_fn(move |request: Request<Incoming>| router.clone().oneshot(request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT).max_buf_size(MAX_HEAD_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        // A client that went away is not an error.
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
