//! Nodes that joined as real ones do, and speak to the node listener over mutual TLS.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    Request,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use meridian_control::Web;
use meridian_identity::NodeTls;
use meridian_ids::SessionId;
use meridian_model::NodeRole;
use meridian_node::{HeartbeatParts, NodeClient};
use meridian_runtime::{Clock, Health, Tasks};
use meridian_settings::{BackendSettings, BalanceSettings, NodeSection, RouteSettings};
use meridian_wire::{AgentReport, Heartbeat, WEB_SERVER_NAME, node_paths};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_rustls::TlsConnector;

use super::{FakeAgent, Site};

const LIMIT: Duration = Duration::from_secs(20);

/// A node, enrolled. It says nothing by itself until it is told to run.
pub struct JoinedNode {
    pub client: NodeClient,
    tasks: Tasks,
}

impl JoinedNode {
    /// `via`: the zone's private balancer.
    pub async fn join(site: &Site, role: NodeRole, zone: &str, via: Option<SocketAddr>) -> Result<Self> {
        let name = format!("{role}-{zone}");
        let section = NodeSection {
            data: site.folder.path().join(&name),
            upstream: format!("http://{}", site.web.address),
            enroll_token_file: Some(site.folder.path().join(format!("{name}.token"))),
            advertise: Some("127.0.0.1:1".into()),
            via: via.map(|address| address.to_string()),
            upstream_ca_file: None,
            ops_listen: None,
            name,
        };
        let client = NodeClient::join(&section, role, Clock::system()).await?;
        Ok(Self { client, tasks: Tasks::new() })
    }

    /// A watch at one Web App node.
    pub async fn watch(&self, web: &Web, since: i64) -> Result<Watch> {
        let socket = TcpStream::connect(web.node_address).await?;
        let name = ServerName::try_from(WEB_SERVER_NAME)?;
        let stream = TlsConnector::from(self.client.tls().client_config()).connect(name, socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        self.tasks.spawn_until_stop("watch", async move { drop(connection.await) });
        let request = Request::get(format!("{}?since={since}", node_paths::WATCH))
            .header("host", WEB_SERVER_NAME)
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        ensure!(answer.status().is_success(), "{}", answer.status());
        let mut watch = Watch { body: answer.into_body(), text: Vec::new(), _sender: sender };
        if since == 0 {
            watch.next().await?;
        }
        Ok(watch)
    }

    /// Lives as a node does; gives the sessions that it is told of.
    pub fn run(&self, tasks: &Tasks) -> mpsc::Receiver<SessionId> {
        let (sender, mut updates) = mpsc::channel::<meridian_wire::Update>(16);
        self.client.run(tasks, HeartbeatParts::default, sender);
        let (told, sessions) = mpsc::channel(16);
        tasks.spawn_until_stop("updates", async move {
            while let Some(update) = updates.recv().await {
                for session in update.sessions {
                    let _ = told.send(session.session_id).await;
                }
            }
        });
        sessions
    }
}

/// One heartbeat over the wire, of a node that knows these orders for images; gives the update that answers it.
pub async fn beat(address: SocketAddr, tls: NodeTls, images_version: &str) -> Result<Value> {
    let socket = TcpStream::connect(address).await?;
    let name = ServerName::try_from(WEB_SERVER_NAME)?;
    let stream = TlsConnector::from(tls.client_config()).connect(name, socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let tasks = Tasks::new();
    tasks.spawn_until_stop("beat", async move { drop(connection.await) });
    let agent = AgentReport { images_version: Some(images_version.into()), ..AgentReport::default() };
    let beat = Heartbeat {
        since: 0,
        epoch: 0,
        version: "0.1.0".into(),
        address: "127.0.0.1:1".into(),
        agent: Some(agent),
        problems: Vec::new(),
        streams: None,
    };
    let request = Request::post(node_paths::HEARTBEAT)
        .header("host", WEB_SERVER_NAME)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(&beat)?)))?;
    let answer = sender.send_request(request).await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}

/// An agent of London. What it reports is a [`FakeAgent`]'s.
pub struct JoinedAgent {
    node: JoinedNode,
    pub fake: FakeAgent,
}

impl std::ops::Deref for JoinedAgent {
    type Target = JoinedNode;

    fn deref(&self) -> &JoinedNode {
        &self.node
    }
}

impl JoinedAgent {
    pub async fn join(site: &Site, via: Option<SocketAddr>) -> Result<Self> {
        let node = JoinedNode::join(site, NodeRole::Agent, "london", via).await?;
        let fake = FakeAgent::of(node.client.name().node, site.store(), 8);
        Ok(Self { node, fake })
    }
}

/// Lines of a watch.
pub struct Watch {
    body: Incoming,
    text: Vec<u8>,
    _sender: http1::SendRequest<Empty<Bytes>>,
}

impl Watch {
    /// The next line that is more than a sign of life.
    pub async fn next(&mut self) -> Result<Value> {
        timeout(LIMIT, self.next_line()).await.context("the watch said nothing")?
    }

    async fn next_line(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                if line.len() > 1 {
                    return Ok(serde_json::from_slice(&line)?);
                }
                continue;
            }
            let frame = self.body.frame().await.context("the watch ended")??;
            self.text.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    }

    /// Reads on until an update is as wanted.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        while !wanted(&self.next().await?) {}
        Ok(())
    }

    pub async fn until_ordered(&mut self, session: &str) -> Result<()> {
        self.until(|update| {
            let sessions = update["sessions"].as_array().cloned().unwrap_or_default();
            sessions.iter().any(|ordered| ordered["session_id"] == session)
        })
        .await
    }
}

/// An agent that reaches the Web App nodes through a private balancer.
pub async fn through_a_balancer(site: &Site, nodes: &[&Web]) -> Result<(Tasks, JoinedAgent)> {
    let backends = nodes.iter().map(|web| BackendSettings::new(web.node_address)).collect();
    let settings = BalanceSettings {
        routes: vec![RouteSettings::new(Some(WEB_SERVER_NAME), backends)],
        ..toml::from_str("listen = \"127.0.0.1:0\"\nroute = []\n")?
    };
    let tasks = Tasks::new();
    let balancer = meridian_balancer::start(settings, &tasks, &Health::default()).await?;
    let agent = JoinedAgent::join(site, Some(balancer.local_addr)).await?;
    Ok((tasks, agent))
}
