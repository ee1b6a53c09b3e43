//! A zone without proxies: a browser's streams come to the agent's own process, which asks the Web App itself.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod page;
mod site;

use std::{
    net::{SocketAddr, TcpListener},
    process::Stdio,
    sync::Arc,
};

use anyhow::Result;
use meridian_control::Web;
use meridian_harness::{TestDatabase, wait_for};
use meridian_model::{NodeRole, ZoneSettings};
use meridian_runtime::{Clock, Health, Tasks};
use meridian_settings::{AgentSettings, FurnishEnrollment, FurnishSettings, FurnishZone, WebSettings};
use meridian_stream::Verdict;
use page::{LIMIT, PageKey, Socket, Viewer};
use reqwest::{Method, StatusCode};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use serde_json::{Value, json};
use site::PASSWORD;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{client_async, tungstenite};

/// What the agent says of itself; browsers are sent there.
const HOST: &str = "agent-1.example.org";

/// A Web App, and an agent in a process of its own whose engine is simulated.
struct Site {
    web: Web,
    http: reqwest::Client,
    token: String,
    entrance: SocketAddr,
    ops: SocketAddr,
    trust: TlsConnector,
    _agent: Child,
    _database: TestDatabase,
    _folder: TempDir,
}

impl Site {
    async fn start() -> Result<Self> {
        meridian_identity::install_crypto_provider();
        let database = site::database().await?;
        let folder = TempDir::new()?;
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("password"), PASSWORD)?;
        let settings: WebSettings = serde_json::from_value(json!({
            "name": "web-1", "data": folder.path(), "listen": "127.0.0.1:0", "node_listen": "127.0.0.1:0", "node_advertise": "",
            "public_url": "http://127.0.0.1", "master_key_file": file("master.key"), "trusted_proxies": ["127.0.0.1"],
        }))?;
        let enrollment =
            FurnishEnrollment { role: NodeRole::Agent, zone: "london".into(), token_file: file("token") };
        let furnish = FurnishSettings {
            admin_password_file: Some(file("password")),
            admin_made_file: None,
            zones: vec![FurnishZone { name: "london".into(), settings: ZoneSettings::default() }],
            enrollments: vec![enrollment],
            certificate: None,
        };
        let settings = WebSettings { furnish: Some(furnish), ..settings };
        let web =
            Web::start(settings, database.config(), Clock::system(), Tasks::new(), Health::default()).await?;

        let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned()])?;
        std::fs::write(file("agent.pem"), made.cert.pem())?;
        std::fs::write(file("agent.key"), made.signing_key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let entrance = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let ops = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let agent: AgentSettings = serde_json::from_value(json!({
            "node": {"name": "agent-1", "data": file("agent"), "upstream": format!("http://{}", web.address),
                "enroll_token_file": file("token"), "via": web.node_address, "ops_listen": ops},
            "listen": "127.0.0.1:0", "engine": "simulated", "run_directory": file("run"),
            "direct": {"listen": entrance, "address": format!("{HOST}:{}", entrance.port()),
                "tls_certificate_file": file("agent.pem"), "tls_key_file": file("agent.key")},
        }))?;
        std::fs::write(file("agent.toml"), toml::to_string(&agent)?)?;
        let agent = Command::new(env!("CARGO_BIN_EXE_meridian"))
            .args(["agent", "--config"])
            .arg(file("agent.toml"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut site = Self {
            web,
            http: reqwest::Client::new(),
            token: String::new(),
            entrance,
            ops,
            trust: TlsConnector::from(Arc::new(tls)),
            _agent: agent,
            _database: database,
            _folder: folder,
        };
        let login = json!({"username": "admin", "password": PASSWORD});
        site.token =
            site.send(Method::POST, "/auth/login", login).await.1["token"].as_str().unwrap().to_owned();
        Ok(site)
    }

    /// As from a page that came over HTTPS.
    async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let url = format!("http://{}/api/v1{path}", self.web.address);
        let mut request = self.http.request(method, url).header("x-forwarded-proto", "https");
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.bearer_auth(&self.token).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }

    /// A session that runs.
    async fn running(&self) -> String {
        wait_for("the agent", LIMIT, async || {
            let (_, nodes) = self.send(Method::GET, "/nodes?limit=1000", Value::Null).await;
            let agent = nodes["items"].as_array().into_iter().flatten().find(|node| node["role"] == "agent");
            let ready = agent.is_some_and(|agent| {
                agent["state"] == "ready" && agent["images"][0]["reference"].is_string()
            });
            if ready { Ok(()) } else { Err(nodes) }
        })
        .await
        .unwrap();
        let (_, list) = self.send(Method::GET, "/workspaces", Value::Null).await;
        let (status, session) =
            self.send(Method::POST, "/sessions", json!({"workspace_id": list["items"][0]["id"]})).await;
        assert_eq!(status, StatusCode::CREATED, "{session}");
        let id = session["id"].as_str().unwrap().to_owned();
        wait_for("the session", LIMIT, async || {
            let (_, seen) = self.send(Method::GET, &format!("/sessions/{id}"), Value::Null).await;
            if seen["state"] == "running" { Ok(()) } else { Err(seen) }
        })
        .await
        .unwrap();
        id
    }

    async fn connect(&self, session: &str, key: &PageKey) -> Value {
        let body = json!({"jkt": key.thumbprint()});
        let (status, view) = self.send(Method::POST, &format!("/sessions/{session}/connect"), body).await;
        assert_eq!(status, StatusCode::OK, "{view}");
        view
    }

    async fn set_proxied(&self, proxied: bool) {
        let patch = json!({"proxy_connections": proxied});
        let (status, body) = self.send(Method::PATCH, "/zones/london", patch).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    /// The address of a session's stream at the agent.
    fn url(&self, session: &str) -> String {
        format!("wss://{HOST}:{}/desktop/{session}/stream", self.entrance.port())
    }

    /// Opens a stream as a page of `origin`; the refusal's code, if it is refused.
    async fn open(&self, url: &str, protocols: &Value, origin: &str) -> Result<Socket, String> {
        let protocols: Vec<&str> = protocols.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let socket = TcpStream::connect(self.entrance).await.unwrap();
        let name = ServerName::try_from(HOST).unwrap();
        let stream = self.trust.connect(name, socket).await.unwrap();
        let request = tungstenite::http::Request::builder()
            .uri(url)
            .header("host", HOST)
            .header("origin", origin)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", protocols.join(", "))
            .body(())
            .unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(answer)) => {
                let body: Value =
                    serde_json::from_slice(&answer.into_body().unwrap_or_default()).unwrap_or_default();
                Err(body["error"]["code"].as_str().unwrap_or_default().to_owned())
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_come_to_the_agent_itself_and_come_back_to_it() {
    const PAGE: &str = "https://agent-1.example.org";
    let site = Site::start().await.unwrap();
    let (session, key) = (site.running().await, PageKey::new());

    // With proxies, nobody is sent here, and the agent may open nothing.
    let view = site.connect(&session, &key).await;
    assert_ne!(view["url"], site.url(&session));
    let refused = site.open(&site.url(&session), &view["protocols"], PAGE).await;
    assert_eq!(refused.err().as_deref(), Some("not_direct"));

    site.set_proxied(false).await;
    let view = site.connect(&session, &key).await;
    assert_eq!(view["url"], site.url(&session));
    let (url, protocols) = (site.url(&session), &view["protocols"]);
    let evil = site.open(&url, protocols, "https://evil.example.org").await;
    assert_eq!(evil.err().as_deref(), Some("origin_forbidden"));
    // As a page does: a grant of the very second in which the agent started is not taken, and another is asked for.
    let (socket, view) = wait_for("a stream", LIMIT, async || {
        let view = site.connect(&session, &key).await;
        site.open(&url, &view["protocols"], PAGE).await.map(|socket| (socket, view))
    })
    .await
    .unwrap();
    let protocols = &view["protocols"];
    let (mut viewer, verdict) = Viewer::attach(socket, 1, Some(&key)).await.unwrap();
    assert_eq!(verdict, Verdict::New);
    viewer.shake_hands().await;
    assert_eq!(site.open(&url, protocols, PAGE).await.err().as_deref(), Some("ticket_used"));

    // The path breaks; with the pass the stream goes on where it was, and nobody is asked.
    viewer.cut().await;
    let socket = site.open(&url, &view["resume_protocols"], PAGE).await.unwrap();
    assert_eq!(viewer.reattach(socket, 2, &key).await, Ok(Verdict::Resumed));

    // The agent shows what its entrance counts, beside its own.
    let metrics = site.http.get(format!("http://{}/metrics", site.ops)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let counted =
        |name: &str| metrics.lines().any(|line| line.starts_with(name) && line.contains("role=\"agent\""));
    assert!(counted("meridian_agent_streams{"), "{metrics}");
    assert!(
        counted("meridian_proxy_streams{") && counted("meridian_proxy_streams_opened_total{"),
        "{metrics}"
    );
    let forbidden = metrics.lines().find(|line| line.contains("origin_forbidden"));
    assert!(forbidden.is_some_and(|line| line.ends_with(" 1")), "{metrics}");
}
