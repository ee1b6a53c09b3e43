//! Whose a connection is, when balancers in front say so by a PROXY header.

mod support;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use meridian_harness::wait_for;
use meridian_origin::{Origin, header_of, own_header};
use meridian_runtime::{Health, Tasks};
use meridian_settings::{
    BackendSettings, BalanceSettings, CheckKind, CheckSettings, RouteSettings, WebSettings,
};
use serde_json::json;
use support::{Another, PASSWORD, Site, web_settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A node in front of which a balancer at 127.0.0.1 stands.
async fn behind_a_balancer(site: &Site) -> Result<Another> {
    let settings = WebSettings { proxy_protocol: true, ..web_settings(site.folder.path(), "web-2")? };
    Another::start(settings, site.database.config()).await
}

fn header(client: &str) -> Result<Vec<u8>> {
    let server = "198.51.100.1:443".parse()?;
    Ok(header_of(Origin { client: client.parse()?, server })?)
}

/// A sign-in of somebody who is not there, so that the audit log has a row of it.
fn sign_in(name: &str, forwarded: Option<&str>) -> Vec<u8> {
    let body = json!({"username": name, "password": PASSWORD}).to_string();
    let forwarded = forwarded.map(|address| format!("X-Forwarded-For: {address}\r\n")).unwrap_or_default();
    let length = body.len();
    format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{forwarded}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends all of it from an address of this machine, and reads what comes until the end.
async fn say(from: &str, to: SocketAddr, bytes: &[u8]) -> Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{from}:0").parse()?)?;
    let mut stream = socket.connect(to).await?;
    let mut heard = Vec::new();
    timeout(LIMIT, async {
        // Whoever is refused may be cut off while it still writes, or reset.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut heard).await;
    })
    .await
    .context("the connection was not ended")?;
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

/// Where the audit log says that a sign-in came from; none when there is no row of it.
async fn seen_from(site: &Site, name: &str) -> Result<Option<String>> {
    let client = site.sql().await?;
    let row = client
        .query_opt("SELECT address FROM audit WHERE action = 'sign_in' AND target = $1", &[&name])
        .await?;
    Ok(row.map(|row| row.get(0)))
}

#[tokio::test]
async fn the_address_in_a_trusted_balancers_header_is_the_clients_and_whoever_is_behind_it_cannot_lie()
-> Result<()> {
    let site = Site::start().await?;
    let node = behind_a_balancer(&site).await?;
    let cases = [
        ("plain", header("203.0.113.9:4711")?, None, "203.0.113.9"),
        ("sixth", header("[2001:db8::9]:4711")?, None, "2001:db8::9"),
        ("lying", header("203.0.113.9:4711")?, Some("6.6.6.6"), "203.0.113.9"),
        // A reverse proxy that is trusted too, behind the balancer.
        ("forwarded", header("127.0.0.1:4711")?, Some("198.51.100.7"), "198.51.100.7"),
        ("itself", own_header()?, None, "127.0.0.1"),
    ];
    for (name, header, forwarded, expected) in cases {
        let answer = say("127.0.0.1", node.web.address, &[header, sign_in(name, forwarded)].concat()).await?;
        ensure!(answer.starts_with("HTTP/1.1 401 "), "{name}: {answer}");
        assert_eq!(seen_from(&site, name).await?.as_deref(), Some(expected), "{name}");
    }
    // A second header is content, and no HTTP.
    let twice = [header("203.0.113.9:1")?, header("203.0.113.10:1")?, sign_in("twice", None)].concat();
    say("127.0.0.1", node.web.address, &twice).await?;
    assert_eq!(seen_from(&site, "twice").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_trusted_balancer_that_sends_no_header_or_a_broken_one_is_let_go() -> Result<()> {
    let site = Site::start().await?;
    let node = behind_a_balancer(&site).await?;
    let whole = header("203.0.113.9:4711")?;
    let mut endless = whole.clone();
    endless[14..16].copy_from_slice(&[0xff, 0xff]);
    let cases = [
        ("absent", sign_in("absent", None)),
        ("text", [b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n".to_vec(), sign_in("text", None)].concat()),
        ("endless", [endless, sign_in("endless", None)].concat()),
        ("senseless", [&whole[..13], &[0x12], &whole[14..], &sign_in("senseless", None)].concat()),
    ];
    for (name, bytes) in cases {
        assert_eq!(say("127.0.0.1", node.web.address, &bytes).await?, "", "{name}");
        assert_eq!(seen_from(&site, name).await?, None, "{name}");
    }
    for length in [1, 12, 16, whole.len() - 1] {
        let mut cut = TcpStream::connect(node.web.address).await?;
        cut.write_all(&whole[..length]).await?;
        cut.shutdown().await?;
        let mut heard = Vec::new();
        timeout(LIMIT, cut.read_to_end(&mut heard)).await.context("a cut header was waited for")??;
        assert!(heard.is_empty(), "{length}");
    }
    Ok(())
}

#[tokio::test]
async fn nobody_elses_header_is_believed() -> Result<()> {
    let site = Site::start().await?;
    let node = behind_a_balancer(&site).await?;
    let forged = [header("203.0.113.9:4711")?, sign_in("forged", None)].concat();
    say("127.0.0.2", node.web.address, &forged).await?;
    assert_eq!(seen_from(&site, "forged").await?, None);
    // Without one they are who they are, whatever they forward.
    let answer = say("127.0.0.2", node.web.address, &sign_in("honest", Some("6.6.6.6"))).await?;
    ensure!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(seen_from(&site, "honest").await?.as_deref(), Some("127.0.0.2"));
    // A node that reads no headers believes none of anybody.
    let forged = [header("203.0.113.9:4711")?, sign_in("unread", None)].concat();
    say("127.0.0.1", site.web.address, &forged).await?;
    assert_eq!(seen_from(&site, "unread").await?, None);
    Ok(())
}

#[tokio::test]
async fn behind_meridians_own_balancer_the_audit_log_has_the_client_and_checks_pass() -> Result<()> {
    let site = Site::start().await?;
    let node = behind_a_balancer(&site).await?;
    let check = CheckSettings {
        kind: CheckKind::Http,
        path: "/api/__healthcheck".into(),
        body: Some("\"ok\":true".into()),
        ..CheckSettings::default()
    };
    let route = RouteSettings {
        check,
        proxy_protocol: true,
        ..RouteSettings::new(None, vec![BackendSettings::new(node.web.address)])
    };
    let settings = BalanceSettings {
        routes: vec![route],
        ops_listen: Some("127.0.0.1:0".parse()?),
        ..toml::from_str("listen = \"127.0.0.1:0\"\nroute = []\n")?
    };
    let tasks = Tasks::new();
    let balancer = meridian_balancer::start(settings, &tasks, &Health::default()).await?;
    let metrics = format!("http://{}/metrics", balancer.ops_addr.context("no metrics")?);
    wait_for("two checks that passed", LIMIT, async || {
        let text = reqwest::get(&metrics).await?.text().await?;
        let passed =
            text.lines().find(|line| line.contains("checks_total") && line.contains("result=\"Passed\""));
        let count =
            passed.and_then(|line| line.rsplit(' ').next()).and_then(|count| count.parse::<u32>().ok());
        ensure!(count.is_some_and(|count| count >= 2), "{text}");
        Ok(())
    })
    .await?;
    let answer = say("127.0.0.3", balancer.local_addr, &sign_in("through", Some("6.6.6.6"))).await?;
    ensure!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(seen_from(&site, "through").await?.as_deref(), Some("127.0.0.3"));
    assert!(tasks.stop(LIMIT).await);
    Ok(())
}
