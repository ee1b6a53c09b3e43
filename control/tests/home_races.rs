//! Homes while their machine is removed: beside a launch that they pin to it, a reset, a release by force, the deletion of their user. Whoever
//! comes first, no home ever has two writers, and nothing is left that nobody would remove.

mod support;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use meridian_control::Web;
use meridian_ids::Uuid;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    Another, Client, FakeAgent, Site,
    homes::{end, homes, id, keeping, launch},
    world::judge_books,
};

const STORAGE: &str = "/srv/homes";
/// Each begins anew, and its requests reach the database in another order.
const ROUNDS: usize = 12;

/// What is asked for at once, each at one of two Web App nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    RemoveAgent,
    Launch,
    Reset,
    Release,
    DeleteGone,
    DeleteUser,
}

struct Stage {
    site: Site,
    other: Another,
    sql: tokio_postgres::Client,
    admin: Client,
    desktop: String,
}

impl Stage {
    async fn start() -> Result<Self> {
        let site = keeping().await?;
        let (other, sql, admin) = (site.another("web-2").await?, site.sql().await?, site.admin().await?);
        let desktop = site.workspace(&admin, "Desktop").await?;
        Ok(Self { site, other, sql, admin, desktop })
    }

    fn web(&self, number: usize) -> &Web {
        if number.is_multiple_of(2) { &self.site.web } else { &self.other.web }
    }

    async fn agent(&self, shared: bool) -> Result<FakeAgent> {
        let mut agent = self.site.agent("london", 8).await?;
        agent.shared_homes = shared.then(|| STORAGE.into());
        agent.report(Vec::new()).await?;
        Ok(agent)
    }

    /// Whoever says nothing any more: their machine may be dead.
    async fn silence(&self, agent: &FakeAgent) -> Result<()> {
        let silent = "UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE id = $1";
        self.sql.execute(silent, &[&agent.node.0]).await?;
        self.site.store().mark_unreachable().await?;
        Ok(())
    }

    /// Somebody whose desktop runs there, with a home that it keeps.
    async fn settled(&self, name: &str, agent: &FakeAgent) -> Result<(Client, String, String)> {
        let user = self.site.user(name).await?;
        let (status, session) = launch(&user, &self.desktop, json!({"zone": "london"})).await?;
        ensure!(status == StatusCode::CREATED, "{session}");
        agent.say(&id(&session), 1, Observation::Running).await?;
        let home = homes(&user).await?.first().map(id).context("no home")?;
        Ok((user, id(&session), home))
    }

    async fn ask(&self, what: Ask, at: usize, about: &(Client, String, String), agent: Uuid) -> Result<()> {
        let (user, _, home) = about;
        let (admin, user) = (self.admin.at(self.web(at)), user.at(self.web(at)));
        let (status, body) = match what {
            Ask::RemoveAgent => {
                admin.send(Method::POST, &format!("/api/v1/nodes/{agent}/remove"), None).await?
            }
            Ask::Launch => launch(&user, &self.desktop, json!({})).await?,
            Ask::Reset => user.send(Method::DELETE, &format!("/api/v1/homes/{home}"), None).await?,
            Ask::Release => {
                let force = Some(json!({"force": true}));
                admin.send(Method::POST, &format!("/api/v1/homes/{home}/release"), force).await?
            }
            Ask::DeleteGone => admin.send(Method::DELETE, "/api/v1/homes", None).await?,
            Ask::DeleteUser => {
                let name: String = user.send(Method::GET, "/api/v1/auth/me", None).await?.1["id"]
                    .as_str()
                    .unwrap_or_default()
                    .into();
                admin.send(Method::DELETE, &format!("/api/v1/users/{name}?end_sessions=true"), None).await?
            }
        };
        // Refused for a reason, or done: never a fault of ours, such as two who wait for each other.
        let fits = status.is_success() || status.is_client_error() || body["error"]["code"] != Value::Null;
        ensure!(fits && status != StatusCode::INTERNAL_SERVER_ERROR, "{what:?}: {status} {body}");
        Ok(())
    }

    /// What must hold whoever came first.
    async fn judge(&self) -> Result<()> {
        judge_books(&self.sql).await?;
        // What the period sees to, whatever happened in one moment.
        self.site.store().forget_lost_homes().await?;
        for (what, query) in [
            (
                "sessions run on a machine that was removed",
                "SELECT count(*) FROM sessions s JOIN nodes n ON n.id = s.node_id
                 WHERE n.removed_at IS NOT NULL AND (s.reserved OR s.state NOT IN ('ended', 'failed', 'lost'))",
            ),
            (
                "homes wait for a machine that was removed",
                "SELECT count(*) FROM homes h JOIN nodes n ON n.id = h.node_id
                 WHERE n.removed_at IS NOT NULL AND h.reset_at IS NOT NULL AND h.storage IS NULL",
            ),
            (
                "homes on a machine belong to a session elsewhere",
                "SELECT count(*) FROM homes h JOIN sessions s ON s.id = h.session_id WHERE s.node_id <> h.node_id",
            ),
        ] {
            let count: i64 = self.sql.query_one(query, &[]).await?.get(0);
            ensure!(count == 0, "{what}: {count}");
        }
        Ok(())
    }

    /// All of them at once, in an order that differs from round to round.
    async fn at_once(
        &self,
        round: usize,
        asks: &[Ask],
        about: &(Client, String, String),
        agent: Uuid,
    ) -> Result<()> {
        let turned = (0..asks.len()).map(|index| asks[(index + round) % asks.len()]);
        try_join_all(turned.enumerate().map(|(index, ask)| self.ask(ask, round + index, about, agent)))
            .await?;
        self.judge().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_on_a_machine_that_is_removed_has_one_writer_or_none() -> Result<()> {
    let stage = Stage::start().await?;
    for round in 0..ROUNDS {
        let agent = stage.agent(false).await?;
        let about = stage.settled(&format!("user-{round}"), &agent).await?;
        // Free on a machine that answers, held on one that does not.
        if round % 3 == 2 {
            stage.silence(&agent).await?;
        } else {
            end(&about.0, &agent, &about.1).await?;
        }
        let asks: &[Ask] = match round % 2 {
            0 => &[Ask::RemoveAgent, Ask::Launch, Ask::Reset],
            _ => &[Ask::RemoveAgent, Ask::DeleteUser, Ask::DeleteGone, Ask::Reset],
        };
        stage.at_once(round, asks, &about, agent.node.0).await.with_context(|| format!("round {round}"))?;
        // Whoever is left is put away, so that each round begins with its own machine.
        stage.silence(&agent).await?;
        stage.ask(Ask::RemoveAgent, round, &about, agent.node.0).await?;
        stage.judge().await.with_context(|| format!("after round {round}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_on_storage_goes_on_with_one_writer_when_its_agent_is_removed() -> Result<()> {
    let stage = Stage::start().await?;
    let storage = json!({"home_storage": STORAGE});
    let (status, answer) = stage.admin.send(Method::PATCH, "/api/v1/zones/london", Some(storage)).await?;
    ensure!(status == StatusCode::OK, "{answer}");
    for round in 0..ROUNDS {
        let first = stage.agent(true).await?;
        let about = stage.settled(&format!("user-{round}"), &first).await?;
        let second = stage.agent(true).await?;
        stage.silence(&first).await?;
        let asks = [Ask::RemoveAgent, Ask::Launch, Ask::Release, Ask::Reset, Ask::Launch];
        stage.at_once(round, &asks, &about, first.node.0).await.with_context(|| format!("round {round}"))?;

        // In the end it is taken from whoever has it no more, and the next writer is the only one.
        ensure!(first.report(Vec::new()).await.is_err(), "the removed agent is told so");
        stage.ask(Ask::Release, round, &about, first.node.0).await?;
        second.report(Vec::new()).await?;
        stage.ask(Ask::Launch, round, &about, first.node.0).await?;
        stage.judge().await.with_context(|| format!("after round {round}"))?;
        let has = "SELECT count(*) FROM sessions s JOIN homes h ON h.session_id = s.id WHERE s.node_id = $1";
        let has: i64 = stage.sql.query_one(has, &[&second.node.0]).await?.get(0);
        ensure!(has == 1, "{has} sessions have it on the agent that is left");
        stage.silence(&second).await?;
        stage.ask(Ask::RemoveAgent, round, &about, second.node.0).await?;
    }
    Ok(())
}

/// Homes of a workspace that was deleted are cleared away while their machine is being removed: neither sees what the other does, and so nobody would
/// ever remove the home. The period finds it.
#[tokio::test]
async fn a_home_that_is_cleared_away_while_its_machine_goes_is_forgotten() -> Result<()> {
    let stage = Stage::start().await?;
    let agent = stage.agent(false).await?;
    let about = stage.settled("ada", &agent).await?;
    end(&about.0, &agent, &about.1).await?;
    let workspace = format!("/api/v1/workspaces/{}", stage.desktop);
    let (status, body) = stage.admin.send(Method::DELETE, &workspace, None).await?;
    ensure!(status == StatusCode::NO_CONTENT, "{body}");

    stage.sql.batch_execute("BEGIN").await?;
    let remove =
        "SELECT remove_node_v2($1, false, u.id, '', '')->>'outcome' FROM users u WHERE u.name = 'admin'";
    let removed: String = stage.sql.query_one(remove, &[&agent.node.0]).await?.get(0);
    ensure!(removed == "ok", "{removed}");
    let (status, cleared) = stage.admin.send(Method::DELETE, "/api/v1/homes", None).await?;
    ensure!(status == StatusCode::OK && cleared["deleted"] == 1, "{cleared}");
    stage.sql.batch_execute("COMMIT").await?;

    let left =
        async || -> Result<i64> { Ok(stage.sql.query_one("SELECT count(*) FROM homes", &[]).await?.get(0)) };
    ensure!(left().await? == 1, "the moment was not met");
    ensure!(stage.site.store().forget_lost_homes().await? == 1 && left().await? == 0, "it is still there");
    stage.judge().await
}
