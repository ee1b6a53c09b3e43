//! A Web App node dies at each step of what it does, and its agent in between: somebody asks again at another node, and everything is as if nothing had
//! happened.
//!
//! To PostgreSQL a node that dies is a connection that ends. A change asks the database several times: who the caller is, which thing a name means,
//! then for the change itself. So a node dies here before its first statement, and then after each of them was carried out and before its answer was
//! read, one after the other, until it lives to say what it did.

mod support;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_harness::{WireProxy, wait_for};
use meridian_runtime::Tasks;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    Another, Client, Site, web_settings,
    world::{SimulatedAgent, judge_books},
};

const STOP_LIMIT: Duration = Duration::from_secs(10);
const MOST_TURNS: u64 = 40;
/// So many looks one after the other at which a node has asked nothing more.
const QUIET_LOOKS: u32 = 5;

/// When the node dies: before its first statement, or after `at` - 1 others were answered and the next was carried out.
#[derive(Clone, Copy)]
struct Step {
    /// Each has things of its own, by this number.
    turn: u64,
    at: u64,
}

/// What a node's death at one step left behind, and what came of asking again.
struct Died {
    /// It lived: the step is beyond its last.
    answered: bool,
    /// Whether its change was there before anybody asked again.
    made: bool,
    /// The other node's answer.
    body: Value,
}

/// A deployment, in which one Web App node after the other dies.
struct Stage {
    site: Site,
    sql: tokio_postgres::Client,
    admin: Client,
    desktop: String,
}

impl Stage {
    async fn start() -> Result<Self> {
        let site = Site::start().await?;
        let (sql, admin) = (site.sql().await?, site.admin().await?);
        let desktop = site.workspace(&admin, "Desktop").await?;
        sql.batch_execute(
            r#"UPDATE groups SET settings = '{"session_limit": 100}' WHERE system = 'everyone'"#,
        )
        .await?;
        Ok(Self { site, sql, admin, desktop })
    }

    async fn agent(&self) -> Result<SimulatedAgent> {
        Ok(SimulatedAgent::new(self.site.agent("london", 64).await?))
    }

    /// Has a node die over a request at this step, then asks the other one until the answer is good. `made` counts what the request makes.
    async fn die_over(
        &self,
        step: Step,
        made: &str,
        request: impl AsyncFn(&Client) -> Result<(StatusCode, Value)>,
    ) -> Result<Died> {
        let wire = WireProxy::on_unix(&self.site.database.config(), &Tasks::new()).await?;
        let name = format!("doomed-{}", step.turn);
        let doomed = Another::start(web_settings(self.site.folder.path(), &name)?, wire.config()).await?;
        let at_doomed = self.admin.at(&doomed.web);
        // Its connections are warm, as those of a node at work.
        ensure!(
            at_doomed.send(Method::GET, "/api/v1/zones", None).await?.0 == StatusCode::OK,
            "the node works"
        );
        // What it asks for itself at its start is over, and is not taken for the request's.
        let (mut last, mut looks) = (0, 0);
        wait_for("a node with nothing to do", STOP_LIMIT, async || {
            let ready = wire.counts().ready;
            looks = if ready == last { looks + 1 } else { 0 };
            last = ready;
            if looks < QUIET_LOOKS { Err(ready) } else { Ok(()) }
        })
        .await?;
        if step.at == 0 {
            wire.refuse().await?;
            wire.cut();
        } else {
            wire.lose_answers_after(step.at - 1);
        }
        let answered = request(&at_doomed).await.is_ok_and(|(status, _)| status.is_success());
        ensure!(step.at > 0 || !answered, "a node without its database answered");
        wire.stop();
        doomed.tasks.stop(STOP_LIMIT).await;
        let made = self.number(made).await? > 0;
        ensure!(made || !answered, "a node said that it did what it did not");
        judge_books(&self.sql).await?;
        let (status, body) = request(&self.admin).await?;
        ensure!(status.is_success(), "asked again, the other node says {status} {body}");
        judge_books(&self.sql).await?;
        Ok(Died { answered, made, body })
    }

    /// Launches at this node. The agents are heard of, however slow this machine is.
    async fn launch(&self, client: &Client, key: &str) -> Result<(StatusCode, Value)> {
        self.sql.batch_execute("UPDATE nodes SET last_seen_at = now() WHERE role = 'agent'").await?;
        client.launch(&self.desktop, "london", key).await
    }

    /// What a session's user is offered because of a move.
    async fn offer(&self, session: &str) -> Result<Value> {
        let path = format!("/api/v1/sessions/{session}");
        Ok(self.admin.send(Method::GET, &path, None).await?.1["relaunch"].clone())
    }

    async fn number(&self, query: &str) -> Result<i64> {
        Ok(self.sql.query_one(query, &[]).await?.get(0))
    }

    /// The agent dies after it has heard its orders and before it has said so, and comes back with what is on its disk.
    async fn agent_dies_and_returns(&self, agent: &mut SimulatedAgent) -> Result<()> {
        agent.beat(&self.site.web).await?;
        self.sql
            .execute("UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE role = 'agent'", &[])
            .await?;
        self.site.store().mark_unreachable().await?;
        judge_books(&self.sql).await?;
        self.rounds(agent).await?;
        judge_books(&self.sql).await
    }

    /// An order, its doing, its saying.
    async fn rounds(&self, agent: &mut SimulatedAgent) -> Result<()> {
        for _ in 0..3 {
            agent.beat(&self.site.web).await?;
        }
        Ok(())
    }
}

/// Plays a change with the node dying at one step after the other, and from the first on again, until it has died with the change unmade, has died with
/// the change made and unsaid, and lived. A statement of the node's own may come between at one step, and not the next time.
async fn at_every_step(play: impl AsyncFn(Step) -> Result<Died>) -> Result<()> {
    let (mut unmade, mut unsaid, mut at) = (false, false, 0);
    for turn in 0..MOST_TURNS {
        let died = play(Step { turn, at }).await.with_context(|| format!("at step {at}"))?;
        unmade |= !died.made;
        unsaid |= died.made && !died.answered;
        if died.answered && unmade && unsaid {
            return Ok(());
        }
        at = if died.answered { 1 } else { at + 1 };
    }
    anyhow::bail!("in {MOST_TURNS} turns: died with the change unmade: {unmade}, made and unsaid: {unsaid}")
}

/// Asked a second time it is done already, and says so in its way.
fn or_already((status, body): (StatusCode, Value), already: StatusCode) -> (StatusCode, Value) {
    (if status == already { StatusCode::OK } else { status }, body)
}

fn id(body: &Value) -> Result<String> {
    Ok(body["id"].as_str().with_context(|| format!("no id in {body}"))?.to_owned())
}

#[tokio::test]
async fn a_node_that_dies_over_a_launch_and_an_agent_that_dies_over_the_order_leave_one_session() -> Result<()>
{
    let stage = Stage::start().await?;
    let agent = tokio::sync::Mutex::new(stage.agent().await?);
    at_every_step(async |step| {
        let key = format!("step {}", step.turn);
        let count = format!("SELECT count(*) FROM sessions WHERE idempotency_key = '{key}'");
        let launch = async |client: &Client| stage.launch(client, &key).await;
        let died = stage.die_over(step, &count, launch).await?;
        assert_eq!(stage.number(&count).await?, 1);
        let mut agent = agent.lock().await;
        stage.agent_dies_and_returns(&mut agent).await?;
        assert_eq!(stage.admin.state_of(&id(&died.body)?).await?, "running");
        assert_eq!(agent.held.len() as i64, stage.number("SELECT count(*) FROM sessions").await?);
        Ok(died)
    })
    .await
}

#[tokio::test]
async fn a_node_that_dies_over_an_end_and_an_agent_that_dies_over_the_tombstone_leave_nothing() -> Result<()>
{
    let stage = Stage::start().await?;
    let agent = tokio::sync::Mutex::new(stage.agent().await?);
    at_every_step(async |step| {
        let session = id(&stage.launch(&stage.admin, &format!("step {}", step.turn)).await?.1)?;
        let mut agent = agent.lock().await;
        stage.rounds(&mut agent).await?;
        assert_eq!(stage.admin.state_of(&session).await?, "running");
        let made = format!("SELECT count(*) FROM sessions WHERE id = '{session}' AND state = 'ending'");
        let path = format!("/api/v1/sessions/{session}");
        let died = stage
            .die_over(step, &made, async |client| client.send(Method::DELETE, &path, None).await)
            .await?;
        assert_eq!(stage.number(&made).await?, 1);
        stage.agent_dies_and_returns(&mut agent).await?;
        assert_eq!(stage.admin.state_of(&session).await?, "ended");
        assert!(agent.held.values().all(|held| held.observation == Observation::Gone));
        assert_eq!(stage.number("SELECT sum(sessions_used)::bigint FROM nodes").await?, 0);
        let told = "SELECT count(*) FROM audit WHERE action = 'end_session' AND target =";
        assert_eq!(stage.number(&format!("{told} '{session}'")).await?, 1, "written down once");
        Ok(died)
    })
    .await
}

#[tokio::test]
async fn a_node_that_dies_over_a_removal_leaves_no_half_removed_agent() -> Result<()> {
    let stage = Stage::start().await?;
    at_every_step(async |step| {
        let mut agent = stage.agent().await?;
        let session = id(&stage.launch(&stage.admin, &format!("step {}", step.turn)).await?.1)?;
        agent.beat(&stage.site.web).await?;
        stage
            .sql
            .execute("UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE role = 'agent'", &[])
            .await?;
        let node = agent.fake.node;
        let made = format!("SELECT count(*) FROM nodes WHERE id = '{node}' AND removed_at IS NOT NULL");
        let path = format!("/api/v1/nodes/{node}/remove");
        let removal = async |client: &Client| {
            Ok(or_already(client.send(Method::POST, &path, None).await?, StatusCode::NOT_FOUND))
        };
        let died = stage.die_over(step, &made, removal).await?;
        assert_eq!((stage.admin.state_of(&session).await?.as_str(), stage.number(&made).await?), ("lost", 1));
        assert!(!agent.beat(&stage.site.web).await?, "who was removed is told so");
        Ok(died)
    })
    .await
}

#[tokio::test]
async fn a_node_that_dies_over_an_accounts_deletion_leaves_no_session_of_nobody() -> Result<()> {
    let stage = Stage::start().await?;
    let agent = tokio::sync::Mutex::new(stage.agent().await?);
    at_every_step(async |step| {
        let name = format!("ada-{}", step.turn);
        let user = stage.site.user(&name).await?;
        let session = id(&stage.launch(&user, "one").await?.1)?;
        let mut agent = agent.lock().await;
        agent.beat(&stage.site.web).await?;
        let made = format!("SELECT count(*) FROM sessions WHERE id = '{session}' AND desired = 'end'");
        let path = format!("/api/v1/users/{name}?end_sessions=true");
        let deletion = async |client: &Client| {
            Ok(or_already(client.send(Method::DELETE, &path, None).await?, StatusCode::NOT_FOUND))
        };
        let died = stage.die_over(step, &made, deletion).await?;
        stage.rounds(&mut agent).await?;
        assert_eq!(
            stage
                .number(&format!("SELECT count(*) FROM sessions WHERE id = '{session}' AND state = 'ended'"))
                .await?,
            1
        );
        judge_books(&stage.sql).await?;
        Ok(died)
    })
    .await
}

#[tokio::test]
async fn a_node_that_dies_over_a_zone_leaves_it_made_once() -> Result<()> {
    let stage = Stage::start().await?;
    at_every_step(async |step| {
        let zone = json!({"zone_name": format!("paris-{}", step.turn), "alternate_zones": ["london"]});
        let made =
            format!("SELECT count(*) FROM zones WHERE name = 'paris-{}' AND alternates <> '{{}}'", step.turn);
        // Asked a second time the name is taken, by the zone that is wanted.
        let creation = async |client: &Client| {
            let answer = client.send(Method::POST, "/api/v1/zones", Some(zone.clone())).await?;
            Ok(or_already(answer, StatusCode::CONFLICT))
        };
        let died = stage.die_over(step, &made, creation).await?;
        assert_eq!(stage.number(&made).await?, 1);
        Ok(died)
    })
    .await
}

#[tokio::test]
async fn a_node_that_dies_over_a_zones_deletion_leaves_nothing_of_it() -> Result<()> {
    let stage = Stage::start().await?;
    at_every_step(async |step| {
        let name = format!("paris-{}", step.turn);
        let (status, body) =
            stage.admin.send(Method::POST, "/api/v1/zones", Some(json!({"zone_name": name}))).await?;
        ensure!(status == StatusCode::CREATED, "{body}");
        let alternates = json!({"search_alternate_zones": true, "alternate_zones": [name]});
        let (status, body) =
            stage.admin.send(Method::PATCH, "/api/v1/zones/london", Some(alternates)).await?;
        ensure!(status == StatusCode::OK, "{body}");
        stage.site.agent(&name, 4).await?;
        let (status, session) = stage.admin.launch(&stage.desktop, &name, &name).await?;
        ensure!(status == StatusCode::CREATED, "{session}");
        stage
            .sql
            .execute("UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE role = 'agent'", &[])
            .await?;
        let made = format!(
            "SELECT 1::bigint WHERE NOT EXISTS (SELECT 1 FROM zones WHERE name = '{name}')
             UNION ALL SELECT 0 LIMIT 1"
        );
        let path = format!("/api/v1/zones/{name}");
        let deletion = async |client: &Client| {
            Ok(or_already(client.send(Method::DELETE, &path, None).await?, StatusCode::NOT_FOUND))
        };
        let died = stage.die_over(step, &made, deletion).await?;
        assert_eq!(stage.number(&made).await?, 1);
        let named = "SELECT count(*) FROM zones WHERE name = 'london' AND alternates <> '{}'";
        assert_eq!(stage.number(named).await?, 0, "nobody's alternate is a zone that is gone");
        assert_eq!(stage.admin.state_of(&id(&session)?).await?, "lost");
        let there = "SELECT count(*) FROM nodes WHERE role = 'agent' AND removed_at IS NULL";
        assert_eq!(stage.number(there).await?, 0);
        Ok(died)
    })
    .await
}

#[tokio::test]
async fn a_node_that_dies_over_a_move_leaves_one_that_can_be_undone() -> Result<()> {
    let stage = Stage::start().await?;
    stage.agent().await?;
    at_every_step(async |step| {
        let name = format!("ada-{}", step.turn);
        let session = id(&stage.launch(&stage.site.user(&name).await?, "one").await?.1)?;
        let movement = json!({"user": name, "to": "virginia"});
        let home = home_in_virginia(&name);
        let moving = async |client: &Client| {
            client.send(Method::POST, "/api/v1/reassignments", Some(movement.clone())).await
        };
        let died = stage.die_over(step, &home, moving).await?;
        assert_eq!(stage.number(&home).await?, 1);
        assert_eq!(stage.offer(&session).await?["zone"], "virginia");
        // Whoever asked twice has one move or two, and takes back each.
        let (_, moves) = stage.admin.send(Method::GET, "/api/v1/reassignments", None).await?;
        for made in moves["items"].as_array().into_iter().flatten() {
            let path = format!("/api/v1/reassignments/{}/undo", id(made)?);
            let (status, body) = stage.admin.send(Method::POST, &path, None).await?;
            ensure!(status == StatusCode::OK, "{body}");
        }
        assert_eq!(stage.number(&home).await?, 0, "{moves}");
        assert_eq!(stage.offer(&session).await?, Value::Null);
        Ok(died)
    })
    .await
}

#[tokio::test]
async fn a_node_that_dies_over_a_moves_undoing_leaves_it_undone_once() -> Result<()> {
    let stage = Stage::start().await?;
    stage.agent().await?;
    at_every_step(async |step| {
        let name = format!("ada-{}", step.turn);
        let session = id(&stage.launch(&stage.site.user(&name).await?, "one").await?.1)?;
        let movement = json!({"user": name, "to": "virginia"});
        let made = id(&stage.admin.send(Method::POST, "/api/v1/reassignments", Some(movement)).await?.1)?;
        let undone =
            format!("SELECT count(*) FROM reassignments WHERE id = '{made}' AND undone_at IS NOT NULL");
        let path = format!("/api/v1/reassignments/{made}/undo");
        let died = stage
            .die_over(step, &undone, async |client| client.send(Method::POST, &path, None).await)
            .await?;
        assert_eq!(stage.number(&home_in_virginia(&name)).await?, 0);
        assert_eq!(stage.offer(&session).await?, Value::Null);
        Ok(died)
    })
    .await
}

fn home_in_virginia(user: &str) -> String {
    format!(
        "SELECT count(*) FROM users u, zones z WHERE u.name = '{user}' AND z.name = 'virginia'
         AND policy_v1(u)->>'home_zone' = z.id::text"
    )
}
