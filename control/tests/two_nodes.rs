//! Two Web App nodes of one deployment: they share the database and the master key, and nothing else.

mod support;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use meridian_control::{Web, app::bus::Changed};
use meridian_harness::{TestDatabase, wait_for};
use meridian_ids::NodeId;
use meridian_wire::Observation;
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};
use support::{
    Another, Client, FakeProxy, PASSWORD, Site, first_settings,
    joined::{JoinedAgent, through_a_balancer},
    web_settings,
};

const LIMIT: Duration = Duration::from_secs(20);

struct Pair {
    site: Site,
    other: Another,
}

impl Pair {
    async fn start() -> Result<Self> {
        let site = Site::start().await?;
        let other = site.another("web-2").await?;
        Ok(Self { site, other })
    }

    fn nodes(&self) -> [&Web; 2] {
        [&self.site.web, &self.other.web]
    }

    /// As if no NOTIFY ever arrived.
    async fn silence_news(&self) -> Result<()> {
        self.execute(
            "CREATE OR REPLACE FUNCTION announce_v1(p_node uuid, p_session uuid) RETURNS void LANGUAGE sql AS 'SELECT'",
        )
        .await
    }

    async fn execute(&self, statements: &str) -> Result<()> {
        let (client, connection) =
            self.site.database.superuser_config().connect(tokio_postgres::NoTls).await?;
        let connection = self.site.tasks.spawn("test connection", async move { drop(connection.await) });
        client.batch_execute(statements).await?;
        drop(client);
        Ok(connection.await?)
    }

    async fn number(&self, query: &str) -> Result<i64> {
        let (client, connection) =
            self.site.database.superuser_config().connect(tokio_postgres::NoTls).await?;
        let connection = self.site.tasks.spawn("test connection", async move { drop(connection.await) });
        let number = client.query_one(query, &[]).await?.get(0);
        drop(client);
        connection.await?;
        Ok(number)
    }
}

async fn me(client: &Client) -> Result<StatusCode> {
    Ok(client.send(Method::GET, "/api/v1/auth/me", None).await?.0)
}

#[tokio::test]
async fn a_login_at_one_node_is_one_at_the_other_and_so_is_its_end() -> Result<()> {
    let pair = Pair::start().await?;
    let here = pair.site.admin().await?;
    let there = here.at(&pair.other.web);
    assert_eq!((me(&here).await?, me(&there).await?), (StatusCode::OK, StatusCode::OK));

    let body = json!({"username": "admin", "password": PASSWORD});
    let signed_in =
        pair.site.anonymous().request(Method::POST, "/api/v1/auth/login").json(&body).send().await?;
    let cookie = signed_in.headers().get(header::SET_COOKIE).context("a cookie")?.to_str()?;
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let with_cookie = async |method: Method, path: &str| -> Result<StatusCode> {
        let request = Client::of(&pair.other.web).request(method, path).header(header::COOKIE, &cookie);
        Ok(request.send().await?.status())
    };
    assert_eq!(with_cookie(Method::GET, "/api/v1/auth/me").await?, StatusCode::OK);

    assert_eq!(there.send(Method::POST, "/api/v1/auth/logout", None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(me(&here).await?, StatusCode::UNAUTHORIZED, "signed out there, and here in the same moment");
    assert_eq!(with_cookie(Method::POST, "/api/v1/auth/logout").await?, StatusCode::NO_CONTENT);
    assert_eq!(with_cookie(Method::GET, "/api/v1/auth/me").await?, StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test]
async fn wrong_passwords_are_counted_across_both_nodes() -> Result<()> {
    let pair = Pair::start().await?;
    for guess in 0..6 {
        let client = Client::of(pair.nodes()[guess % 2]);
        assert_eq!(client.try_sign_in("admin", "wrong password").await?.0, StatusCode::UNAUTHORIZED);
    }
    for web in pair.nodes() {
        let (status, body) = Client::of(web).try_sign_in("admin", PASSWORD).await?;
        assert_eq!(
            (status, &body["error"]["code"]),
            (StatusCode::TOO_MANY_REQUESTS, &json!("throttled")),
            "{body}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_launch_that_is_repeated_at_the_other_node_launches_nothing_twice() -> Result<()> {
    let pair = Pair::start().await?;
    pair.site.agent("london", 8).await?;
    let here = pair.site.user("ada").await?;
    let there = here.at(&pair.other.web);
    let desktop = pair.site.workspace(&here, "Desktop").await?;
    let (_, first) = here.launch(&desktop, "london", "answered").await?;
    let (status, again) = there.launch(&desktop, "london", "answered").await?;
    assert_eq!((status, &again["id"]), (StatusCode::CREATED, &first["id"]));

    // Both at the same time, as a client does whose first answer is late.
    let at_once = join_all((0..8).map(|number| {
        let client = if number % 2 == 0 { &here } else { &there };
        client.launch(&desktop, "london", "late")
    }))
    .await;
    let mut seen = Vec::new();
    for answer in at_once {
        let (status, body) = answer?;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        seen.push(body["id"].as_str().map(str::to_owned));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(pair.number("SELECT count(*) FROM sessions").await?, 2);
    assert_eq!(pair.number("SELECT sessions_used::bigint FROM users WHERE name = 'ada'").await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_ticket_of_one_node_is_judged_by_the_other_and_opens_one_stream_between_them() -> Result<()> {
    let pair = Pair::start().await?;
    pair.site.agent("london", 8).await?;
    let here = pair.site.admin().await?;
    let desktop = pair.site.workspace(&here, "Desktop").await?;
    let (_, session) = here.launch(&desktop, "london", "one").await?;
    let connect = format!("/api/v1/sessions/{}/connect", session["id"].as_str().unwrap_or_default());
    let proxy = FakeProxy::enroll(&pair.site).await?;
    let asking = |web: &Web| FakeProxy { client: Client::of(web), ..proxy.clone() };
    let [ours, theirs] = pair.nodes().map(asking);

    let ticket = proxy.ticket(&here, &connect).await?;
    let nonce = "a".repeat(32);
    let answer = theirs.ask(&ticket, &nonce).await?;
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    assert_eq!(ours.ask(&ticket, &nonce).await?, answer, "a question whose answer was lost, asked elsewhere");
    assert_eq!(ours.ask(&ticket, &"b".repeat(32)).await?.0, StatusCode::CONFLICT);

    // Eight connections come with the same ticket at once, half of them to each node.
    let ticket = proxy.ticket(&here.at(&pair.other.web), &connect).await?;
    let nonces: Vec<_> = (0..8).map(|number| format!("{number:032x}")).collect();
    let asked = nonces.iter().enumerate().map(|(index, nonce)| {
        if index % 2 == 0 { ours.ask(&ticket, nonce) } else { theirs.ask(&ticket, nonce) }
    });
    let mut statuses = Vec::new();
    for answer in join_all(asked).await {
        statuses.push(answer?.0);
    }
    let count = |wanted: StatusCode| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(StatusCode::OK), count(StatusCode::CONFLICT)), (1, 7), "{statuses:?}");
    Ok(())
}

/// What a page that watches a session reads.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    async fn open(client: &Client, session: &str) -> Result<Self> {
        let response =
            client.request(Method::GET, &format!("/api/v1/sessions/{session}/events")).send().await?;
        ensure!(response.status() == StatusCode::OK, "{}", response.status());
        Ok(Self { response, text: String::new() })
    }

    /// Reads on until the session is shown in this state.
    async fn until(&mut self, state: &str) -> Result<()> {
        let wanted = format!("\"state\":\"{state}\"");
        let reading = async {
            while !self.text.contains(&wanted) {
                let chunk = self.response.chunk().await?.context("the live updates ended")?;
                self.text.push_str(std::str::from_utf8(&chunk)?);
            }
            Ok(())
        };
        tokio::time::timeout(LIMIT, reading)
            .await
            .with_context(|| format!("no state {state} in {}", self.text))?
    }
}

#[tokio::test]
async fn a_change_made_at_one_node_reaches_a_page_at_the_other() -> Result<()> {
    let pair = Pair::start().await?;
    let agent = pair.site.agent("london", 8).await?;
    let here = pair.site.user("ada").await?;
    let there = here.at(&pair.other.web);
    let desktop = pair.site.workspace(&here, "Desktop").await?;
    let session = launched(&here, &desktop, "one").await?;
    let mut news = pair.other.web.state.bus.subscribe();
    let mut page = Events::open(&there, &session).await?;
    page.until("starting").await?;
    agent.say(&session, 1, Observation::Running).await?;
    page.until("running").await?;
    // The database said so by itself.
    let heard = Changed::Session { node: agent.node, session: session.parse()? };
    let hearing = async {
        while news.recv().await? != heard {}
        Ok::<_, anyhow::Error>(())
    };
    tokio::time::timeout(LIMIT, hearing).await.context("no news at the other node")??;

    pair.silence_news().await?;
    let second = launched(&here, &desktop, "two").await?;
    let mut page = Events::open(&there, &second).await?;
    page.until("starting").await?;
    let mut news = pair.other.web.state.bus.subscribe();
    agent.say(&second, 1, Observation::Running).await?;
    page.until("running").await?;
    assert!(news.try_recv().is_err(), "nothing but the period can have brought it");
    Ok(())
}

async fn launched(client: &Client, workspace: &str, key: &str) -> Result<String> {
    let (status, session) = client.launch(workspace, "london", key).await?;
    ensure!(status == StatusCode::CREATED, "{session}");
    Ok(session["id"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_nodes_watch_at_one_web_app_hears_what_was_ordered_at_the_other() -> Result<()> {
    let pair = Pair::start().await?;
    let agent = JoinedAgent::join(&pair.site, None).await?;
    agent.fake.report(Vec::new()).await?;
    let here = pair.site.user("ada").await?;
    let desktop = pair.site.workspace(&here, "Desktop").await?;
    let mut watches = Vec::new();
    for web in pair.nodes() {
        watches.push(agent.watch(web, 0).await?);
    }
    for silenced in [false, true] {
        if silenced {
            pair.silence_news().await?;
        }
        let session = launched(&here, &desktop, &format!("silenced: {silenced}")).await?;
        for watch in &mut watches {
            watch.until_ordered(&session).await?;
        }
    }
    // What the other one does not know yet: a watch that begins anew is told everything after what its node has.
    let mut late = agent.watch(&pair.other.web, 1).await?;
    let first = late.next().await?;
    assert_eq!(first["sessions"].as_array().map(Vec::len), Some(1), "{first}");
    Ok(())
}

#[tokio::test]
async fn heartbeats_may_go_to_any_node_and_change_over_in_midstream() -> Result<()> {
    let pair = Pair::start().await?;
    let agent = pair.site.agent("london", 8).await?;
    let here = pair.site.user("ada").await?;
    let desktop = pair.site.workspace(&here, "Desktop").await?;
    let session = launched(&here, &desktop, "one").await?;
    let elsewhere = agent.at(&pair.other.web);
    let mut version = 0;
    for (number, beat) in [&agent, &elsewhere, &agent, &elsewhere].into_iter().enumerate() {
        let update = beat.say(&session, 1, Observation::Running).await?;
        let now = update["version"].as_i64().context("a version")?;
        assert!(now >= version, "beat {number}: {update}");
        version = now;
        assert_eq!(update["sessions"][0]["session_id"], json!(session), "beat {number}");
    }
    assert_eq!(here.at(&pair.other.web).state_of(&session).await?, "running");
    Ok(())
}

#[tokio::test]
async fn a_node_goes_on_at_the_other_web_app_when_its_own_one_stops() -> Result<()> {
    let Pair { site, other } = Pair::start().await?;
    let (tasks, agent) = through_a_balancer(&site, &[&site.web, &other.web]).await?;
    agent.fake.report(Vec::new()).await?;
    let there = site.user("ada").await?.at(&other.web);
    let desktop = site.workspace(&there, "Desktop").await?;
    let mut sessions = agent.run(&tasks);
    let answered = || agent.client.heartbeats_answered();
    wait_for("a heartbeat through the balancer", LIMIT, async || {
        ensure!(answered() > 0);
        Ok(())
    })
    .await?;
    assert!(site.tasks.stop(LIMIT).await, "the node that it may be at");
    let before = answered();
    wait_for("heartbeats at the other node", LIMIT, async || {
        ensure!(answered() > before);
        Ok(())
    })
    .await?;
    let session = launched(&there, &desktop, "after").await?;
    let ordered = tokio::time::timeout(LIMIT, sessions.recv()).await.context("no order")?;
    assert_eq!(ordered.map(|id| id.to_string()), Some(session));
    tasks.stop(LIMIT).await;
    Ok(())
}

#[tokio::test]
async fn every_job_is_done_once_however_many_nodes_do_it() -> Result<()> {
    let pair = Pair::start().await?;
    let agent = pair.site.agent("london", 16).await?;
    let here = pair.site.user("ada").await?;
    let desktop = pair.site.workspace(&here, "Desktop").await?;
    for key in ["one", "two", "three"] {
        let session = launched(&here, &desktop, key).await?;
        agent.say(&session, 1, Observation::Running).await?;
    }
    let stores = pair.nodes().map(|web| web.state.store.clone());
    let everywhere = || stores.iter().cycle().take(8);

    pair.execute("UPDATE nodes SET cpu_used = cpu_used + 5; UPDATE users SET sessions_used = 9").await?;
    for corrected in join_all(everywhere().map(|store| store.audit_counters())).await {
        corrected?;
    }
    let corrections =
        "SELECT coalesce(sum((detail->>'users')::bigint + (detail->>'nodes')::bigint), 0)::bigint
        FROM audit WHERE action = 'audit_counters'";
    // Two users and three nodes: the agent and both Web Apps.
    assert_eq!(pair.number(corrections).await?, 2 + 3);

    let before: u64 = pair.nodes().iter().map(|web| web.state.metrics.unreachable.get()).sum();
    pair.execute("UPDATE nodes SET last_seen_at = now() - interval '1 minute' WHERE role = 'agent'").await?;
    let mut marked = 0;
    for count in join_all(everywhere().map(|store| store.mark_unreachable())).await {
        marked += u64::try_from(count?)?;
    }
    // The jobs of both nodes run beside this.
    let by_jobs: u64 = pair.nodes().iter().map(|web| web.state.metrics.unreachable.get()).sum();
    assert_eq!(marked + by_jobs - before, 3, "each session once");

    pair.execute(
        "INSERT INTO logins (token_hash, user_id, expires_at)
         SELECT decode(md5(n::text), 'hex'), u.id, now() - interval '2 days' FROM users u, generate_series(1, 500) n WHERE u.name = 'ada'",
    )
    .await?;
    let retention = meridian_settings::RetentionSettings::default();
    for cleaned in join_all(everywhere().map(|store| store.clean_up(retention, 1000))).await {
        cleaned?;
    }
    assert_eq!(pair.number("SELECT count(*) FROM logins WHERE expires_at < now()").await?, 0);
    Ok(())
}

#[tokio::test]
async fn two_nodes_that_start_at_the_same_moment_found_one_deployment() -> Result<()> {
    let (database, folder) = (TestDatabase::empty().await?, tempfile::tempdir()?);
    // The same file on both, as from one deployment tool: even the name.
    let mut settings = [first_settings(folder.path())?, first_settings(folder.path())?];
    settings[1].data = folder.path().join("web-2");
    let [first, second] = settings.map(|settings| Another::start(settings, database.config()));
    let (first, second) = tokio::try_join!(first, second)?;
    let deployments = [&first, &second].map(|node| &node.web.state.deployment);
    assert_eq!(deployments[0].id, deployments[1].id);
    assert_eq!(deployments[0].authority.certificate_pem(), deployments[1].authority.certificate_pem());
    assert_eq!(json!(deployments[0].key_set), json!(deployments[1].key_set));
    let id = |name: &str| -> Result<NodeId> {
        Ok(std::fs::read_to_string(folder.path().join(name).join("web-node-id"))?.parse()?)
    };
    let ids = [id("web-1")?, id("web-2")?];
    assert_ne!(ids[0], ids[1]);

    let admin = Client::of(&first.web).sign_in("admin", PASSWORD).await?.at(&second.web);
    let names = async |path: &str| -> Result<Vec<String>> {
        let (_, list) = admin.send(Method::GET, path, None).await?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        Ok(items.iter().map(|item| item["name"].as_str().unwrap_or_default().to_owned()).collect())
    };
    assert_eq!(names("/api/v1/zones").await?, ["london", "virginia"]);
    assert_eq!(names("/api/v1/workspaces").await?.len(), 3);
    assert_eq!(names("/api/v1/users").await?, ["admin"]);
    let web_nodes: Vec<NodeId> = listed_web_nodes(&admin).await?;
    assert!(web_nodes.len() == 2 && ids.iter().all(|id| web_nodes.contains(id)), "{web_nodes:?}");
    for node in [first, second] {
        node.tasks.stop(LIMIT).await;
    }
    Ok(())
}

async fn listed_web_nodes(admin: &Client) -> Result<Vec<NodeId>> {
    let (_, nodes) = admin.send(Method::GET, "/api/v1/nodes", None).await?;
    let items: Vec<Value> = nodes["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .filter(|node| node["role"] == "web")
        .map(|node| Ok(node["id"].as_str().unwrap_or_default().parse()?))
        .collect()
}

#[tokio::test]
async fn a_node_with_another_master_key_is_refused_with_words() -> Result<()> {
    let site = Site::start().await?;
    let strange = tempfile::tempdir()?;
    std::fs::write(strange.path().join("master.key"), "ab".repeat(32))?;
    let settings = web_settings(strange.path(), "web-2")?;
    let error = Another::start(settings, site.database.config()).await.err().context("it started")?;
    assert!(error.to_string().contains("master key"), "{error}");
    Ok(())
}
