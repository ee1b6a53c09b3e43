//! Starting a Web App node: database, keys, listeners, jobs.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use meridian_identity::{IdentityError, PublicCertificate};
use meridian_ids::NodeId;
use meridian_runtime::{Clock, Health, Tasks, VERSION, name_node, serve_ops};
use meridian_settings::WebSettings;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    api::{node_listener, public_router},
    app::{
        bus::Bus,
        identity::{Deployment, FoundingError},
        key_use::KeyUses,
        live::LiveStreams,
        own_certificate::OwnCertificate,
        passwords::{PasswordError, Passwords},
        push::Pusher,
    },
    bootstrap::{self, BootstrapError},
    entrance::Entrance,
    metrics::Metrics,
    state::{App, AppState, TrustedRange},
    store::{Database, Store, StoreError, nodes::WebNode},
    tasks,
};

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
            address: settings.node_address.as_ref().unwrap_or(&settings.node_advertise),
            public_address: settings.public_address.as_deref().unwrap_or_default(),
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
            leaving: AtomicBool::new(false),
            metrics: Metrics::default(),
            live: LiveStreams::default(),
            key_uses: KeyUses::default(),
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
        let public = Entrance {
            name: "public listener",
            listener,
            balancers: if state.settings.proxy_protocol { state.trusted.clone() } else { Vec::new() },
            tls: public_tls.map(TlsAcceptor::from),
            router: public_router(state.clone()),
        };
        let nodes = Entrance {
            name: "node listener",
            listener: node_listener,
            balancers: Vec::new(),
            tls: Some(TlsAcceptor::from(node_tls.server_config())),
            router: node_listener::node_router(state.clone()),
        };
        for entrance in [public, nodes] {
            entrance.accept(&tasks);
        }
        tracing::info!(%address, %node_address, "the Web App serves");
        Ok(Self { state, address, node_address })
    }
}

impl Web {
    /// Says that it is about to stop, and serves on while balancers learn of it and clients leave: whoever comes late is still answered,
    /// and told to come back on another connection.
    pub async fn drain(&self) {
        self.state.leaving.store(true, Ordering::Relaxed);
        self.state.health.degrade("stopping", "this node was told to stop");
        tokio::time::sleep(Duration::from_secs(self.state.settings.drain_wait_s)).await;
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
