//! The deployment under test, what happens to it, and what must be right about it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use meridian_control::Web;
use meridian_ids::Uuid;
use meridian_model::placement::place;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    AGENTS, KEEPERS, KEPT, MOVED, SESSIONS_EACH, STORAGE, USERS, ZONES,
    step::{Step, redrawn, step_agent},
    support::{
        Another, Client, Site,
        moves::{Borders, HomeZones, judge_moves},
        read,
        world::{SimulatedAgent, judge_books, snapshot, wanted},
    },
};

/// The deployment under test.
pub(crate) struct World {
    site: Site,
    other: Another,
    pub(crate) sql: tokio_postgres::Client,
    admin: Client,
    users: Vec<Client>,
    keepers: Vec<Client>,
    workspace: String,
    kept: Vec<String>,
    pub(crate) agents: Vec<Mutex<SimulatedAgent>>,
    zones: Vec<Uuid>,
    borders: Mutex<Borders>,
    launches: std::sync::atomic::AtomicUsize,
}

const FIRST_ZONE: &str = "SELECT id FROM zones ORDER BY (settings->>'isolated')::boolean, position LIMIT 1";

impl World {
    pub(crate) async fn start() -> Result<Self> {
        let site = Site::start().await?;
        let other = site.another("web-2").await?;
        let sql = site.sql().await?;
        let admin = site.admin().await?;
        let enclave = json!({"zone_name": "enclave", "isolated": true, "search_alternate_zones": false});
        let (status, made) = admin.send(Method::POST, "/api/v1/zones", Some(enclave)).await?;
        ensure!(status == StatusCode::CREATED, "{made}");
        // Virginia even names the enclave among its alternates, which must not open it.
        sql.batch_execute(&format!(
            r#"UPDATE zones SET settings = settings || '{{"search_alternate_zones": true}}' WHERE name <> 'enclave';
               UPDATE zones SET alternates = ARRAY(SELECT id FROM zones WHERE name <> 'virginia') WHERE name = 'virginia';
               UPDATE zones SET settings = settings || '{{"home_storage": "{STORAGE}"}}' WHERE name = 'virginia';
               UPDATE workspaces SET network = 'internet', cpu_milli = 500, memory_mb = 1024 WHERE name IN ('Desktop', 'Terminal');
               UPDATE groups SET settings = '{{"session_limit": {SESSIONS_EACH}}}' WHERE system = 'everyone'"#
        ))
        .await?;
        let mut users = Vec::new();
        for user in USERS {
            users.push(site.user(user).await?);
        }
        let group = json!({"name": "Keepers", "priority": 10});
        let (status, made) = admin.send(Method::POST, "/api/v1/groups", Some(group)).await?;
        ensure!(status == StatusCode::CREATED, "{made}");
        let group = format!("/api/v1/groups/{}", made["id"].as_str().unwrap_or_default());
        let keep = json!({"settings": {"persistent_home": true}});
        let (status, answer) = admin.send(Method::PATCH, &group, Some(keep)).await?;
        ensure!(status == StatusCode::OK, "{answer}");
        let mut keepers = Vec::new();
        for keeper in KEEPERS {
            keepers.push(site.user(keeper).await?);
            let path = format!("{group}/members/{keeper}");
            let (status, answer) = admin.send(Method::PUT, &path, None).await?;
            ensure!(status.is_success(), "{answer}");
        }
        let workspace = site.workspace(&admin, "Desktop").await?;
        let mut kept = Vec::new();
        for name in KEPT {
            kept.push(site.workspace(&admin, name).await?);
        }
        let mut agents = Vec::new();
        for number in 0..AGENTS.len() {
            agents.push(Mutex::new(new_agent(&site, number).await?));
        }
        let mut zones = Vec::new();
        for zone in ZONES {
            zones.push(sql.query_one("SELECT id FROM zones WHERE name = $1", &[&zone]).await?.get(0));
        }
        let mut borders = Borders::default();
        borders.read(&sql).await?;
        let (borders, launches) = (borders.into(), 0.into());
        Ok(Self {
            site,
            other,
            sql,
            admin,
            users,
            keepers,
            workspace,
            kept,
            agents,
            zones,
            borders,
            launches,
        })
    }

    fn web(&self, number: usize) -> &Web {
        if number.is_multiple_of(2) { &self.site.web } else { &self.other.web }
    }

    async fn number(&self, query: &str) -> Result<i64> {
        Ok(self.sql.query_one(query, &[]).await?.get(0))
    }

    pub(crate) async fn take(&self, step: &Step, at: usize) -> Result<()> {
        let web = self.web(at);
        match step {
            Step::Launch { user, zone } => {
                self.launch(*user, *zone, at).await?;
            }
            Step::LaunchKept { keeper, workspace, zone, temporary } => {
                self.launch_kept(*keeper, *workspace, *zone, *temporary, at).await?;
            }
            Step::Reset { home } => {
                self.about_home(*home, at, async |admin, home| {
                    admin.send(Method::DELETE, &format!("/api/v1/homes/{home}"), None).await
                })
                .await?;
            }
            Step::Release { home } => {
                self.about_home(*home, at, async |admin, home| {
                    let force = json!({"force": true});
                    admin.send(Method::POST, &format!("/api/v1/homes/{home}/release"), Some(force)).await
                })
                .await?;
            }
            Step::End { session } => self.end(*session, false, at).await?,
            Step::EndKept { session } => self.end(*session, true, at).await?,
            Step::Beat { agent } => self.beat(*agent, at).await?,
            Step::RepeatedBeat { agent } => {
                let agent = self.agents[*agent].lock().await;
                if agent.alive {
                    agent.repeat(web).await?;
                }
            }
            Step::Die { agent } => {
                let mut agent = self.agents[*agent].lock().await;
                agent.alive = false;
                let silent = "UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE id = $1";
                self.sql.execute(silent, &[&agent.fake.node.0]).await?;
            }
            Step::Return { agent, rebooted } => {
                let mut agent = self.agents[*agent].lock().await;
                if !agent.alive && *rebooted {
                    agent.reboot();
                }
                agent.alive = true;
                drop(agent);
                self.beat(step_agent(step), at).await?;
            }
            Step::Drain { agent, drains } => {
                let node = self.agents[*agent].lock().await.fake.node;
                let by = self.sql.query_one("SELECT id FROM users WHERE name = 'admin'", &[]).await?.get(0);
                web.state.store.set_draining(node, *drains, meridian_ids::UserId(by)).await?;
            }
            Step::Remove { agent } => self.remove(*agent, at).await?,
            Step::Break { agent, which, error } => {
                self.agents[*agent].lock().await.break_one(*which, *error);
            }
            Step::Move { whom, to } => {
                self.reassign(*whom, *to, false, at).await?;
            }
            Step::Undo { which } => self.undo(*which, at).await?,
            Step::Borders { zone, isolated, search, alternates } => {
                self.draw_borders(*zone, *isolated, *search, alternates, at).await?;
            }
            Step::Jobs => {
                web.state.store.mark_unreachable().await?;
                ensure!(web.state.store.audit_counters().await? == 0, "counters had to be corrected");
            }
        }
        Ok(())
    }

    pub(crate) async fn launch(
        &self,
        user: usize,
        zone: Option<usize>,
        at: usize,
    ) -> Result<(StatusCode, Value)> {
        let number = self.launches.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut body = json!({"workspace_id": self.workspace});
        if let Some(zone) = zone {
            body["zone"] = json!(ZONES[zone]);
        }
        let request = self.users[user].at(self.web(at)).request(Method::POST, "/api/v1/sessions");
        let request = request.header("idempotency-key", format!("launch {number}"));
        let answer = read(request.json(&body).send().await?).await?;
        let code = answer.1["error"]["code"].as_str().unwrap_or_default();
        ensure!(
            answer.0 == StatusCode::CREATED || ["session_limit", "no_capacity"].contains(&code),
            "a launch was answered by {answer:?}"
        );
        if code == "no_capacity" {
            let error = &answer.1["error"];
            let judged = error["explanation"].as_array().is_some_and(|list| !list.is_empty());
            let nobody =
                error["message"].as_str().is_some_and(|said| said.starts_with("No machine belongs to zone"));
            ensure!(judged || nobody, "a refusal without a reason: {answer:?}");
        }
        Ok(answer)
    }

    async fn launch_kept(
        &self,
        keeper: usize,
        workspace: usize,
        zone: Option<usize>,
        temporary: bool,
        at: usize,
    ) -> Result<()> {
        let mut body = json!({"workspace_id": self.kept[workspace]});
        if let Some(zone) = zone {
            body["zone"] = json!(ZONES[zone]);
        }
        if temporary {
            body["home"] = json!("temporary");
        }
        let client = self.keepers[keeper].at(self.web(at));
        let answer = client.send(Method::POST, "/api/v1/sessions", Some(body)).await?;
        let code = answer.1["error"]["code"].as_str().unwrap_or_default();
        ensure!(
            answer.0 == StatusCode::CREATED
                || ["session_limit", "no_capacity"].contains(&code)
                || !temporary && code.starts_with("home_"),
            "a launch with a home was answered by {answer:?}"
        );
        Ok(())
    }

    /// An administrator does something about one of the homes.
    async fn about_home(
        &self,
        home: usize,
        at: usize,
        what: impl AsyncFn(Client, String) -> Result<(StatusCode, Value)>,
    ) -> Result<()> {
        let homes =
            self.sql.query("SELECT id::text FROM homes WHERE reset_at IS NULL ORDER BY id", &[]).await?;
        if let Some(row) = homes.get(home % homes.len().max(1)) {
            let (status, body) = what(self.admin.at(self.web(at)), row.get(0)).await?;
            let fits = [StatusCode::NOT_FOUND, StatusCode::CONFLICT].contains(&status) || status.is_success();
            ensure!(fits, "something about a home was answered by {status} {body}");
        }
        Ok(())
    }

    /// Ends one of those that live, or of those of them that have a home.
    async fn end(&self, session: usize, kept: bool, at: usize) -> Result<()> {
        let live = "SELECT id::text FROM sessions WHERE state NOT IN ('ended', 'failed', 'lost')
             AND (home_id IS NOT NULL OR NOT $1) ORDER BY id";
        let live = self.sql.query(live, &[&kept]).await?;
        if let Some(row) = live.get(session % live.len().max(1)) {
            let path = format!("/api/v1/sessions/{}", row.get::<_, String>(0));
            let (status, body) = self.admin.at(self.web(at)).send(Method::DELETE, &path, None).await?;
            ensure!(status.is_success(), "an end was answered by {status} {body}");
        }
        Ok(())
    }

    /// A heartbeat; whoever is told that it was removed comes as a new agent.
    pub(crate) async fn beat(&self, number: usize, at: usize) -> Result<()> {
        let mut agent = self.agents[number].lock().await;
        if !agent.beat(self.web(at)).await? {
            *agent = new_agent(&self.site, number).await?;
        }
        Ok(())
    }

    async fn remove(&self, number: usize, at: usize) -> Result<()> {
        let agent = self.agents[number].lock().await;
        if !agent.alive {
            let path = format!("/api/v1/nodes/{}/remove", agent.fake.node);
            let (status, body) = self.admin.at(self.web(at)).send(Method::POST, &path, None).await?;
            ensure!(
                status.is_success() || status == StatusCode::NOT_FOUND,
                "a removal was answered by {status} {body}"
            );
        }
        Ok(())
    }

    /// Moves people, or only looks; gives the answer where nothing speaks against it.
    async fn reassign(&self, whom: usize, to: usize, dry: bool, at: usize) -> Result<Option<Value>> {
        let (kind, subject) = MOVED[whom];
        let body = json!({kind: subject, "to": ZONES[to], "dry_run": dry});
        let admin = self.admin.at(self.web(at));
        let (status, answer) = admin.send(Method::POST, "/api/v1/reassignments", Some(body)).await?;
        if status == StatusCode::OK {
            return Ok(Some(answer).filter(|answer| answer["refused"] == 0));
        }
        let code = answer["error"]["code"].as_str().unwrap_or_default();
        let refused = ["reassignment_refused", "zone_isolated"].contains(&code);
        ensure!(refused || subject == ZONES[to], "a move was answered by {status} {answer}");
        Ok(None)
    }

    /// Undoes one of the moves that were made, perhaps for the second time.
    async fn undo(&self, which: usize, at: usize) -> Result<()> {
        let made = self.sql.query("SELECT id::text FROM reassignments ORDER BY id DESC LIMIT 8", &[]).await?;
        if let Some(row) = made.get(which % made.len().max(1)) {
            let path = format!("/api/v1/reassignments/{}/undo", row.get::<_, String>(0));
            let (status, body) = self.admin.at(self.web(at)).send(Method::POST, &path, None).await?;
            let isolated = body["error"]["code"] == "zone_isolated";
            ensure!(status == StatusCode::OK || isolated, "an undone move was answered by {status} {body}");
        }
        Ok(())
    }

    async fn draw_borders(
        &self,
        zone: usize,
        isolated: bool,
        search: bool,
        alternates: &[usize],
        at: usize,
    ) -> Result<()> {
        let others = alternates.iter().filter(|other| **other != zone && !isolated);
        let others: Vec<&str> = others.map(|other| ZONES[*other]).collect();
        let search = search && !isolated;
        let body = json!({"isolated": isolated, "search_alternate_zones": search, "alternate_zones": others});
        let path = format!("/api/v1/zones/{}", ZONES[zone]);
        let (status, answer) = self.admin.at(self.web(at)).send(Method::PATCH, &path, Some(body)).await?;
        // Two who change one zone at once: the later is told so.
        let fits = [StatusCode::OK, StatusCode::CONFLICT].contains(&status);
        ensure!(fits, "a change of a zone was answered by {status} {answer}");
        Ok(())
    }

    /// What must hold at any moment.
    pub(crate) async fn judge(&self, steps: &[Step]) -> Result<()> {
        judge_books(&self.sql).await?;
        let over =
            format!("SELECT count(*) FROM users WHERE name <> 'admin' AND sessions_used > {SESSIONS_EACH}");
        let over = self.number(&over).await?;
        ensure!(over == 0, "a limit was exceeded: {over}");
        judge_moves(&self.sql).await?;
        let changed: BTreeSet<Uuid> =
            steps.iter().filter_map(|step| Some(self.zones[redrawn(step)?])).collect();
        self.borders.lock().await.judge(&self.sql, &changed).await
    }

    /// Somebody's home zone, as accounts and groups say.
    async fn home_of(&self, user: &str) -> Result<Option<Uuid>> {
        let homes = HomeZones::read(&self.sql).await?;
        let groups = "SELECT u.id, (SELECT m.group_id FROM group_members m JOIN groups g ON g.id = m.group_id
                 WHERE m.user_id = u.id AND g.name = 'Keepers'), (SELECT id FROM groups WHERE system = 'everyone')
             FROM users u WHERE u.name = $1";
        let row = self.sql.query_one(groups, &[&user]).await?;
        let (account, keepers, everyone): (Uuid, Option<Uuid>, Uuid) = (row.get(0), row.get(1), row.get(2));
        let own = homes.users.get(&account);
        let home = own.or_else(|| homes.groups.get(&keepers?)).or_else(|| homes.groups.get(&everyone));
        Ok(home.copied())
    }

    /// A move while nothing else happens does what a look said, is refused only across a border, and undone it leaves no trace.
    pub(crate) async fn move_by_the_model(&self, whom: usize, to: usize, at: usize) -> Result<()> {
        let (kind, subject) = MOVED[whom];
        let crosses = match kind {
            "user" => Some(self.would_cross(subject, to).await?),
            _ => None,
        };
        let before = HomeZones::read(&self.sql).await?;
        let look = self.reassign(whom, to, true, at).await?;
        ensure!(HomeZones::read(&self.sql).await? == before, "a look changed {before:?}");
        ensure!(
            crosses.is_none_or(|crosses| crosses == look.is_none()),
            "crosses: {crosses:?}, and {look:?}"
        );
        let made = self.reassign(whom, to, false, at + 1).await?;
        ensure!(made.is_some() == look.is_some(), "looked at: {look:?}, made: {made:?}");
        let Some((mut made, look)) = made.zip(look) else { return Ok(()) };
        let id = std::mem::take(&mut made["id"]);
        ensure!(made == look, "looked at: {look}, made: {made}");
        for person in made["first_people"].as_array().into_iter().flatten() {
            let name = person["name"].as_str().unwrap_or_default();
            if person["stays_because"].is_null() && name != "admin" {
                ensure!(self.home_of(name).await? == Some(self.zones[to]), "{name} was not moved: {made}");
            }
        }
        let path = format!("/api/v1/reassignments/{}/undo", id.as_str().unwrap_or_default());
        let (status, undone) = self.admin.at(self.web(at)).send(Method::POST, &path, None).await?;
        if undone["error"]["code"] == "zone_isolated" {
            // Whoever is moved to an isolated zone is there already; back leads across its border, perhaps.
            let concerned = "SELECT count(*) FROM reassignments r JOIN zones z ON (z.settings->>'isolated')::boolean
                 AND (z.id = r.to_zone OR strpos(r.before::text, z.id::text) > 0) WHERE r.undone_at IS NULL AND r.id::text = $1";
            let concerned: i64 = self.sql.query_one(concerned, &[&id.as_str()]).await?.get(0);
            ensure!(concerned > 0, "{made} could not be undone: {undone}");
            return Ok(());
        }
        ensure!(status == StatusCode::OK, "{undone}");
        let after = HomeZones::read(&self.sql).await?;
        ensure!(after == before, "homes were {before:?}, and are {after:?} after {made} was undone");
        Ok(())
    }

    /// Whether somebody's move would lead out of an isolated zone or into one.
    async fn would_cross(&self, user: &str, to: usize) -> Result<bool> {
        let home = self.home_of(user).await?;
        let crosses = "SELECT EXISTS (SELECT 1 FROM zones z WHERE (z.settings->>'isolated')::boolean AND CASE WHEN z.id = $2 THEN $3 IS DISTINCT FROM z.id
             ELSE z.id = $3 OR EXISTS (SELECT 1 FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.name = $1 AND s.zone_id = z.id
                 AND s.state NOT IN ('ended', 'failed', 'lost')) END)";
        Ok(self.sql.query_one(crosses, &[&user, &self.zones[to], &home]).await?.get(0))
    }

    /// A launch while nothing else happens goes exactly where the pure model says, or is refused where the model finds nothing.
    pub(crate) async fn launch_by_the_model(
        &self,
        user: usize,
        zone: Option<usize>,
        at: usize,
    ) -> Result<()> {
        let (wanted, image) = wanted(&self.sql, "Desktop").await?;
        let zones = snapshot(&self.sql, &image).await?;
        let asked = match zone {
            Some(zone) => self.zones[zone],
            // Without a home zone it is the first that is not isolated; where all are, the first.
            None => match self.home_of(USERS[user]).await? {
                Some(home) => home,
                None => self.sql.query_one(FIRST_ZONE, &[]).await?.get(0),
            },
        };
        let full = self
            .sql
            .query_one(
                "SELECT sessions_used >= $2::bigint FROM users WHERE name = $1",
                &[&USERS[user], &SESSIONS_EACH],
            )
            .await?
            .get::<_, bool>(0);
        let expected = place(&zones, meridian_ids::ZoneId(asked), &wanted);
        let (status, body) = self.launch(user, zone, at).await?;
        let code = body["error"]["code"].as_str();
        match expected {
            _ if full => ensure!(code == Some("session_limit"), "over the limit: {status} {body}"),
            None => ensure!(code == Some("no_capacity"), "the model finds no place: {status} {body}"),
            Some((_, node)) => {
                ensure!(status == StatusCode::CREATED, "refused, and {node} fits: {body} {zones:#?}");
                let session: Uuid = body["id"].as_str().unwrap_or_default().parse()?;
                let row =
                    self.sql.query_one("SELECT node_id FROM sessions WHERE id = $1", &[&session]).await?;
                let chosen: Uuid = row.get(0);
                ensure!(chosen == node.0, "on {chosen}, and the model says {node}: {zones:#?}");
            }
        }
        Ok(())
    }

    /// Everybody comes back and says everything until nothing changes: no session is stuck, and no container is nobody's.
    pub(crate) async fn settle(&self) -> Result<()> {
        for agent in 0..self.agents.len() {
            self.agents[agent].lock().await.alive = true;
        }
        // An order, its doing, its saying, the answer to that: four rounds; a removed agent comes anew first.
        for round in 0..6 {
            for agent in 0..self.agents.len() {
                self.beat(agent, round).await?;
            }
        }
        self.judge(&[]).await?;
        let left = self.number("SELECT count(*) FROM homes WHERE reset_at IS NOT NULL").await?;
        ensure!(left == 0, "{left} homes are removed by nobody");
        let rows = self.sql.query("SELECT id, node_id, state FROM sessions WHERE reserved", &[]).await?;
        let mut wanted = BTreeMap::new();
        for row in &rows {
            let state: &str = row.get(2);
            ensure!(state == "running", "a session is stuck in {state}");
            wanted.insert((row.get::<_, Uuid>(1), row.get::<_, Uuid>(0)), ());
        }
        let mut there = BTreeMap::new();
        for agent in &self.agents {
            let agent = agent.lock().await;
            // Who asks for everything is told of tombstones for a day.
            for (session, held) in agent.held.iter().filter(|(_, held)| held.observation != Observation::Gone)
            {
                ensure!(held.observation == Observation::Running, "{session}: {held:?}");
                there.insert((agent.fake.node.0, session.0), ());
            }
        }
        ensure!(there == wanted, "containers {there:?}, and wanted are {wanted:?}");
        Ok(())
    }

    /// A schedule in which hardly anything ran would hold whatever the code does: what there was too little of.
    pub(crate) async fn shown(&self) -> Result<Option<String>> {
        for (least, what, query) in [
            (31, "sessions that ran", "SELECT count(*) FROM sessions WHERE started_at IS NOT NULL"),
            (
                31,
                "sessions that are over",
                "SELECT count(*) FROM sessions WHERE state IN ('ended', 'failed', 'lost')",
            ),
            (6, "sessions with a home", "SELECT count(*) FROM sessions WHERE home_id IS NOT NULL"),
            (6, "moves undone", "SELECT count(*) FROM reassignments WHERE undone_at IS NOT NULL"),
            (
                1,
                "sessions elsewhere",
                "SELECT count(*) FROM sessions s JOIN zones z ON z.name = s.explanation->'choice'->>'zone' \
                 WHERE z.id <> s.zone_id",
            ),
        ] {
            let count = self.number(query).await?;
            if count < least {
                return Ok(Some(format!("{count} {what}, and at least {least} are wanted")));
            }
        }
        Ok(None)
    }
}

async fn new_agent(site: &Site, number: usize) -> Result<SimulatedAgent> {
    let (zone, cores) = AGENTS[number];
    let mut agent = site.agent(zone, cores).await?;
    if zone == "virginia" {
        agent.shared_homes = Some(STORAGE.into());
        agent.report(Vec::new()).await?;
    }
    Ok(SimulatedAgent::new(agent))
}
