//! How long sessions live: what agents say of their use, idleness, time limits, and two nodes that look after it at once.

mod support;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use meridian_harness::wait_for;
use meridian_runtime::Clock;
use meridian_wire::{Observation, ObservedSession};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, FakeAgent, FakeProxy, Site};

const LIMIT: Duration = Duration::from_secs(30);

fn now() -> Timestamp {
    Clock::system().now()
}

/// A site whose policy is `settings` for everyone, and a session that runs.
struct Life {
    site: Site,
    agent: FakeAgent,
    user: Client,
    session: String,
}

impl Life {
    async fn start() -> Result<Self> {
        let site = Site::start().await?;
        let agent = site.agent("london", 8).await?;
        let user = site.user("ada").await?;
        let desktop = site.workspace(&user, "Desktop").await?;
        let (status, launched) = user.launch(&desktop, "london", "one").await?;
        ensure!(status == StatusCode::CREATED, "{launched}");
        let session = launched["id"].as_str().unwrap_or_default().to_owned();
        let life = Self { site, agent, user, session };
        life.used_at(Some(now())).await?;
        Ok(life)
    }

    async fn decide(&self, settings: Value) -> Result<()> {
        let admin = self.site.admin().await?;
        let body = json!({"settings": settings});
        let (status, answer) = admin.send(Method::PATCH, "/api/v1/groups/Everyone", Some(body)).await?;
        ensure!(status == StatusCode::OK, "{answer}");
        Ok(())
    }

    fn running(&self, active_at: Option<Timestamp>) -> Result<ObservedSession> {
        Ok(ObservedSession {
            session_id: self.session.parse()?,
            epoch: 1,
            generation: 1,
            observation: Observation::Running,
            streams: 1,
            active_at,
        })
    }

    /// The agent says that it runs, and until when it counts as used.
    async fn used_at(&self, active_at: Option<Timestamp>) -> Result<Value> {
        self.agent.report(vec![self.running(active_at)?]).await
    }

    /// All that happened to the session happened an hour earlier.
    async fn an_hour_passes(&self) -> Result<()> {
        let client = self.site.sql().await?;
        client
            .batch_execute(
                "UPDATE session_activity SET active_at = active_at - interval '1 hour';
                 UPDATE sessions SET created_at = created_at - interval '1 hour',
                     started_at = started_at - interval '1 hour'",
            )
            .await?;
        Ok(())
    }

    async fn view(&self) -> Result<Value> {
        let path = format!("/api/v1/sessions/{}", self.session);
        Ok(self.user.send(Method::GET, &path, None).await?.1)
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        wait_for(what, LIMIT, async || {
            // Agents that are silent for long are not judged.
            self.agent.report(Vec::new()).await?;
            let view = self.view().await?;
            ensure!(wanted(&view), "{view}");
            Ok(view)
        })
        .await
    }

    async fn audited(&self, action: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/audit?action={action}");
        let (_, list) = self.site.admin().await?.send(Method::GET, &path, None).await?;
        list["items"].as_array().cloned().context("no audit")
    }

    /// What the agent is told of cut streams.
    async fn cuts(&self) -> Result<Value> {
        Ok(self.agent.report(Vec::new()).await?["settings"]["revocations"].clone())
    }
}

#[tokio::test]
async fn a_session_that_nobody_uses_loses_its_viewers_once_and_goes_on() -> Result<()> {
    let life = Life::start().await?;
    assert_eq!(life.view().await?["idle_ends_at"], Value::Null, "nothing is limited");
    life.decide(json!({"idle_timeout_s": 600})).await?;
    let view = life.view().await?;
    assert!(view["idle_ends_at"].is_string() && view["idle_action"] == "disconnect", "{view}");

    life.an_hour_passes().await?;
    let idle = life.until("it to be idle", |view| view["idle_since"].is_string()).await?;
    assert_eq!((idle["state"].as_str(), &idle["idle_ends_at"]), (Some("running"), &Value::Null), "{idle}");
    let cuts = life.cuts().await?;
    assert_eq!(
        (&cuts[0]["session_id"], &cuts[0]["because"]),
        (&json!(life.session), &json!("idle")),
        "{cuts}"
    );

    // Asked again, there is nothing more to do.
    let done = life.site.store().act_on_limits(100).await?;
    assert_eq!((done.acted, life.audited("session_idle").await?.len()), (0, 1));

    // Whoever opens it is there.
    let proxy = FakeProxy::enroll(&life.site).await?;
    let connect = format!("/api/v1/sessions/{}/connect", life.session);
    assert_eq!(proxy.authorize(&life.user, &connect).await?.0, StatusCode::OK);
    let back = life.view().await?;
    assert!(back["idle_ends_at"].is_string() && back["idle_since"].is_null(), "{back}");

    // A later cut for another reason is not taken for idleness.
    life.decide(json!({"idle_timeout_s": 600, "clipboard_out": false})).await?;
    let cuts = life.cuts().await?;
    assert_eq!((cuts.as_array().map(Vec::len), &cuts[0]["because"]), (Some(1), &Value::Null), "{cuts}");
    Ok(())
}

#[tokio::test]
async fn a_session_that_nobody_uses_ends_where_policy_says_so_and_not_while_it_is_used() -> Result<()> {
    let life = Life::start().await?;
    life.decide(json!({"idle_timeout_s": 3000, "idle_action": "end"})).await?;
    life.an_hour_passes().await?;
    life.used_at(Some(now())).await?;
    assert_eq!(life.site.store().act_on_limits(100).await?.acted, 0, "it is used");
    // The agent's answer to an hour without a key.
    life.an_hour_passes().await?;
    let ended = life.until("its end", |view| view["state"] == "ending").await?;
    assert_eq!(ended["reason"], "nobody used it for 50 minutes", "{ended}");
    let update = life.agent.report(Vec::new()).await?;
    assert_eq!(update["sessions"][0]["command"], "end", "{update}");
    assert_eq!(life.audited("session_idle").await?[0]["detail"]["follows"], "end");
    Ok(())
}

#[tokio::test]
async fn staying_starts_the_idle_time_anew_for_the_sessions_user_alone() -> Result<()> {
    let life = Life::start().await?;
    life.decide(json!({"idle_timeout_s": 4000})).await?;
    life.an_hour_passes().await?;
    let before = life.view().await?["idle_ends_at"].clone();
    let path = format!("/api/v1/sessions/{}/stay", life.session);
    let (status, view) = life.user.send(Method::POST, &path, None).await?;
    assert_eq!(status, StatusCode::OK, "{view}");
    assert!(view["idle_ends_at"].as_str() > before.as_str(), "{before} {view}");
    let other = life.site.admin().await?.send(Method::POST, &path, None).await?;
    assert_eq!(other.0, StatusCode::NOT_FOUND, "{}", other.1);
    Ok(())
}

#[tokio::test]
async fn a_session_ends_at_its_time_limit_however_it_is_used() -> Result<()> {
    let life = Life::start().await?;
    life.decide(json!({"time_limit_s": 7200})).await?;
    assert!(life.view().await?["expires_at"].is_string());
    life.an_hour_passes().await?;
    life.used_at(Some(now())).await?;
    assert_eq!(life.site.store().act_on_limits(100).await?.acted, 0, "an hour is left");
    // Policy as it is now, not as it was at the launch.
    life.decide(json!({"time_limit_s": 3600})).await?;
    let ended = life.until("its end", |view| view["state"] == "ending").await?;
    assert_eq!(ended["reason"], "it reached its time limit of 1 hour", "{ended}");
    assert_eq!(life.audited("session_expired").await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_known_to_be_idle_is_left_alone() -> Result<()> {
    let life = Life::start().await?;
    let client = life.site.sql().await?;
    client.batch_execute("UPDATE sessions SET state = 'unreachable'").await?;
    life.an_hour_passes().await?;
    life.decide(json!({"idle_timeout_s": 60, "idle_action": "end", "time_limit_s": 120})).await?;
    assert_eq!(life.site.store().act_on_limits(100).await?.acted, 0, "its agent is away");
    life.decide(json!({"idle_timeout_s": 60, "idle_action": "end", "time_limit_s": 0})).await?;
    client
        .batch_execute(
            "UPDATE nodes SET report = report - 'reports_activity' WHERE role = 'agent';
             UPDATE sessions SET state = 'running'",
        )
        .await?;
    let acted = life.site.store().act_on_limits(100).await?.acted;
    assert_eq!(acted, 0, "an agent of the release before does not say");
    life.until("the end of what is known to be idle", |view| view["state"] == "ending").await?;
    Ok(())
}

#[tokio::test]
async fn two_nodes_act_on_each_session_once() -> Result<()> {
    let life = Life::start().await?;
    let admin = life.site.admin().await?;
    let desktop = life.site.workspace(&admin, "Desktop").await?;
    let mut seen = vec![life.running(Some(now()))?];
    for number in 0..8 {
        let (status, launched) = admin.launch(&desktop, "london", &format!("key {number}")).await?;
        ensure!(status == StatusCode::CREATED, "{launched}");
        let session_id = launched["id"].as_str().unwrap_or_default().parse()?;
        seen.push(ObservedSession { session_id, ..seen[0].clone() });
    }
    life.agent.report(seen).await?;
    life.an_hour_passes().await?;
    let another = life.site.another("web-2").await?;
    life.decide(json!({"idle_timeout_s": 60})).await?;
    let (first, second) = (life.site.store(), &another.web.state.store);
    wait_for("all to be idle", LIMIT, async || {
        let (one, two) = tokio::join!(first.act_on_limits(100), second.act_on_limits(100));
        one?;
        two?;
        ensure!(life.audited("session_idle").await?.len() >= 9, "not all yet");
        Ok(())
    })
    .await?;
    let (one, two) = tokio::join!(first.act_on_limits(100), second.act_on_limits(100));
    assert_eq!((one?.acted, two?.acted, life.audited("session_idle").await?.len()), (0, 0, 9));
    another.tasks.stop(Duration::from_secs(10)).await;
    Ok(())
}

#[tokio::test]
async fn sessions_that_nobody_uses_cost_no_write() -> Result<()> {
    let life = Life::start().await?;
    let client = life.site.sql().await?;
    let marks = async || -> Result<Vec<String>> {
        let rows = "SELECT 'session ' || xmin || ' ' || xmax || ' ' || ctid FROM sessions
            UNION ALL SELECT 'activity ' || xmin || ' ' || xmax || ' ' || ctid FROM session_activity ORDER BY 1";
        Ok(client.query(rows, &[]).await?.iter().map(|row| row.get(0)).collect())
    };
    let used = now();
    life.used_at(Some(used)).await?;
    let before = marks().await?;
    ensure!(before.len() == 2, "{before:?}");
    for _ in 0..3 {
        life.used_at(Some(used)).await?;
    }
    assert_eq!(marks().await?, before);
    life.used_at(Some(used + jiff::SignedDuration::from_secs(15))).await?;
    assert_ne!(marks().await?, before, "used again");
    Ok(())
}
