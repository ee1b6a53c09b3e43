//! A Web App node dies at each step of what it does, and its agent in between: somebody asks again at another node, and everything is as if nothing had
//! happened.
//!
//! To PostgreSQL a node that dies is a connection that ends: before its statement came, or after it was carried out and before the answer
//! was read. Each change is one statement, so there is no third moment.

mod support;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_harness::WireProxy;
use meridian_runtime::Tasks;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    Another, Client, Site, web_settings,
    world::{SimulatedAgent, judge_books},
};

const STOP_LIMIT: Duration = Duration::from_secs(10);

/// When the node dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    BeforeItsStatement,
    BeforeItsAnswer,
}

impl Death {
    const ALL: [Self; 2] = [Self::BeforeItsStatement, Self::BeforeItsAnswer];
}

/// A deployment, and a second Web App node that is to die.
struct Stage {
    site: Site,
    sql: tokio_postgres::Client,
    admin: Client,
    agent: SimulatedAgent,
    desktop: String,
}

impl Stage {
    async fn start() -> Result<Self> {
        let site = Site::start().await?;
        let (sql, admin) = (site.sql().await?, site.admin().await?);
        let agent = SimulatedAgent::new(site.agent("london", 4).await?);
        let desktop = site.workspace(&admin, "Desktop").await?;
        Ok(Self { site, sql, admin, agent, desktop })
    }

    /// Has a node die over a request, then asks the other one until the answer is good.
    async fn die_over(
        &self,
        death: Death,
        name: &str,
        request: impl AsyncFn(&Client) -> Result<(StatusCode, Value)>,
    ) -> Result<Value> {
        let wire = WireProxy::on_unix(&self.site.database.config(), &Tasks::new()).await?;
        let doomed = Another::start(web_settings(self.site.folder.path(), name)?, wire.config()).await?;
        let at_doomed = self.admin.at(&doomed.web);
        // Its connections are warm, as those of a node at work.
        ensure!(
            at_doomed.send(Method::GET, "/api/v1/zones", None).await?.0 == StatusCode::OK,
            "the node works"
        );
        match death {
            Death::BeforeItsStatement => {
                wire.refuse().await?;
                wire.cut();
            }
            Death::BeforeItsAnswer => wire.lose_next_answer(),
        }
        let unanswered = request(&at_doomed).await;
        if matches!(death, Death::BeforeItsStatement) {
            ensure!(
                !unanswered.is_ok_and(|(status, _)| status.is_success()),
                "a node without its database answered"
            );
        }
        wire.stop();
        doomed.tasks.stop(STOP_LIMIT).await;
        let (status, body) = request(&self.admin).await?;
        ensure!(status.is_success(), "asked again, the other node says {status} {body}");
        judge_books(&self.sql).await?;
        Ok(body)
    }

    async fn number(&self, query: &str) -> Result<i64> {
        Ok(self.sql.query_one(query, &[]).await?.get(0))
    }

    async fn states(&self) -> Result<Vec<String>> {
        let rows = self.sql.query("SELECT state FROM sessions ORDER BY id", &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The agent dies after it has heard its orders and before it has said so, and comes back with what is on its disk.
    async fn agent_dies_and_returns(&mut self) -> Result<()> {
        self.agent.beat(&self.site.web).await?;
        self.sql
            .execute("UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE role = 'agent'", &[])
            .await?;
        self.site.store().mark_unreachable().await?;
        judge_books(&self.sql).await?;
        for _ in 0..3 {
            self.agent.beat(&self.site.web).await?;
        }
        judge_books(&self.sql).await
    }
}

#[tokio::test]
async fn a_node_that_dies_over_a_launch_and_an_agent_that_dies_over_the_order_leave_one_session() -> Result<()>
{
    for death in Death::ALL {
        let mut stage = Stage::start().await?;
        let desktop = stage.desktop.clone();
        let session = stage
            .die_over(death, "doomed", async |client| client.launch(&desktop, "london", "one").await)
            .await?;
        assert_eq!(stage.number("SELECT count(*) FROM sessions").await?, 1, "{death:?}: {session}");
        stage.agent_dies_and_returns().await?;
        assert_eq!(stage.states().await?, ["running"], "{death:?}");
        assert_eq!(stage.agent.held.len(), 1, "{death:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_node_that_dies_over_an_end_and_an_agent_that_dies_over_the_tombstone_leave_nothing() -> Result<()>
{
    for death in Death::ALL {
        let mut stage = Stage::start().await?;
        let (_, session) = stage.admin.launch(&stage.desktop, "london", "one").await?;
        for _ in 0..3 {
            stage.agent.beat(&stage.site.web).await?;
        }
        assert_eq!(stage.states().await?, ["running"]);
        let path = format!("/api/v1/sessions/{}", session["id"].as_str().context("an id")?);
        stage
            .die_over(death, "doomed", async |client| client.send(Method::DELETE, &path, None).await)
            .await?;
        assert_eq!(stage.states().await?, ["ending"], "{death:?}");
        stage.agent_dies_and_returns().await?;
        assert_eq!(stage.states().await?, ["ended"], "{death:?}");
        assert!(stage.agent.held.values().all(|held| held.observation == Observation::Gone), "{death:?}");
        assert_eq!(stage.number("SELECT sum(sessions_used)::bigint FROM nodes").await?, 0, "{death:?}");
        assert_eq!(
            stage.number("SELECT count(*) FROM audit WHERE action = 'end_session'").await?,
            1,
            "{death:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_node_that_dies_over_a_removal_leaves_no_half_removed_agent() -> Result<()> {
    for death in Death::ALL {
        let mut stage = Stage::start().await?;
        stage.admin.launch(&stage.desktop, "london", "one").await?;
        stage.agent.beat(&stage.site.web).await?;
        stage
            .sql
            .execute("UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE role = 'agent'", &[])
            .await?;
        let path = format!("/api/v1/nodes/{}/remove", stage.agent.fake.node);
        // Asked a second time it is gone already, which is as good.
        let removal = async |client: &Client| -> Result<(StatusCode, Value)> {
            let (status, body) = client.send(Method::POST, &path, None).await?;
            Ok((if status == StatusCode::NOT_FOUND { StatusCode::OK } else { status }, body))
        };
        stage.die_over(death, "doomed", removal).await?;
        assert_eq!(stage.states().await?, ["lost"], "{death:?}");
        assert_eq!(
            stage.number("SELECT count(*) FROM nodes WHERE role = 'agent' AND removed_at IS NULL").await?,
            0
        );
        assert!(!stage.agent.beat(&stage.site.web).await?, "{death:?}: who was removed is told so");
    }
    Ok(())
}

#[tokio::test]
async fn a_node_that_dies_over_an_accounts_deletion_leaves_no_session_of_nobody() -> Result<()> {
    for death in Death::ALL {
        let mut stage = Stage::start().await?;
        let user = stage.site.user("ada").await?;
        user.launch(&stage.desktop, "london", "one").await?;
        stage.agent.beat(&stage.site.web).await?;
        let deletion = async |client: &Client| -> Result<(StatusCode, Value)> {
            let (status, body) =
                client.send(Method::DELETE, "/api/v1/users/ada?end_sessions=true", None).await?;
            Ok((if status == StatusCode::NOT_FOUND { StatusCode::OK } else { status }, body))
        };
        stage.die_over(death, "doomed", deletion).await?;
        for _ in 0..3 {
            stage.agent.beat(&stage.site.web).await?;
        }
        assert_eq!(stage.states().await?, ["ended"], "{death:?}");
        judge_books(&stage.sql).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_node_that_dies_over_a_zone_leaves_it_made_once_and_deleted_whole() -> Result<()> {
    for death in Death::ALL {
        let stage = Stage::start().await?;
        let zone = json!({"zone_name": "paris"});
        // Asked a second time the name is taken, by the zone that is wanted.
        let creation = async |client: &Client| -> Result<(StatusCode, Value)> {
            let (status, body) = client.send(Method::POST, "/api/v1/zones", Some(zone.clone())).await?;
            Ok((if status == StatusCode::CONFLICT { StatusCode::OK } else { status }, body))
        };
        stage.die_over(death, "doomed", creation).await?;
        assert_eq!(stage.number("SELECT count(*) FROM zones WHERE name = 'paris'").await?, 1, "{death:?}");
        let deletion = async |client: &Client| -> Result<(StatusCode, Value)> {
            let (status, body) = client.send(Method::DELETE, "/api/v1/zones/paris", None).await?;
            Ok((if status == StatusCode::NOT_FOUND { StatusCode::OK } else { status }, body))
        };
        stage.die_over(death, "doomed too", deletion).await?;
        assert_eq!(stage.number("SELECT count(*) FROM zones WHERE name = 'paris'").await?, 0, "{death:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_node_that_dies_over_a_move_leaves_one_that_can_be_undone() -> Result<()> {
    for death in Death::ALL {
        let stage = Stage::start().await?;
        stage.site.user("ada").await?;
        let movement = json!({"user": "ada", "to": "virginia"});
        let moving = async |client: &Client| {
            client.send(Method::POST, "/api/v1/reassignments", Some(movement.clone())).await
        };
        stage.die_over(death, "doomed", moving).await?;
        let home = "SELECT count(*) FROM users u, zones z WHERE u.name = 'ada' AND z.name = 'virginia'
            AND policy_v1(u)->>'home_zone' = z.id::text";
        assert_eq!(stage.number(home).await?, 1, "{death:?}");
        let (_, moves) = stage.admin.send(Method::GET, "/api/v1/reassignments", None).await?;
        for made in moves["items"].as_array().into_iter().flatten() {
            let path = format!("/api/v1/reassignments/{}/undo", made["id"].as_str().context("an id")?);
            stage
                .die_over(death, "doomed too", async |client| client.send(Method::POST, &path, None).await)
                .await?;
        }
        assert_eq!(stage.number(home).await?, 0, "{death:?}: {moves}");
    }
    Ok(())
}
