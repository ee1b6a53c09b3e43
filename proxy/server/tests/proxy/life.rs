//! A proxy's life: revocations, stopping, restarting without the control plane, TLS of its own.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use meridian_ids::SessionId;
use meridian_proxy::{Cut, ProxyError, start};
use meridian_runtime::{Clock, Health, Tasks};
use meridian_settings::{ProxySettings, read_file};
use meridian_wire::{Revocation, agent_paths};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{
    agent::GREETING,
    browser::Browser,
    web::{Answering, Web},
    world::{LIMIT, World, settings, wait_for, within},
};

impl World {
    /// Has the proxy hear the control plane now, and waits until it did.
    pub(crate) async fn heartbeat(&self) {
        self.proxy.node.wake();
        let heard = self.proxy.node.settings();
        wait_for("new settings", || {
            let state = self.web.state.lock().unwrap();
            heard.borrow().as_ref().is_some_and(|heard| {
                heard.zone.as_ref() == Some(&state.zone)
                    && heard.agents == state.agents
                    && heard.revocations == state.revocations
            })
        })
        .await;
        // The proxy takes them in a task of its own.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_revocation_cuts_live_streams_and_refuses_older_tickets() {
    let world = World::new().await;
    let old = world.ticket();
    let (mut browser, _) = world.open_stream().await;
    let until = Timestamp::from_second(old.iat + 1).unwrap();
    let revocation = Revocation { session_id: world.session, issued_before: until, because: None };
    let other =
        Revocation { session_id: SessionId::generate(), issued_before: Timestamp::MAX, because: None };
    world.web.change(|state| state.revocations.push(other));
    world.heartbeat().await;
    browser.send("still here").await;
    world.web.change(|state| state.revocations.push(revocation));
    world.heartbeat().await;
    let mut rest = Vec::new();
    let _ = within("the cut", browser.socket.read_to_end(&mut rest)).await;
    world.wait_until_quiet().await;
    assert_eq!(world.proxy.metrics.cut(Cut::Revoked), 1);
    let answer = Browser::ask(world.address(), world.request(&old)).await;
    assert_eq!((answer.status, answer.error().code.as_str()), (403, "revoked"));
}

#[tokio::test]
async fn a_stop_gives_streams_their_time_and_then_cuts_them() {
    let world = World::new().await;
    let (mut browser, answer) = world.open_stream().await;
    let tasks = world.tasks.clone();
    let stopping = Tasks::new().spawn("stop", async move { tasks.stop(LIMIT).await });
    wait_for("the closed listener", || std::net::TcpStream::connect(world.address()).is_err()).await;
    browser.send("x").await;
    let heard = browser.read(answer.rest, GREETING.len() + 1).await;
    assert_eq!(heard.last(), Some(&b'x'), "the stream goes on while the proxy drains");
    let mut rest = Vec::new();
    let _ = within("the cut", browser.socket.read_to_end(&mut rest)).await;
    assert!(within("the stop", stopping).await.unwrap());
    assert_eq!(world.proxy.metrics.cut(Cut::Stopping), 1);
}

#[tokio::test]
async fn a_proxy_that_stops_tells_its_agents_while_its_streams_go_on() {
    let world = World::with(|mut settings| {
        settings.drain_wait_s = 30;
        settings
    })
    .await;
    let (mut browser, answer) = world.open_stream().await;
    browser.read(answer.rest, GREETING.len()).await;
    let tasks = world.tasks.clone();
    let stopping = Tasks::new().spawn("stop", async move { tasks.stop(LIMIT).await });
    wait_for("the goodbye", || {
        let goodbye = format!("POST {} HTTP/1.1\r\n", agent_paths::DRAIN);
        world.agent.hear(|heard| heard.requests.iter().any(|request| request.starts_with(&goodbye)))
    })
    .await;
    browser.send("still here").await;
    assert_eq!(browser.read(Vec::new(), 10).await, b"still here");
    drop(browser);
    assert!(within("the stop", stopping).await.unwrap(), "it ends with its last stream");
}

#[tokio::test]
async fn a_stop_sends_who_still_waits_to_another_proxy() {
    let world = World::new().await;
    world.web.change(|state| state.answering = Answering::Never);
    let mut browser = Browser::open(world.address()).await;
    browser.send(world.request(&world.ticket())).await;
    wait_for("the question", || !world.web.asked().is_empty()).await;
    let tasks = world.tasks.clone();
    let stopping = Tasks::new().spawn("stop", async move { tasks.stop(LIMIT).await });
    let answer = browser.answer().await;
    assert_eq!((answer.status, answer.error().code.as_str()), (503, "proxy_stopping"));
    assert!(answer.head.contains("Retry-After: 1\r\n"));
    drop(browser);
    assert!(within("the stop", stopping).await.unwrap());
}

#[tokio::test]
async fn every_series_carries_zone_and_role() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::with(|mut settings| {
        settings.node.ops_listen = Some(free);
        settings
    })
    .await;
    let (_browser, _) = world.open_stream().await;
    Browser::ask(world.address(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let ask = |path: &str| {
        Browser::ask(free, format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    };
    assert_eq!(ask("/readyz").await.status, 200);
    let metrics = String::from_utf8(ask("/metrics").await.rest).unwrap();
    let series = metrics.lines().filter(|line| line.starts_with("meridian_"));
    assert!(series.clone().count() > 8, "{metrics}");
    for line in series {
        assert!(line.contains(r#"zone="london""#) && line.contains(r#"role="proxy""#), "{line}");
    }
    for wanted in [
        r#"meridian_proxy_streams{role="proxy",zone="london"} 1"#,
        r#"meridian_proxy_refused_total{role="proxy",zone="london",code="not_found"} 1"#,
    ] {
        assert!(metrics.contains(wanted), "{wanted} {metrics}");
    }
}

#[tokio::test]
async fn a_proxy_restarted_without_the_control_plane_knows_its_zone() {
    let world = World::new().await;
    let memory = world.folder.path().join("data/control.json");
    wait_for("the settings on the disk", || memory.exists()).await;
    assert!(world.tasks.stop(LIMIT).await);
    let mut again = settings(&world.web, &world.folder);
    again.node.upstream = "http://127.0.0.1:1".into();
    again.node.via = Some("127.0.0.1:1".into());
    again.authorize_wait_s = 1;
    let (tasks, health) = (Tasks::new(), Health::default());
    let proxy = start(again, Clock::system(), &tasks, &health).await.unwrap();
    assert!(health.reasons().is_empty());
    let answer = Browser::ask(proxy.local_addr, world.request(&world.ticket())).await;
    assert_eq!((answer.status, answer.error().code.as_str()), (502, "web_unreachable"));
}

#[tokio::test]
async fn a_clock_that_is_wrong_does_not_matter_once_the_control_plane_was_heard() {
    let web = Web::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "token").unwrap();
    let (tasks, health) = (Tasks::new(), Health::default());
    let clock = Clock::fixed(Clock::system().now() - SignedDuration::from_mins(5));
    let proxy = start(settings(&web, &folder), clock.clone(), &tasks, &health).await.unwrap();
    wait_for("the settings", || health.reasons().is_empty()).await;
    let behind = Clock::system().now().duration_since(clock.control_now());
    assert!(behind.abs() < SignedDuration::from_secs(20), "{behind:?}");
    drop(proxy);
}

#[tokio::test]
async fn the_public_listener_speaks_tls_with_the_given_certificate() {
    let made = rcgen::generate_simple_self_signed(vec!["work.example.org".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let world = World::with(|settings| {
        let folder = settings.node.enroll_token_file.as_ref().unwrap().parent().unwrap().to_owned();
        let (certificate_file, key_file) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&certificate_file, certificate).unwrap();
        std::fs::write(&key_file, key).unwrap();
        let (certificate, key) = (Some(certificate_file), Some(key_file));
        ProxySettings { tls_certificate_file: certificate, tls_key_file: key, ..settings }
    })
    .await;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from("work.example.org").unwrap();
    let socket = TcpStream::connect(world.address()).await.unwrap();
    let mut stream = within("the handshake", connector.connect(name, socket)).await.unwrap();
    stream.write_all(world.request(&world.ticket()).as_bytes()).await.unwrap();
    stream.write_all(b"over TLS").await.unwrap();
    let mut heard = vec![0; 12];
    within("the answer", stream.read_exact(&mut heard)).await.unwrap();
    stream.shutdown().await.unwrap();
    within("the end", stream.read_to_end(&mut heard)).await.unwrap();
    let heard = String::from_utf8(heard).unwrap();
    assert!(heard.starts_with("HTTP/1.1 101 "), "{heard}");
    assert!(heard.ends_with("agent speaks first;over TLS;the end"), "{heard}");
    // Plain HTTP on the TLS port is let go.
    let mut plain = TcpStream::connect(world.address()).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = within("the end of plain HTTP", plain.read_to_end(&mut rest)).await;
    world.wait_until_quiet().await;
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let web = Web::start().await;
    let folder = tempfile::tempdir().unwrap();
    let good = || settings(&web, &folder);
    let refused = |settings| async {
        start(settings, Clock::system(), &Tasks::new(), &Health::default()).await.err().unwrap()
    };
    assert!(matches!(
        refused(ProxySettings { max_streams: 0, ..good() }).await,
        ProxyError::Zero("max_streams")
    ));
    let half = ProxySettings { tls_key_file: Some("x".into()), ..good() };
    assert!(matches!(refused(half).await, ProxyError::HalfTls));
    let missing =
        ProxySettings { tls_key_file: Some("x".into()), tls_certificate_file: Some("y".into()), ..good() };
    assert!(matches!(refused(missing).await, ProxyError::Tls(_)));
    let untrusted = ProxySettings { trusted_proxies: vec!["x".into()], ..good() };
    assert!(matches!(refused(untrusted).await, ProxyError::Trusted(_)));
}

#[test]
fn the_sample_is_a_configuration() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/proxy.toml");
    let sample: ProxySettings = read_file(&path).unwrap();
    assert!(sample.tls_certificate_file.is_some());
}

#[tokio::test]
async fn a_balancer_reads_on_the_streams_own_address_whether_this_proxy_takes_any() {
    let world = World::new().await;
    let answer = Browser::ask(world.address(), "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.rest.as_slice()), (200, br#"{"ready":true}"#.as_slice()), "{answer:?}");
    let answer = Browser::ask(world.address(), "GET /readyz/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.status, 404);
}
