//! The deployment that is measured: a Web App in a process of its own, people with logins, agents, and sessions that run.
//!
//! What is many (people, agents beyond the first ten, rows of lists) is written into the database; what the Web App judges for itself
//! (nodes and their certificates) joined as it does anywhere.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use http::Method;
use meridian_ids::{NodeId, SessionId, UserId, Uuid, WorkspaceId};
use meridian_model::{NodeRole, ZoneSettings};
use meridian_runtime::{Tasks, random_token};
use meridian_settings::{FurnishSettings, FurnishZone, WebSettings};

use super::{
    client::{Connection, call},
    cluster::{Cluster, connect},
    joined::Joined,
};
use crate::{arena::free_address, process::Relay};

/// The first administrator; the token of everybody's login is their name.
pub(super) const ADMINISTRATOR: &str = "admin";
pub(super) const WORKSPACE: &str = "Terminal";
/// People who launch: so many that they do not wait for one another.
const PEOPLE: i32 = 64;
const SESSIONS_ON_EACH_AGENT: i32 = 20;
const AGENTS_OF_A_ZONE: u32 = 100;
const MOST_ZONES: u32 = 100;
/// An agent is never full: what is measured is how it is found.
pub(super) const ROOM: i64 = 1_000_000_000;
pub(super) const IMAGES: [&str; 3] =
    ["meridian/desktop:dev", "meridian/browser:dev", "meridian/terminal:dev"];
pub(super) const IMAGE_ID: &str = "sha256:0";
pub(super) const NETWORK_MODES: [&str; 2] = ["none", "internet"];

/// A session that runs, and whose it is.
pub(super) struct Running {
    pub(super) id: SessionId,
    pub(super) user: UserId,
    pub(super) user_name: String,
    pub(super) agent: NodeId,
}

/// Where a Web App listens.
#[derive(Clone, Copy)]
pub(super) struct Doors {
    pub(super) public: SocketAddr,
    pub(super) nodes: SocketAddr,
}

pub(super) struct Site {
    pub(super) sql: tokio_postgres::Client,
    pub(super) web: Relay,
    pub(super) doors: Doors,
    pub(super) folder: PathBuf,
    pub(super) tasks: Tasks,
    pub(super) password: String,
    pub(super) administrator: UserId,
    pub(super) people: Vec<String>,
    pub(super) workspace: WorkspaceId,
    pub(super) zones: Vec<String>,
    pub(super) agents: Vec<Joined>,
    pub(super) proxy: Joined,
    pub(super) running: Vec<Running>,
}

impl Site {
    /// A deployment of one zone with so many agents, each with sessions.
    pub(super) async fn start(
        folder: &Path,
        web: &[OsString],
        cluster: &Cluster,
        agents: u32,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let password = random_token();
        let (web, doors) = start_web(folder, "web-1", web, &cluster.url(), Some(&password)).await?;
        let mut public = Connection::open(doors.public, None, tasks).await?;
        // It listens before it has brought the database up to date, and answers afterwards.
        public.ask(call(Method::GET, "/api/__healthcheck", None, None)?).await?;
        let sql = connect(&cluster.config(), tasks).await?;
        sql.batch_execute(&make_people()).await?;
        let zone = zone_name(1);
        let proxy = Joined::enroll(&mut public, ADMINISTRATOR, NodeRole::Proxy, &zone).await?;
        let mut joined = Vec::new();
        for _ in 0..agents {
            joined.push(Joined::enroll(&mut public, ADMINISTRATOR, NodeRole::Agent, &zone).await?);
        }
        sql.batch_execute(&furnish_agents()).await?;
        sql.batch_execute(&start_sessions(agents)).await?;
        let id = async |statement: &str| sql.query_one(statement, &[]).await.map(|row| row.get::<_, Uuid>(0));
        let administrator = UserId(id("SELECT id FROM users WHERE name = 'admin'").await?);
        let workspace = WorkspaceId(id("SELECT id FROM workspaces WHERE name = 'Terminal'").await?);
        let running = running(&sql).await?;
        let people = (1..=PEOPLE).map(person).collect();
        let (folder, tasks, zones) = (folder.to_owned(), tasks.clone(), vec![zone]);
        let agents = joined;
        let site = Self {
            sql,
            web,
            doors,
            folder,
            tasks,
            password,
            administrator,
            people,
            workspace,
            zones,
            agents,
            proxy,
            running,
        };
        site.sql.batch_execute("ANALYZE").await?;
        Ok(site)
    }

    /// Adds agents, and zones for them, until there are so many.
    pub(super) async fn grow(&mut self, agents: u32) -> anyhow::Result<()> {
        let zones = (agents / AGENTS_OF_A_ZONE).clamp(1, MOST_ZONES);
        self.sql.batch_execute(&add_agents(self.agents.len(), agents, zones)).await?;
        self.sql.batch_execute(&furnish_agents()).await?;
        self.sql.batch_execute("VACUUM (ANALYZE)").await?;
        self.zones = (1..=zones).map(zone_name).collect();
        Ok(())
    }

    /// Takes away what was measured before: each measurement begins with the same rows, and with agents that are heard of.
    pub(super) async fn freshen(&self) -> anyhow::Result<()> {
        self.sql
            .batch_execute(
                "DELETE FROM sessions WHERE state = 'starting';
                 SELECT audit_counters_v1() + audit_gpus_v1();
                 UPDATE nodes SET last_seen_at = now() + interval '1 hour'
                     WHERE role = 'agent' AND last_seen_at < now() + interval '30 minutes';
                 TRUNCATE ticket_uses, audit",
            )
            .await?;
        self.sql.batch_execute("VACUUM (ANALYZE) sessions, nodes, users, session_activity").await?;
        Ok(())
    }
}

/// Starts a Web App; the one that is given the administrator's password makes what a new deployment begins with.
pub(super) async fn start_web(
    folder: &Path,
    name: &str,
    web: &[OsString],
    database: &str,
    password: Option<&str>,
) -> anyhow::Result<(Relay, Doors)> {
    let doors = Doors { public: free_address()?, nodes: free_address()? };
    let password_file = folder.join("password");
    let furnish = match password {
        Some(password) => {
            fs::write(&password_file, password)?;
            let zones = vec![FurnishZone { name: zone_name(1), settings: ZoneSettings::default() }];
            Some(FurnishSettings {
                admin_password_file: Some(password_file),
                zones,
                ..FurnishSettings::default()
            })
        }
        None => None,
    };
    let settings = WebSettings {
        name: name.into(),
        data: folder.join(name),
        database_url: Some(database.to_owned()),
        master_key_file: Some(folder.join("master.key")),
        drain_wait_s: 0,
        furnish,
        ..toml::from_str(&format!(
            "name = \"\"\ndata = \"\"\nlisten = \"{}\"\nnode_listen = \"{}\"\nnode_advertise = \"{}\"\npublic_url = \"http://{}\"\n",
            doors.public, doors.nodes, doors.nodes, doors.public
        ))?
    };
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, toml::to_string(&settings)?)?;
    let command: Vec<OsString> = web.iter().cloned().chain([file.into()]).collect();
    let web = Relay::start_beside(&command, doors.public, &folder.join(format!("{name}.log"))).await?;
    Ok((web, doors))
}

fn zone_name(number: u32) -> String {
    format!("zone-{number}")
}

fn person(number: i32) -> String {
    format!("bench-{number}")
}

fn make_people() -> String {
    format!(
        "INSERT INTO users (id, name, password_hash, role, session_limit, session_limit_set)
             SELECT gen_random_uuid(), 'bench-' || i, '!', 'user', 1000000, true FROM generate_series(1, {PEOPLE}) i;
         INSERT INTO logins (token_hash, user_id, expires_at)
             SELECT sha256(convert_to(name, 'UTF8')), id, now() + interval '1 day' FROM users"
    )
}

/// Gives all agents room, networks and images, and lets the clean-ups take them for well.
fn furnish_agents() -> String {
    let images: Vec<String> = IMAGES.iter().map(|image| format!("('{image}')")).collect();
    format!(
        "UPDATE nodes SET cpu_total = {ROOM}, memory_total = {ROOM}, last_seen_at = now() + interval '1 hour',
             report = '{{\"network_modes\": [\"none\", \"internet\"]}}' WHERE role = 'agent' AND cpu_total = 0;
         INSERT INTO node_images (node_id, reference, image_id)
             SELECT n.id, i.reference, '{IMAGE_ID}' FROM nodes n, (VALUES {}) AS i(reference) WHERE n.role = 'agent'
             ON CONFLICT DO NOTHING",
        images.join(", ")
    )
}

fn add_agents(from: usize, to: u32, zones: u32) -> String {
    format!(
        "INSERT INTO zones (id, name, settings)
             SELECT gen_random_uuid(), 'zone-' || i, z.settings FROM generate_series(2, {zones}) i, zones z WHERE z.name = 'zone-1';
         INSERT INTO nodes (id, name, role, zone_id, address, public_point)
             SELECT gen_random_uuid(), 'written-' || i, 'agent', z.id, '127.0.0.1:1', ''
             FROM generate_series({from} + 1, {to}) i JOIN zones z ON z.name = 'zone-' || (i % {zones} + 1)"
    )
}

/// Launches sessions as people do, and lets them run.
fn start_sessions(agents: u32) -> String {
    format!(
        "SELECT launch_v2(sha256(convert_to('bench-' || (i % {PEOPLE} + 1), 'UTF8')), gen_random_uuid(), w.id, 'zone-1', NULL, '', '',
                 '{{\"host\": \"\", \"node_zone\": null, \"home\": \"persistent\"}}')
             FROM generate_series(1, {agents} * {SESSIONS_ON_EACH_AGENT}) i, workspaces w WHERE w.name = '{WORKSPACE}';
         UPDATE sessions SET state = 'running', started_at = now(), progress_step = 'ready', progress_message = 'The workspace is ready'"
    )
}

async fn running(sql: &tokio_postgres::Client) -> anyhow::Result<Vec<Running>> {
    let rows = sql
        .query(
            "SELECT s.id, s.user_id, u.name, s.node_id FROM sessions s JOIN users u ON u.id = s.user_id ORDER BY s.id",
            &[],
        )
        .await?;
    let running = |row: &tokio_postgres::Row| Running {
        id: SessionId(row.get(0)),
        user: UserId(row.get(1)),
        user_name: row.get(2),
        agent: NodeId(row.get(3)),
    };
    Ok(rows.iter().map(running).collect())
}
