//! What proxies are told of their zone's TLS ticket keys, over the real node listener.

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use meridian_identity::{NodeKey, NodeTls};
use meridian_wire::{
    EnrollRequest, EnrollResponse, Heartbeat, TicketKey, Update, WEB_SERVER_NAME, node_paths,
};
use reqwest::{Method, StatusCode};
use rustls::ClientConfig;
use serde_json::json;
use support::Site;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const LIMIT: Duration = Duration::from_secs(20);

/// A node that speaks with the node listener by itself.
struct Node {
    listener: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Node {
    async fn enroll(site: &Site, role: &str, zone: &str) -> Result<Self> {
        let admin = site.admin().await?;
        let body = json!({"role": role, "zone": zone});
        let (status, made) = admin.send(Method::POST, "/api/v1/nodes/enrollments", Some(body)).await?;
        ensure!(status == StatusCode::CREATED, "{made}");
        let key = NodeKey::generate()?;
        let request = EnrollRequest {
            token: made["token"].as_str().unwrap_or_default().to_owned(),
            name: format!("{role}-{zone}"),
            csr_pem: key.request_pem()?,
            address: String::new(),
            version: "0.1.0".into(),
        };
        let body = Some(serde_json::to_value(request)?);
        let (_, answer) = site.anonymous().send(Method::POST, "/api/v1/nodes/enroll", body).await?;
        let answer: EnrollResponse = serde_json::from_value(answer)?;
        let tls = NodeTls::new(&key, &answer.certificate_pem, &answer.ca_pem)?;
        Ok(Self { listener: site.web.node_address, tls: tls.client_config() })
    }

    async fn ask(&self, request: &str) -> Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(self.listener).await?;
        let mut stream =
            TlsConnector::from(self.tls.clone()).connect(WEB_SERVER_NAME.try_into()?, socket).await?;
        stream.write_all(request.as_bytes()).await?;
        Ok(stream)
    }

    async fn heartbeat_keys(&self) -> Result<Vec<TicketKey>> {
        let beat = Heartbeat {
            since: 0,
            epoch: 0,
            version: "0.1.0".into(),
            address: String::new(),
            agent: None,
            problems: Vec::new(),
            streams: None,
        };
        let body = serde_json::to_string(&beat)?;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            node_paths::HEARTBEAT,
            body.len()
        );
        let mut answer = String::new();
        timeout(LIMIT, self.ask(&head).await?.read_to_string(&mut answer)).await??;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        keys(body)
    }

    async fn watched_keys(&self) -> Result<Vec<TicketKey>> {
        let head = format!("GET {}?since=0 HTTP/1.1\r\nHost: web\r\n\r\n", node_paths::WATCH);
        let mut lines = BufReader::new(self.ask(&head).await?).lines();
        loop {
            let line = timeout(LIMIT, lines.next_line()).await??.context("the watch ended")?;
            if line.starts_with('{') {
                return keys(&line);
            }
        }
    }
}

fn keys(update: &str) -> Result<Vec<TicketKey>> {
    let update: Update = serde_json::from_str(update)?;
    Ok(update.settings.context("no settings")?.ticket_keys)
}

/// All three, or two, when a day began between the two answers.
fn most_are_the_same(some: &[TicketKey], others: &[TicketKey]) -> bool {
    some.len() == others.len() && some.iter().filter(|key| others.contains(key)).count() >= 2
}

#[tokio::test]
async fn the_proxies_of_a_zone_are_told_the_same_ticket_keys_and_nobody_else_is() -> Result<()> {
    let site = Site::start().await?;
    let first = Node::enroll(&site, "proxy", "london").await?;
    let second = Node::enroll(&site, "proxy", "london").await?;
    let elsewhere = Node::enroll(&site, "proxy", "virginia").await?;
    let agent = Node::enroll(&site, "agent", "london").await?;

    let keys = first.heartbeat_keys().await?;
    assert_eq!(keys.len(), 3);
    assert!(most_are_the_same(&second.watched_keys().await?, &keys));
    assert!(elsewhere.heartbeat_keys().await?.iter().all(|other| !keys.contains(other)));
    assert_eq!(agent.heartbeat_keys().await?, []);
    assert_eq!(agent.watched_keys().await?, []);

    // They rest in no database: another start derives the same ones.
    let site = site.restart().await?;
    let again = Node::enroll(&site, "proxy", "london").await?;
    assert!(most_are_the_same(&again.heartbeat_keys().await?, &keys));
    site.tasks.stop(Duration::from_secs(10)).await;
    Ok(())
}
