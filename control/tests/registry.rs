//! A balancer that has its backends from the control plane.

mod support;

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use meridian_balancer::BoundBalancer;
use meridian_control::store::nodes::HeartbeatOutcome;
use meridian_harness::wait_for;
use meridian_ids::{NodeId, ZoneId};
use meridian_model::NodeRole;
use meridian_runtime::{Health, Tasks};
use meridian_settings::{
    BackendSettings, BalanceSettings, NodeSection, Registry, RouteSettings, WebSettings,
};
use meridian_wire::Heartbeat;
use reqwest::{Method, StatusCode};
use support::{Another, Client, Site, enroll, web_settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A node of a zone that only says its name to whoever connects.
struct Named {
    id: NodeId,
    zone: ZoneId,
    address: SocketAddr,
}

impl Named {
    async fn join(site: &Site, tasks: &Tasks, role: NodeRole, name: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tasks.spawn_until_stop("named", async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.write_all(name.as_bytes()).await;
            }
        });
        let token = std::fs::read_to_string(site.token(role, "london").await?)?;
        let enrolled = enroll(&site.anonymous(), token, name).await?;
        let node = Self { id: enrolled.node_id, zone: enrolled.zone_id.context("a zone")?, address };
        node.beat(site, &address.to_string()).await?;
        Ok(node)
    }

    async fn beat(&self, site: &Site, address: &str) -> Result<()> {
        let beat = Heartbeat {
            since: 0,
            epoch: 0,
            version: "0.1.0".into(),
            address: address.into(),
            agent: None,
            problems: Vec::new(),
            streams: None,
        };
        let outcome = site.store().heartbeat(self.id, &beat).await?;
        ensure!(matches!(outcome, HeartbeatOutcome::Ok { .. }), "{outcome:?}");
        Ok(())
    }

    /// What an administrator orders of it.
    async fn order(&self, admin: &Client, what: &str) -> Result<()> {
        let (status, body) =
            admin.send(Method::POST, &format!("/api/v1/nodes/{}/{what}", self.id), None).await?;
        ensure!(status == StatusCode::NO_CONTENT, "{body}");
        Ok(())
    }
}

fn settings(
    data: &Path,
    upstream: SocketAddr,
    token: &Path,
    routes: Vec<RouteSettings>,
) -> Result<BalanceSettings> {
    let node = NodeSection {
        name: "balance-london-1".into(),
        data: data.into(),
        upstream: format!("http://{upstream}"),
        enroll_token_file: Some(token.into()),
        advertise: None,
        via: None,
        upstream_ca_file: None,
        ops_listen: None,
    };
    // A port that it knows by its configuration, as a real one does.
    let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    Ok(BalanceSettings {
        node: Some(node),
        routes,
        ..toml::from_str(&format!("listen = \"{listen}\"\nroute = []\n"))?
    })
}

fn proxies() -> RouteSettings {
    RouteSettings {
        registry: Some(Registry::Proxies),
        choice: meridian_settings::Choice::RoundRobin,
        slow_start_s: 0,
        ..RouteSettings::new(None, Vec::new())
    }
}

struct Balanced {
    bound: BoundBalancer,
    tasks: Tasks,
    health: Health,
}

impl Balanced {
    async fn start(settings: BalanceSettings) -> Result<Self> {
        let (tasks, health) = (Tasks::new(), Health::default());
        let bound = meridian_balancer::start(settings, &tasks, &health).await?;
        Ok(Self { bound, tasks, health })
    }

    /// Whoever answers; empty when nobody does.
    async fn ask(&self) -> Result<String> {
        let mut socket = TcpStream::connect(self.bound.local_addr).await?;
        let mut heard = String::new();
        timeout(LIMIT, socket.read_to_string(&mut heard)).await?.or_else(|error| {
            ensure!(error.kind() == std::io::ErrorKind::ConnectionReset, "{error}");
            Ok(0)
        })?;
        Ok(heard)
    }

    /// Waits until those who answer are these and nobody else.
    async fn until(&self, names: &[&str]) -> Result<()> {
        wait_for(&format!("{names:?} to answer"), LIMIT, async || {
            let mut heard = Vec::new();
            for _ in 0..2 * names.len().max(1) {
                heard.push(self.ask().await?);
            }
            heard.sort();
            heard.dedup();
            let mut wanted: Vec<_> = names.iter().map(ToString::to_string).collect();
            wanted.sort();
            ensure!(heard == wanted, "{heard:?}");
            Ok(())
        })
        .await
    }
}

/// Waits until the balancer has heard something, and written it down.
async fn heard(data: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    wait_for("the list on the disk", LIMIT, async || {
        let text = std::fs::read_to_string(data.join("control.json"))?;
        ensure!(wanted(&text), "{text}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn proxies_come_drain_come_back_and_leave_and_the_last_one_stays() -> Result<()> {
    let (site, others) = (Site::start().await?, Tasks::new());
    let admin = site.admin().await?;
    let token = site.token(NodeRole::Balance, "london").await?;
    let data = site.folder.path().join("balance");
    let balanced = Balanced::start(settings(&data, site.web.address, &token, vec![proxies()])?).await?;
    balanced.until(&[""]).await?;
    assert!(balanced.health.reasons().contains_key("no_backend"), "{:?}", balanced.health.reasons());

    let one = Named::join(&site, &others, NodeRole::Proxy, "one").await?;
    balanced.until(&["one"]).await?;
    let two = Named::join(&site, &others, NodeRole::Proxy, "two").await?;
    balanced.until(&["one", "two"]).await?;
    assert!(balanced.health.reasons().is_empty());
    // An agent is none, and a proxy elsewhere is not this zone's.
    Named::join(&site, &others, NodeRole::Agent, "agent").await?;

    two.order(&admin, "drain").await?;
    balanced.until(&["one"]).await?;
    two.order(&admin, "undrain").await?;
    balanced.until(&["one", "two"]).await?;
    one.order(&admin, "remove").await?;
    balanced.until(&["two"]).await?;
    // The balancer itself, rubbish, and the same address twice, as a node may say of itself.
    let three = Named::join(&site, &others, NodeRole::Proxy, "three").await?;
    for address in [balanced.bound.local_addr.to_string(), "rubbish".into(), two.address.to_string()] {
        three.beat(&site, &address).await?;
        let said = format!("{{\"node_id\":\"{}\",\"address\":\"{address}\"", three.id);
        heard(&data, |text| text.contains(&said)).await?;
        balanced.until(&["two"]).await?;
    }
    three.order(&admin, "remove").await?;
    // An empty list is not believed: what comes with it is.
    two.order(&admin, "remove").await?;
    let four = Named::join(&site, &others, NodeRole::Agent, "another agent").await?;
    heard(&data, |text| text.contains(&four.id.to_string())).await?;
    balanced.until(&["two"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_balancer_starts_with_what_it_heard_last_while_the_control_plane_is_away() -> Result<()> {
    let (site, others) = (Site::start().await?, Tasks::new());
    let token = site.token(NodeRole::Balance, "london").await?;
    let data = site.folder.path().join("balance");
    Named::join(&site, &others, NodeRole::Proxy, "one").await?;
    let balanced = Balanced::start(settings(&data, site.web.address, &token, vec![proxies()])?).await?;
    balanced.until(&["one"]).await?;
    let memory = data.join("control.json");
    heard(&data, |text| text.contains("\"fleet\"")).await?;
    assert!(balanced.tasks.stop(LIMIT).await);
    assert!(site.tasks.stop(LIMIT).await);

    let again = settings(&data, site.web.address, &token, vec![proxies()])?;
    let balanced = Balanced::start(again.clone()).await?;
    assert_eq!(balanced.ask().await?, "one", "from the first connection on");
    assert!(balanced.tasks.stop(LIMIT).await);

    // A file that was spoilt is nothing heard: the configuration's own backends are what is left.
    std::fs::write(&memory, "{\"epoch\": 1, \"settings\": {\"fleet\"")?;
    let mut spoilt = again;
    let spare = TcpListener::bind("127.0.0.1:0").await?;
    spoilt.routes[0].backends = vec![BackendSettings::new(spare.local_addr()?)];
    others.spawn_until_stop("spare", async move {
        while let Ok((mut socket, _)) = spare.accept().await {
            let _ = socket.write_all(b"spare").await;
        }
    });
    let balanced = Balanced::start(spoilt).await?;
    assert_eq!(balanced.ask().await?, "spare");
    assert!(balanced.tasks.stop(LIMIT).await);
    Ok(())
}

#[tokio::test]
async fn a_balancer_that_has_not_joined_serves_with_its_files_backends_meanwhile() -> Result<()> {
    let site = Site::start().await?;
    let spare = TcpListener::bind("127.0.0.1:0").await?;
    let route = RouteSettings { backends: vec![BackendSettings::new(spare.local_addr()?)], ..proxies() };
    let others = Tasks::new();
    others.spawn_until_stop("spare", async move {
        while let Ok((mut socket, _)) = spare.accept().await {
            let _ = socket.write_all(b"spare").await;
        }
    });
    let away = "127.0.0.1:1".parse()?;
    let token = site.token(NodeRole::Balance, "london").await?;
    let data = site.folder.path().join("balance");
    let balanced = Balanced::start(settings(&data, away, &token, vec![route])?).await?;
    assert_eq!(balanced.ask().await?, "spare");
    wait_for("the reason", LIMIT, async || {
        ensure!(balanced.health.reasons().contains_key("not_joined"), "{:?}", balanced.health.reasons());
        Ok(())
    })
    .await
}

/// Whether a ClientHello for a name is led anywhere: TLS to something that only says its name fails otherwise than a refusal.
async fn led(balanced: &Balanced, name: &str) -> Result<String> {
    let mut socket = TcpStream::connect(balanced.bound.local_addr).await?;
    let hello = support::hello::client_hello(name)?;
    socket.write_all(&hello).await?;
    let mut heard = String::new();
    let _ = timeout(LIMIT, socket.read_to_string(&mut heard)).await?;
    Ok(heard)
}

#[tokio::test]
async fn a_private_balancer_leads_to_each_agent_by_its_name_and_to_the_web_app_nodes() -> Result<()> {
    let (site, others) = (Site::start().await?, Tasks::new());
    let token = site.token(NodeRole::Balance, "london").await?;
    let routes = vec![
        RouteSettings {
            registry: Some(Registry::WebNodes),
            ..RouteSettings::new(Some("web.meridian"), Vec::new())
        },
        RouteSettings { registry: Some(Registry::Agents), ..RouteSettings::new(None, Vec::new()) },
    ];
    let data = site.folder.path().join("balance");
    let balanced = Balanced::start(settings(&data, site.web.address, &token, routes)?).await?;
    let agents = [
        Named::join(&site, &others, NodeRole::Agent, "first").await?,
        Named::join(&site, &others, NodeRole::Agent, "second").await?,
    ];
    for (agent, name) in agents.iter().zip(["first", "second"]) {
        let server_name = format!("{}.agent.{}.meridian", agent.id, agent.zone);
        wait_for("the agent", LIMIT, async || {
            let heard = led(&balanced, &server_name).await?;
            ensure!(heard == name, "{heard}");
            Ok(())
        })
        .await?;
    }
    let nobody = format!("{}.agent.{}.meridian", NodeId::generate(), agents[0].zone);
    assert_eq!(led(&balanced, &nobody).await?, "");
    // A node joins through it: mutual TLS to the Web App's node listener.
    let via = Some(balanced.bound.local_addr);
    let node = support::joined::JoinedNode::join(&site, NodeRole::Proxy, "virginia", via).await?;
    let tasks = Tasks::new();
    let _sessions = node.run(&tasks);
    wait_for("a heartbeat through the balancer", LIMIT, async || {
        ensure!(node.client.heartbeats_answered() > 0);
        Ok(())
    })
    .await?;
    tasks.stop(LIMIT).await;
    Ok(())
}

#[tokio::test]
async fn a_primary_balancer_leads_to_the_web_app_nodes_that_say_where_they_are() -> Result<()> {
    let site = Site::start().await?;
    let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let second = WebSettings {
        listen,
        public_address: Some(listen.to_string()),
        ..web_settings(site.folder.path(), "web-2")?
    };
    let _second = Another::start(second, site.database.config()).await?;
    let token = site.token(NodeRole::Balance, "london").await?;
    let route = RouteSettings { registry: Some(Registry::Web), ..RouteSettings::new(None, Vec::new()) };
    let data = site.folder.path().join("balance");
    let balanced = Balanced::start(settings(&data, site.web.address, &token, vec![route])?).await?;
    let url = format!("http://{}/api/__healthcheck", balanced.bound.local_addr);
    wait_for("an answer through the balancer", LIMIT, async || {
        let answer = reqwest::get(&url).await?;
        ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
        Ok(())
    })
    .await
}
