//! Click to first pixel: launches a workspace as the console does and splits the time into its parts.
//!
//! Every time is the client's own: the session's progress reaches it as server-sent events, so each part begins and ends with the same
//! small delay. `container` is from the agent's word that it makes one to its word that it runs, `display` from there until a person
//! would see something; all other parts are Meridian's own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::header::SEC_WEBSOCKET_PROTOCOL},
};

use crate::{Figures, Host, Report};

/// No part of a launch takes longer; a run that does has failed.
const LIMIT: Duration = Duration::from_secs(60);
/// Runs at most: each makes and removes a container.
pub const MAX_RUNS: usize = 200;
const PARTS: [&str; 6] = ["decide", "push", "container_start", "display_up", "connect", "first_frame"];

/// What to measure.
#[derive(Clone, Debug)]
pub struct LaunchBench {
    /// The console's address; plain HTTP on loopback.
    pub url: String,
    pub username: String,
    pub password: String,
    pub workspace: String,
    pub zone: Option<String>,
    pub runs: usize,
}

impl LaunchBench {
    /// Launches, looks and ends, `runs` times, after one launch that warms the image and is not counted.
    ///
    /// # Errors
    /// When a launch does not come to a first frame; its session is ended all the same.
    pub async fn run(&self) -> Result<Report> {
        ensure!((1..=MAX_RUNS).contains(&self.runs), "between 1 and {MAX_RUNS} runs");
        let site = Site::sign_in(self).await?;
        let workspace = site.workspace(&self.workspace).await?;
        site.launch_once(&workspace, self.zone.as_deref()).await.context("the launch that warms up")?;
        let mut runs = Vec::new();
        for number in 1..=self.runs {
            let run = site.launch_once(&workspace, self.zone.as_deref()).await;
            runs.push(run.with_context(|| format!("launch {number} of {}", self.runs))?);
        }
        Ok(self.report(&runs))
    }

    fn report(&self, runs: &[[Duration; 6]]) -> Report {
        let mut figures = Figures::new();
        for (index, part) in PARTS.iter().enumerate() {
            put(&mut figures, part, runs.iter().map(|run| run[index]).collect());
        }
        put(&mut figures, "total", runs.iter().map(|run| run.iter().sum()).collect());
        let own = |run: &[Duration; 6]| run[0] + run[1] + run[4] + run[5];
        put(&mut figures, "meridian", runs.iter().map(own).collect());
        let parameters = [
            ("workspace".to_owned(), json!(self.workspace)),
            ("zone".to_owned(), json!(self.zone)),
            ("runs".to_owned(), json!(self.runs)),
        ];
        Report {
            name: "launch".into(),
            parameters: parameters.into_iter().collect(),
            figures,
            peers: std::collections::BTreeMap::new(),
            goals: crate::Goals::new(),
            host: Host::this(),
        }
    }
}

/// Median and 95th percentile, in milliseconds.
fn put(figures: &mut Figures, name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    for (suffix, share) in [("p50", 50), ("p95", 95)] {
        figures.insert(format!("{name}_ms_{suffix}"), json!((at(share) * 10.0).round() / 10.0));
    }
}

/// A signed-in client.
struct Site {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Site {
    async fn sign_in(bench: &LaunchBench) -> Result<Self> {
        let base = bench.url.trim_end_matches('/').to_owned();
        ensure!(base.starts_with("http://"), "this benchmark speaks plain HTTP, to loopback");
        let http = reqwest::Client::builder().timeout(LIMIT).build()?;
        let mut site = Self { base, token: String::new(), http };
        let body = json!({"username": bench.username, "password": bench.password});
        let login = site.call(Method::POST, "/auth/login", Some(body)).await.context("sign in")?;
        site.token = login["token"].as_str().unwrap_or_default().to_owned();
        Ok(site)
    }

    async fn workspace(&self, name: &str) -> Result<String> {
        let list = self.call(Method::GET, "/workspaces", None).await?;
        let items = list["items"].as_array().into_iter().flatten();
        let found = items.filter(|item| item["name"] == name).find_map(|item| item["id"].as_str());
        found.map(str::to_owned).with_context(|| format!("there is no workspace {name}"))
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let answer = self.request(method, path, body).await?;
        let status = answer.status();
        let value: Value = if status == StatusCode::NO_CONTENT { Value::Null } else { answer.json().await? };
        ensure!(status.is_success(), "{path}: {status} {value}");
        Ok(value)
    }

    async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Result<Response> {
        let mut request =
            self.http.request(method, format!("{}/api/v1{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Ok(request.send().await?)
    }

    /// One launch from click to first frame; the session is ended and gone when this returns.
    async fn launch_once(&self, workspace: &str, zone: Option<&str>) -> Result<[Duration; 6]> {
        let clicked = Instant::now();
        let session = self
            .call(Method::POST, "/sessions", Some(json!({"workspace_id": workspace, "zone": zone})))
            .await?;
        let decided = Instant::now();
        let id = session["id"].as_str().unwrap_or_default().to_owned();
        let seen = self.see(&id, clicked, decided).await;
        self.call(Method::DELETE, &format!("/sessions/{id}"), None).await?;
        self.follow(&id, |session| session["state"] == "ended").await.context("the end of the session")?;
        seen
    }

    async fn see(&self, id: &str, clicked: Instant, decided: Instant) -> Result<[Duration; 6]> {
        let (mut pushed, mut started) = (None, None);
        self.follow(id, |session| {
            let step = session["progress"]["step"].as_str().unwrap_or_default();
            if matches!(step, "image" | "container" | "display" | "ready") {
                pushed.get_or_insert_with(Instant::now);
            }
            if matches!(step, "display" | "ready") {
                started.get_or_insert_with(Instant::now);
            }
            session["state"] == "running"
        })
        .await
        .context("the session to run")?;
        let ready = Instant::now();
        let (pushed, started) = (pushed.unwrap_or(ready), started.unwrap_or(ready));
        let body = json!({"transport": "binary"});
        let way = self.call(Method::POST, &format!("/sessions/{id}/connect"), Some(body)).await?;
        let mut viewer = timeout(LIMIT, Viewer::open(&way)).await.context("the stream did not open")??;
        let connected = Instant::now();
        timeout(LIMIT, viewer.first_frame()).await.context("no frame came")??;
        let framed = Instant::now();
        Ok([
            decided - clicked,
            pushed - decided,
            started - pushed,
            ready - started,
            connected - ready,
            framed - connected,
        ])
    }

    /// Follows the session's events until `enough` says so.
    async fn follow(&self, id: &str, mut enough: impl FnMut(&Value) -> bool) -> Result<()> {
        let mut events = self.request(Method::GET, &format!("/sessions/{id}/events"), None).await?;
        ensure!(events.status().is_success(), "the session's events: {}", events.status());
        let mut text = String::new();
        while let Some(piece) = events.chunk().await? {
            text.push_str(&String::from_utf8_lossy(&piece));
            while let Some(end) = text.find("\n\n") {
                let event: String = text.drain(..end + 2).collect();
                let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
                let session: Value = serde_json::from_str(data)?;
                if enough(&session) {
                    return Ok(());
                }
                if matches!(session["state"].as_str(), Some("failed" | "ended" | "lost")) {
                    bail!("the session is {}: {}", session["state"], session["reason"]);
                }
            }
        }
        bail!("the session's events ended")
    }
}

/// A viewer that wants one frame, over the `binary` subprotocol.
struct Viewer {
    socket: WebSocketStream<TcpStream>,
    unread: BytesMut,
}

impl Viewer {
    async fn open(way: &Value) -> Result<Self> {
        let url = way["url"].as_str().context("no address")?;
        let protocols: Vec<&str> =
            way["protocols"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut request = url.into_client_request()?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocols.join(", ").parse()?);
        let authority = request.uri().authority().context("no host")?.as_str().to_owned();
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let (socket, _) = client_async(request, stream).await?;
        Ok(Self { socket, unread: BytesMut::new() })
    }

    /// RFC 6143: handshake with security type None, one request for the whole screen, the head of the first update's first rectangle.
    async fn first_frame(&mut self) -> Result<()> {
        self.read(12).await?;
        self.send(b"RFB 003.008\n").await?;
        let types = usize::from(self.read(1).await?[0]);
        ensure!(self.read(types).await?.contains(&1), "the display wants a password");
        self.send(&[1]).await?;
        ensure!(self.read(4).await?[..] == [0; 4], "the display refused");
        self.send(&[1]).await?;
        let head = self.read(24).await?;
        let name = usize::try_from(u32::from_be_bytes([head[20], head[21], head[22], head[23]]))?;
        self.read(name).await?;
        let [width, height] = [[head[0], head[1]], [head[2], head[3]]];
        self.send(&[3, 0, 0, 0, 0, 0, width[0], width[1], height[0], height[1]]).await?;
        ensure!(self.read(1).await?[0] == 0, "the first message is no update");
        self.read(3 + 12).await.map(drop)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.socket.send(Message::Binary(Bytes::copy_from_slice(bytes))).await?)
    }

    async fn read(&mut self, count: usize) -> Result<BytesMut> {
        while self.unread.len() < count {
            match self.socket.next().await.context("the stream ended")?? {
                Message::Binary(bytes) => self.unread.extend_from_slice(&bytes),
                Message::Close(frame) => bail!("the stream was closed: {frame:?}"),
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Ok(self.unread.split_to(count))
    }
}
