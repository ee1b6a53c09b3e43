//! A whole Web App on a real database, clients for it, and agents that only report.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod hello;
pub mod homes;
pub mod joined;
pub mod moves;
pub mod people;
pub mod world;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use meridian_control::{
    Web,
    store::{Database, MIGRATIONS_KEY, Store},
};
use meridian_harness::TestDatabase;
use meridian_identity::{NodeKey, NodeName, sign_call};
use meridian_ids::{HomeId, NodeId, SessionId, WatchId};
use meridian_model::{NodeRole, Resources, ZoneSettings};
use meridian_runtime::{Clock, Health, Tasks};
use meridian_settings::{FurnishEnrollment, FurnishSettings, FurnishZone, WebSettings};
use meridian_wire::{
    AgentReport, AuthorizeRequest, DiskReport, EnrollRequest, EnrollResponse, FrozenSession, Heartbeat,
    ImageReport, ImageStanding, Observation, ObservedSession, WatchEnd, public_paths,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const PASSWORD: &str = "a long enough password";

/// A Web App that serves, with two zones and the first administrator.
pub struct Site {
    pub web: Web,
    pub tasks: Tasks,
    pub folder: TempDir,
    pub database: TestDatabase,
}

impl Site {
    pub async fn start() -> Result<Self> {
        let database = database().await?;
        let config = database.config();
        Self::start_on(database, config, TempDir::new()?).await
    }

    /// On a database reached through `config`: a proxy in front of it, perhaps.
    pub async fn start_on(
        database: TestDatabase,
        config: impl Into<Database>,
        folder: TempDir,
    ) -> Result<Self> {
        meridian_identity::install_crypto_provider();
        let settings = first_settings(folder.path())?;
        let tasks = Tasks::new();
        let web = Web::start(settings, config, Clock::system(), tasks.clone(), Health::default()).await?;
        Ok(Self { web, tasks, folder, database })
    }

    /// Stops the Web App and starts another on the same database and files.
    pub async fn restart(self) -> Result<Self> {
        self.tasks.stop(Duration::from_secs(10)).await;
        let config = self.database.config();
        Self::start_on(self.database, config, self.folder).await
    }

    /// Starts another Web App node on the same deployment: it has the database and the master key, and nothing else.
    pub async fn another(&self, name: &str) -> Result<Another> {
        let settings = web_settings(self.folder.path(), name)?;
        Another::start(settings, self.database.config()).await
    }

    pub fn store(&self) -> &Store {
        &self.web.state.store
    }

    /// A connection to the database itself, for what only time or another program would do.
    pub async fn sql(&self) -> Result<tokio_postgres::Client> {
        let (client, connection) = self.database.superuser_config().connect(tokio_postgres::NoTls).await?;
        self.tasks.spawn("test connection", async move { drop(connection.await) });
        Ok(client)
    }

    pub fn anonymous(&self) -> Client {
        Client::of(&self.web)
    }

    pub async fn admin(&self) -> Result<Client> {
        self.anonymous().sign_in("admin", PASSWORD).await
    }

    /// A new ordinary user, signed in.
    pub async fn user(&self, name: &str) -> Result<Client> {
        let body = json!({"username": name, "password": PASSWORD});
        let made = self.admin().await?.send(Method::POST, "/api/v1/users", Some(body)).await?;
        ensure!(made.0 == StatusCode::CREATED, "{made:?}");
        self.anonymous().sign_in(name, PASSWORD).await
    }

    /// A file with a token for a node that joins.
    pub async fn token(&self, role: NodeRole, zone: &str) -> Result<PathBuf> {
        let body = json!({"role": role, "zone": zone});
        let (status, made) =
            self.admin().await?.send(Method::POST, "/api/v1/nodes/enrollments", Some(body)).await?;
        ensure!(status == StatusCode::CREATED, "{made}");
        let file = self.folder.path().join(meridian_runtime::random_token());
        std::fs::write(&file, made["token"].as_str().unwrap_or_default())?;
        Ok(file)
    }

    /// An agent of a zone, enrolled, that has `cores` and every shipped image and has just reported.
    pub async fn agent(&self, zone: &str, cores: i64) -> Result<FakeAgent> {
        let admin = self.admin().await?;
        let body = json!({"role": "agent", "zone": zone});
        let (status, made) = admin.send(Method::POST, "/api/v1/nodes/enrollments", Some(body)).await?;
        ensure!(status == StatusCode::CREATED, "{made}");
        let token = made["token"].as_str().unwrap_or_default().to_owned();
        let node = enroll(&self.anonymous(), token, &format!("agent-{zone}")).await?.node_id;
        let agent = FakeAgent::of(node, self.store(), cores);
        agent.report(Vec::new()).await?;
        Ok(agent)
    }

    /// Id of a shipped workspace.
    pub async fn workspace(&self, client: &Client, name: &str) -> Result<String> {
        let (_, list) = client.send(Method::GET, "/api/v1/workspaces", None).await?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let found = items.iter().find(|item| item["name"] == name).and_then(|item| item["id"].as_str());
        found.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("no workspace {name} in {list}"))
    }
}

/// Settings of the node that furnishes a new deployment.
pub fn first_settings(folder: &Path) -> Result<WebSettings> {
    let password_file = folder.join("password");
    std::fs::write(&password_file, PASSWORD)?;
    let zone = |name: &str| FurnishZone {
        name: name.into(),
        settings: ZoneSettings { proxy_path: format!("desktop-{name}"), ..ZoneSettings::default() },
    };
    let enroll = |role: NodeRole, zone: &str| FurnishEnrollment {
        role,
        zone: zone.into(),
        token_file: folder.join(format!("{role}-{zone}.token")),
    };
    let furnish = FurnishSettings {
        admin_password_file: Some(password_file),
        admin_made_file: None,
        zones: vec![zone("london"), zone("virginia")],
        enrollments: vec![
            enroll(NodeRole::Agent, "london"),
            enroll(NodeRole::Agent, "virginia"),
            enroll(NodeRole::Proxy, "london"),
            enroll(NodeRole::Proxy, "virginia"),
        ],
        certificate: None,
    };
    Ok(WebSettings { furnish: Some(furnish), ..web_settings(folder, "web-1")? })
}

/// Settings of any node: all of them have the deployment's master key.
pub fn web_settings(folder: &Path, name: &str) -> Result<WebSettings> {
    Ok(WebSettings {
        name: name.into(),
        data: folder.join(name),
        listen: "127.0.0.1:0".parse()?,
        node_listen: "127.0.0.1:0".parse()?,
        node_advertise: String::new(),
        node_address: None,
        public_address: None,
        zone: None,
        public_url: "http://127.0.0.1".into(),
        database_url: None,
        database_url_file: None,
        master_key_file: Some(folder.join("master.key")),
        tls_certificate_file: None,
        tls_key_file: None,
        trusted_proxies: vec!["127.0.0.1".into()],
        proxy_protocol: false,
        ops_listen: None,
        database_connections: 16,
        drain_wait_s: 0,
        database_wait_s: 5,
        request_wait_s: 30,
        max_body_bytes: 64 * 1024,
        retention: meridian_settings::RetentionSettings::default(),
        furnish: None,
    })
}

/// A migrated database of this test alone.
pub async fn database() -> Result<TestDatabase> {
    TestDatabase::new(MIGRATIONS_KEY, |config| async move {
        let tasks = Tasks::new();
        Store::new(config, 1, Duration::from_secs(60))?.prepare(&tasks).await?;
        Ok(())
    })
    .await
}

pub async fn enroll(client: &Client, token: String, name: &str) -> Result<EnrollResponse> {
    let request = EnrollRequest {
        token,
        name: name.into(),
        csr_pem: NodeKey::generate()?.request_pem()?,
        address: "127.0.0.1:1".into(),
        version: "0.1.0".into(),
    };
    let (status, body) =
        client.send(Method::POST, public_paths::ENROLL, Some(serde_json::to_value(request)?)).await?;
    ensure!(status == StatusCode::OK, "{status} {body}");
    Ok(serde_json::from_value(body)?)
}

/// A Web App node beside a site's first one.
pub struct Another {
    pub web: Web,
    pub tasks: Tasks,
}

impl Another {
    pub async fn start(settings: WebSettings, database: impl Into<Database>) -> Result<Self> {
        meridian_identity::install_crypto_provider();
        let tasks = Tasks::new();
        let web = Web::start(settings, database, Clock::system(), tasks.clone(), Health::default()).await?;
        Ok(Self { web, tasks })
    }
}

/// A client of the API.
#[derive(Clone)]
pub struct Client {
    pub base: String,
    pub token: Option<String>,
    pub http: reqwest::Client,
}

impl Client {
    /// One that goes to this node and nobody else.
    pub fn of(web: &Web) -> Self {
        Self { base: format!("http://{}", web.address), token: None, http: reqwest::Client::new() }
    }

    /// The same person at another node.
    #[must_use]
    pub fn at(&self, web: &Web) -> Self {
        Self { token: self.token.clone(), ..Self::of(web) }
    }

    pub async fn sign_in(self, name: &str, password: &str) -> Result<Self> {
        let (status, body) = self.try_sign_in(name, password).await?;
        ensure!(status == StatusCode::OK, "{status} {body}");
        Ok(Self { token: body["token"].as_str().map(str::to_owned), ..self })
    }

    pub async fn try_sign_in(&self, name: &str, password: &str) -> Result<(StatusCode, Value)> {
        let body = json!({"username": name, "password": password});
        self.send(Method::POST, "/api/v1/auth/login", Some(body)).await
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<(StatusCode, Value)> {
        let request = self.request(method, path);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        read(request.send().await?).await
    }

    pub async fn launch(&self, workspace: &str, zone: &str, key: &str) -> Result<(StatusCode, Value)> {
        let body = json!({"workspace_id": workspace, "zone": zone});
        read(
            self.request(Method::POST, "/api/v1/sessions")
                .header("idempotency-key", key)
                .json(&body)
                .send()
                .await?,
        )
        .await
    }

    pub async fn state_of(&self, session: &str) -> Result<String> {
        let (_, body) = self.send(Method::GET, &format!("/api/v1/sessions/{session}"), None).await?;
        Ok(body["state"].as_str().unwrap_or_default().to_owned())
    }
}

pub async fn read(response: Response) -> Result<(StatusCode, Value)> {
    let status = response.status();
    let text = response.text().await?;
    Ok((
        status,
        if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        },
    ))
}

/// An agent that only reports.
pub struct FakeAgent {
    pub node: NodeId,
    pub total: Resources,
    pub gpus: u32,
    /// Where browsers reach it without a proxy.
    pub direct_address: Option<String>,
    /// Of the homes that were to be removed, those that are.
    pub homes_gone: Vec<HomeId>,
    /// Who looks on there; none: it is of a release that serves nobody who does.
    pub watches: Option<Vec<WatchId>>,
    /// Whose looking on it ended itself.
    pub watches_ended: Vec<WatchEnd>,
    /// Where it reaches its zone's storage for homes.
    pub shared_homes: Option<String>,
    /// Its sessions that stand still because of their homes.
    pub frozen: Vec<FrozenSession>,
    store: Store,
}

impl FakeAgent {
    pub fn of(node: NodeId, store: &Store, cores: i64) -> Self {
        let total = Resources { cpu_milli: cores * 1000, memory_mb: cores * 4096 };
        Self {
            node,
            total,
            gpus: 0,
            direct_address: None,
            homes_gone: Vec::new(),
            shared_homes: None,
            frozen: Vec::new(),
            watches: Some(Vec::new()),
            watches_ended: Vec::new(),
            store: store.clone(),
        }
    }

    /// The same agent, whose heartbeats go to this node.
    pub fn at(&self, web: &Web) -> Self {
        let (direct_address, homes_gone) = (self.direct_address.clone(), self.homes_gone.clone());
        let (watches, watches_ended) = (self.watches.clone(), self.watches_ended.clone());
        let (shared_homes, frozen) = (self.shared_homes.clone(), self.frozen.clone());
        let store = web.state.store.clone();
        Self { store, direct_address, homes_gone, shared_homes, frozen, watches, watches_ended, ..*self }
    }

    /// What it says with one heartbeat.
    pub fn beat(&self, sessions: Vec<ObservedSession>) -> Heartbeat {
        let image = |name: &str| ImageReport {
            reference: format!("meridian/{name}:dev"),
            image_id: "sha256:0".into(),
        };
        let images = vec![image("desktop"), image("browser"), image("terminal")];
        self.saying(AgentReport { images, sessions, gpus: self.gpus, ..AgentReport::default() })
    }

    fn saying(&self, report: AgentReport) -> Heartbeat {
        Heartbeat {
            since: 0,
            epoch: 0,
            version: "0.1.0".into(),
            address: "127.0.0.1:1".into(),
            agent: Some(AgentReport {
                total: self.total,
                home_storage: "tmpfs".into(),
                network_modes: vec!["none".into(), "internet".into()],
                reports_activity: true,
                direct_address: self.direct_address.clone(),
                keeps_homes: true,
                homes_gone: self.homes_gone.clone(),
                watches: self.watches.clone(),
                watches_ended: self.watches_ended.clone(),
                shared_homes: self.shared_homes.clone(),
                frozen: self.frozen.clone(),
                ..report
            }),
            problems: Vec::new(),
            streams: None,
        }
    }

    async fn send(&self, beat: &Heartbeat) -> Result<Value> {
        match self.store.heartbeat(self.node, beat).await? {
            meridian_control::store::nodes::HeartbeatOutcome::Ok { update } => Ok(update),
            outcome => anyhow::bail!("{outcome:?}"),
        }
    }

    /// One heartbeat; gives the update that answers it.
    pub async fn report(&self, sessions: Vec<ObservedSession>) -> Result<Value> {
        self.send(&self.beat(sessions)).await
    }

    /// One heartbeat of an agent that knows these orders and says how images stand; gives the update that answers it.
    pub async fn report_images(&self, version: &str, standings: Option<Vec<ImageStanding>>) -> Result<Value> {
        let disk = Some(DiskReport { free_mb: 10, total_mb: 20 });
        let images_version = Some(version.into());
        self.send(&self.saying(AgentReport { disk, images_version, standings, ..AgentReport::default() }))
            .await
    }

    pub async fn say(&self, session: &str, generation: i64, observation: Observation) -> Result<Value> {
        let session_id: SessionId = session.parse()?;
        self.report(vec![ObservedSession {
            session_id,
            epoch: 1,
            generation,
            observation,
            streams: 0,
            active_at: None,
        }])
        .await
    }
}

/// A proxy that only asks; or an agent, where the zone has no proxies.
#[derive(Clone)]
pub struct FakeProxy {
    pub name: NodeName,
    pub key: Arc<NodeKey>,
    pub client: Client,
}

impl FakeProxy {
    pub async fn enroll(site: &Site) -> Result<Self> {
        Self::of_role(site, NodeRole::Proxy).await
    }

    /// The node of that role in london, for whom the site has a token.
    pub async fn of_role(site: &Site, role: NodeRole) -> Result<Self> {
        let token = std::fs::read_to_string(site.folder.path().join(format!("{role}-london.token")))?;
        let key = NodeKey::generate()?;
        let request = EnrollRequest {
            token,
            name: role.to_string(),
            csr_pem: key.request_pem()?,
            address: String::new(),
            version: "0.1.0".into(),
        };
        let client = site.anonymous();
        let (_, body) =
            client.send(Method::POST, public_paths::ENROLL, Some(serde_json::to_value(request)?)).await?;
        let enrolled: EnrollResponse = serde_json::from_value(body)?;
        let name = NodeName { node: enrolled.node_id, role, zone: enrolled.zone_id };
        Ok(Self { name, key: Arc::new(key), client })
    }

    pub async fn ticket(&self, user: &Client, connect: &str) -> Result<String> {
        let (_, body) = user.send(Method::POST, connect, Some(json!({"transport": "binary"}))).await?;
        let ticket = body["protocols"][1].as_str().and_then(|text| text.strip_prefix("meridian.ticket."));
        Ok(ticket.unwrap_or_default().to_owned())
    }

    pub async fn authorize(&self, user: &Client, connect: &str) -> Result<(StatusCode, Value)> {
        let ticket = self.ticket(user, connect).await?;
        let answer = self.ask(&ticket, &"0".repeat(32)).await?;
        anyhow::ensure!(answer.0 == StatusCode::OK, "{answer:?}");
        Ok(answer)
    }

    pub async fn ask(&self, ticket: &str, nonce: &str) -> Result<(StatusCode, Value)> {
        let request = AuthorizeRequest {
            ticket: ticket.into(),
            connection_nonce: nonce.into(),
            client_address: "192.0.2.1".into(),
        };
        let body = serde_json::to_vec(&request)?;
        let now = meridian_runtime::Clock::system().now();
        let headers = sign_call(&self.key, self.name.node, "POST", public_paths::AUTHORIZE, &body, now)?;
        let mut call = self.client.request(Method::POST, public_paths::AUTHORIZE).body(body);
        for (name, value) in headers.pairs() {
            call = call.header(name, value);
        }
        read(call.send().await?).await
    }
}
