//! Invariant 3: what a hot interaction costs on the database's wire. Whole HTTP requests, warm connections, `ReadyForQuery` counted.

mod support;

use std::time::Duration;

use anyhow::Result;
use meridian_harness::{WireProxy, wait_for};
use meridian_identity::NodeKey;
use meridian_runtime::Tasks;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::json;
use support::{Client, FakeProxy, PASSWORD, Site};
use tempfile::TempDir;

struct Counted {
    site: Site,
    wire: WireProxy,
}

impl Counted {
    async fn start() -> Result<Self> {
        let database = support::database().await?;
        let wire = WireProxy::on_unix(&database.config(), &Tasks::new()).await?;
        let config = wire.config();
        let site = Site::start_on(database, config, TempDir::new()?).await?;
        Ok(Self { site, wire })
    }

    /// Turn-arounds of one request, background jobs left out: the smallest of several tries, since a job only ever adds.
    async fn cost(&self, mut request: impl AsyncFnMut() -> Result<()>) -> Result<u64> {
        let (mut least, mut parses) = (u64::MAX, u64::MAX);
        for _ in 0..8 {
            let before = self.wire.counts();
            request().await?;
            let after = self.wire.counts();
            if after.connections == before.connections {
                parses = parses.min((after - before).parses);
                least = least.min((after - before).ready);
            }
        }
        assert_eq!(parses, 0, "statements are prepared when a connection opens");
        Ok(least)
    }
}

async fn get(client: &Client, path: &str) -> Result<()> {
    let (status, body) = client.send(Method::GET, path, None).await?;
    anyhow::ensure!(status == StatusCode::OK, "{status} {body}");
    Ok(())
}

#[tokio::test]
async fn sign_in_costs_two_round_trips_and_every_other_hot_interaction_one() -> Result<()> {
    let counted = Counted::start().await?;
    let site = &counted.site;
    let agent = site.agent("london", 64).await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (_, session) = admin.launch(&desktop, "london", "first").await?;
    let session = session["id"].as_str().unwrap_or_default().to_owned();
    agent.say(&session, 1, Observation::Running).await?;

    let sign_in = counted.cost(async || site.anonymous().sign_in("admin", PASSWORD).await.map(drop)).await?;
    assert_eq!(sign_in, 2, "sign in");
    for path in [
        "/api/v1/sessions".to_owned(),
        format!("/api/v1/sessions/{session}"),
        "/api/v1/workspaces".to_owned(),
        "/api/v1/zones".to_owned(),
        "/api/v1/auth/me".to_owned(),
    ] {
        get(&admin, &path).await?;
        assert_eq!(counted.cost(async || get(&admin, &path).await).await?, 1, "{path}");
    }
    let mut number = 0;
    let launch = counted
        .cost(async || {
            number += 1;
            let (status, body) = admin.launch(&desktop, "london", &format!("key {number}")).await?;
            anyhow::ensure!(status == StatusCode::CREATED, "{body}");
            Ok(())
        })
        .await?;
    assert_eq!(launch, 1, "launch");
    let connect = format!("/api/v1/sessions/{session}/connect");
    let cost = counted
        .cost(async || {
            let (status, body) =
                admin.send(Method::POST, &connect, Some(json!({"transport": "binary"}))).await?;
            anyhow::ensure!(status == StatusCode::OK, "{body}");
            Ok(())
        })
        .await?;
    assert_eq!(cost, 1, "connect");

    let proxy = FakeProxy::enroll(site).await?;
    let cost = counted.cost(async || proxy.authorize(&admin, &connect).await.map(drop)).await?;
    // Each try also connects, to get its ticket: one for that, one for the proxy's question.
    assert_eq!(cost, 2, "connect and authorize");

    let (grace, path) = (site.user("grace").await?, format!("/api/v1/sessions/{session}/watches"));
    admin.send(Method::PUT, "/api/v1/groups/Administrators/members/grace", None).await?;
    let (_, watch) = grace.send(Method::POST, &path, Some(json!({"reason": "a look"}))).await?;
    let path = format!("{path}/{}", watch["id"].as_str().unwrap_or_default());
    let allow = Some(json!({"answer": "allow"}));
    admin.send(Method::POST, &format!("{path}/answer"), allow).await?;
    let connect = format!("{path}/connect");
    let cost = counted
        .cost(async || {
            let (status, body) = grace.send(Method::POST, &connect, None).await?;
            anyhow::ensure!(status == StatusCode::OK, "{body}");
            let ticket = body["protocols"][1].as_str().and_then(|text| text.strip_prefix("meridian.ticket."));
            let (status, body) = proxy.ask(ticket.unwrap_or_default(), &"0".repeat(32)).await?;
            anyhow::ensure!(status == StatusCode::OK, "{body}");
            Ok(())
        })
        .await?;
    assert_eq!(cost, 2, "connect and authorize to look on");
    Ok(())
}

#[tokio::test]
async fn a_ticket_opens_one_stream_and_a_repeated_question_gets_its_first_answer() -> Result<()> {
    let site = Site::start().await?;
    site.agent("london", 4).await?;
    site.agent("virginia", 4).await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let launch = async |zone: &str| -> Result<String> {
        let (_, session) = admin.launch(&desktop, zone, zone).await?;
        Ok(format!("/api/v1/sessions/{}", session["id"].as_str().unwrap_or_default()))
    };
    let (here, there) = (launch("london").await?, launch("virginia").await?);
    let proxy = FakeProxy::enroll(&site).await?;
    let ticket = proxy.ticket(&admin, &format!("{here}/connect")).await?;
    let first = proxy.ask(&ticket, &"a".repeat(32)).await?;
    assert_eq!(first.0, StatusCode::OK, "{}", first.1);
    assert_eq!(proxy.ask(&ticket, &"a".repeat(32)).await?, first, "a lost answer burns no ticket");
    let code =
        |answer: &(StatusCode, serde_json::Value)| answer.1["error"]["code"].as_str().map(str::to_owned);
    let reused = proxy.ask(&ticket, &"b".repeat(32)).await?;
    assert_eq!((reused.0, code(&reused).as_deref()), (StatusCode::CONFLICT, Some("ticket_used")));
    let foreign = proxy.ticket(&admin, &format!("{there}/connect")).await?;
    let foreign = proxy.ask(&foreign, &"c".repeat(32)).await?;
    assert_eq!((foreign.0, code(&foreign).as_deref()), (StatusCode::FORBIDDEN, Some("bad_ticket")));
    let ticket = proxy.ticket(&admin, &format!("{here}/connect")).await?;
    admin.send(Method::DELETE, &here, None).await?;
    let ended = proxy.ask(&ticket, &"d".repeat(32)).await?;
    assert_eq!((ended.0, code(&ended).as_deref()), (StatusCode::CONFLICT, Some("session_not_live")));
    // A call signed with another key is not the proxy's.
    let thief = FakeProxy { key: NodeKey::generate()?.into(), ..proxy };
    let stolen = thief.ask(&ticket, &"e".repeat(32)).await?;
    assert_eq!((stolen.0, code(&stolen).as_deref()), (StatusCode::UNAUTHORIZED, Some("bad_signature")));
    Ok(())
}

#[tokio::test]
async fn an_answer_lost_after_commit_and_retried_launches_once() -> Result<()> {
    let counted = Counted::start().await?;
    let site = &counted.site;
    site.agent("london", 4).await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    counted.wire.lose_next_answer();
    // Whoever loses the answer, a job or the launch: the caller repeats until it knows, with the same key.
    let launched = wait_for("the launch to be answered", Duration::from_secs(20), async || {
        match admin.launch(&desktop, "london", "key").await {
            Ok((StatusCode::CREATED, session)) => Ok(session),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let (_, list) = admin.send(Method::GET, "/api/v1/sessions", None).await?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{launched} {list}");
    assert_eq!(site.store().audit_counters().await?, 0);
    Ok(())
}

#[tokio::test]
async fn without_its_database_the_web_app_says_so_and_recovers_by_itself() -> Result<()> {
    let counted = Counted::start().await?;
    let site = &counted.site;
    let admin = site.admin().await?;
    counted.wire.refuse().await?;
    counted.wire.cut();
    let (status, body) = admin.send(Method::GET, "/api/__healthcheck", None).await?;
    assert_eq!((status, body["ok"].as_bool()), (StatusCode::SERVICE_UNAVAILABLE, Some(false)));
    assert!(!body.to_string().contains("true"), "{body}");
    for (method, path, sent) in [
        (Method::POST, "/api/v1/auth/login", Some(json!({"username": "admin", "password": PASSWORD}))),
        (Method::GET, "/api/v1/sessions", None),
    ] {
        let (status, body) = admin.send(method, path, sent).await?;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert_eq!(body["error"]["hop"], "database", "{body}");
        assert!(body["error"]["hint"].as_str().is_some_and(|hint| hint.contains("again")), "{body}");
    }
    counted.wire.accept().await?;
    wait_for("the Web App to reach its database again", Duration::from_secs(10), async || {
        match admin.send(Method::GET, "/api/v1/sessions", None).await {
            Ok((StatusCode::OK, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_connection_that_went_silent_is_given_up() -> Result<()> {
    let database = support::database().await?;
    let wire = WireProxy::on_unix(&database.config(), &Tasks::new()).await?;
    let store = meridian_control::store::Store::new(wire.config(), 1, Duration::from_secs(2))?;
    store.ping().await?;
    let before = wire.counts().connections;
    wire.stall();
    assert!(store.ping().await.is_err());
    wire.resume();
    store.ping().await?;
    assert_eq!(wire.counts().connections, before + 1);
    Ok(())
}

#[tokio::test]
async fn rubbish_asks_the_database_nothing() -> Result<()> {
    let counted = Counted::start().await?;
    let site = &counted.site;
    site.agent("london", 4).await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (_, session) = admin.launch(&desktop, "london", "one").await?;
    let connect = format!("/api/v1/sessions/{}/connect", session["id"].as_str().unwrap_or_default());
    let proxy = FakeProxy::enroll(site).await?;
    let ticket = proxy.ticket(&admin, &connect).await?;
    let (body, _) = ticket.rsplit_once('.').unwrap_or_default();
    let bad = format!("{body}.{}", "A".repeat(86));
    let unknown = FakeProxy {
        name: meridian_identity::NodeName { node: meridian_ids::NodeId::generate(), ..proxy.name },
        key: NodeKey::generate()?.into(),
        client: proxy.client.clone(),
    };
    for asker in [&proxy, &unknown] {
        let cost = counted
            .cost(async || {
                let (status, answer) = asker.ask(&bad, &"a".repeat(32)).await?;
                anyhow::ensure!(
                    status == StatusCode::FORBIDDEN && answer["error"]["code"] == "bad_ticket",
                    "{status} {answer}"
                );
                Ok(())
            })
            .await?;
        assert_eq!(cost, 0, "a bad ticket");
    }
    // Nor is the key of a known proxy looked up again and again for calls that somebody else signed.
    let thief = FakeProxy { key: NodeKey::generate()?.into(), ..proxy };
    thief.ask(&ticket, &"b".repeat(32)).await?;
    let cost = counted
        .cost(async || {
            let (status, _) = thief.ask(&ticket, &"b".repeat(32)).await?;
            anyhow::ensure!(status == StatusCode::UNAUTHORIZED, "{status}");
            Ok(())
        })
        .await?;
    assert_eq!(cost, 0, "a forged call");
    Ok(())
}

#[tokio::test]
async fn an_outage_of_the_database_is_not_taken_for_an_agents_silence() -> Result<()> {
    let began = std::time::Instant::now();
    let counted = Counted::start().await?;
    let site = &counted.site;
    let agent = site.agent("london", 4).await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (_, session) = admin.launch(&desktop, "london", "one").await?;
    let session = session["id"].as_str().unwrap_or_default().to_owned();
    agent.say(&session, 1, Observation::Running).await?;
    let (client, connection) = site.database.superuser_config().connect(tokio_postgres::NoTls).await?;
    let connection = site.tasks.spawn("test connection", async move { drop(connection.await) });
    client
        .execute("UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE role = 'agent'", &[])
        .await?;
    drop(client);
    connection.await?;

    counted.wire.refuse().await?;
    counted.wire.cut();
    let reasons = || site.web.state.health.reasons().into_keys().collect::<Vec<_>>();
    // Long enough that the grace of the start alone would be over soon after.
    wait_for("the outage to be noticed", Duration::from_secs(20), async || {
        anyhow::ensure!(
            reasons() == ["database"] && began.elapsed() > Duration::from_secs(6),
            "{:?}",
            reasons()
        );
        Ok(())
    })
    .await?;
    counted.wire.accept().await?;
    let back = std::time::Instant::now();
    let marked = wait_for("the silence to be judged", Duration::from_secs(20), async || {
        match admin.state_of(&session).await {
            Ok(state) if state == "unreachable" => Ok(back.elapsed()),
            other => anyhow::bail!("{other:?}"),
        }
    })
    .await?;
    assert!(marked > Duration::from_secs(7), "it was judged {marked:?} after the database came back");
    assert!(reasons().is_empty(), "{:?}", reasons());
    Ok(())
}
