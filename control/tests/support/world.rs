//! Agents that carry out what they are told without any engine, and a deployment's placement as the pure model sees it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use meridian_control::{Web, store::nodes::HeartbeatOutcome};
use meridian_ids::{NodeId, SessionId, Uuid, ZoneId};
use meridian_model::{
    Network, ProgressStep, Resources, ZoneSettings,
    placement::{Candidate, Capacity, PlacementZone, Wanted},
};
use meridian_wire::{Command, Heartbeat, Observation, ObservedSession, Update};
use tokio_postgres::Client;

use super::FakeAgent;

/// An agent whose workspaces are entries of a map.
pub struct SimulatedAgent {
    pub fake: FakeAgent,
    /// It runs and reaches the control plane.
    pub alive: bool,
    pub held: BTreeMap<SessionId, ObservedSession>,
    /// What it said last: a heartbeat that comes a second time, late.
    said: Option<Heartbeat>,
}

impl SimulatedAgent {
    pub fn new(fake: FakeAgent) -> Self {
        Self { fake, alive: true, held: BTreeMap::new(), said: None }
    }

    /// One heartbeat at a Web App node; what was ordered is done at once, and said with the next.
    pub async fn beat(&mut self, web: &Web) -> Result<bool> {
        if !self.alive {
            return Ok(true);
        }
        let beat = self.fake.beat(self.held.values().cloned().collect());
        let outcome = web.state.store.heartbeat(self.fake.node, &beat).await?;
        self.said = Some(beat);
        let HeartbeatOutcome::Ok { update } = outcome else { return Ok(false) };
        self.obey(serde_json::from_value(update)?);
        Ok(true)
    }

    /// The last heartbeat once more, whose answer nobody waits for.
    pub async fn repeat(&self, web: &Web) -> Result<()> {
        if let Some(beat) = &self.said {
            web.state.store.heartbeat(self.fake.node, beat).await?;
        }
        Ok(())
    }

    fn obey(&mut self, update: Update) {
        if let Some(homes) = &update.forget_homes {
            self.fake.homes_gone = homes.iter().map(|home| home.id).collect();
        }
        for desired in update.sessions {
            let held = self.held.entry(desired.session_id).or_insert_with(|| ObservedSession {
                session_id: desired.session_id,
                epoch: desired.epoch,
                generation: 0,
                observation: Observation::Gone,
                streams: 0,
                active_at: None,
            });
            match desired.command {
                Command::Run { .. } if held.generation < desired.generation => {
                    held.observation = Observation::Starting {
                        step: ProgressStep::Container,
                        message: "A container is made".into(),
                        percent: None,
                    };
                }
                Command::Run { .. } => {
                    if matches!(held.observation, Observation::Starting { .. }) {
                        held.observation = Observation::Running;
                    }
                }
                Command::End { .. } => held.observation = Observation::Gone,
            }
            held.generation = held.generation.max(desired.generation);
        }
    }

    /// One of its workspaces ends by itself; `error` says how.
    pub fn break_one(&mut self, which: usize, error: bool) {
        let live = |held: &&mut ObservedSession| {
            matches!(held.observation, Observation::Running | Observation::Starting { .. })
        };
        let mut live: Vec<_> = self.held.values_mut().filter(live).collect();
        let count = live.len().max(1);
        if let Some(held) = live.get_mut(which % count) {
            let reason = "it stopped".to_owned();
            held.observation =
                if error { Observation::Failed { reason } } else { Observation::Exited { reason } };
        }
    }

    /// Its machine was started anew: the containers are gone.
    pub fn reboot(&mut self) {
        for _ in 0..self.held.len() {
            self.break_one(0, false);
        }
    }
}

/// All zones and agents as they are now, for [`meridian_model::placement::place`].
pub async fn snapshot(sql: &Client, image: &str) -> Result<Vec<PlacementZone>> {
    let mut zones = Vec::new();
    for row in sql.query("SELECT id, settings, alternates FROM zones ORDER BY position", &[]).await? {
        let settings: ZoneSettings = serde_json::from_value(row.get(1))?;
        let zone: Uuid = row.get(0);
        let alternates: Vec<Uuid> = row.get(2);
        zones.push(PlacementZone {
            zone: ZoneId(zone),
            strategy: settings.load_strategy,
            static_first: settings.prioritize_static_agents,
            search_alternates: settings.search_alternate_zones,
            alternates: alternates.into_iter().map(ZoneId).collect(),
            isolated: settings.isolated,
            image_policy: settings.image_policy,
            candidates: candidates(sql, zone, image).await?,
        });
    }
    Ok(zones)
}

async fn candidates(sql: &Client, zone: Uuid, image: &str) -> Result<Vec<Candidate>> {
    let rows = sql
        .query(
            "SELECT n.id, node_is_reachable_v1(n.last_seen_at), n.draining, n.is_static,
                 EXISTS (SELECT 1 FROM node_images i WHERE i.node_id = n.id AND i.reference = $2),
                 n.cpu_total, n.memory_total, n.cpu_used, n.memory_used, n.sessions_used, n.session_limit, n.last_placed
             FROM nodes n WHERE n.zone_id = $1 AND n.role = 'agent' AND n.removed_at IS NULL",
            &[&zone, &image],
        )
        .await?;
    let candidate = |row: tokio_postgres::Row| Candidate {
        node: NodeId(row.get(0)),
        reachable: row.get(1),
        draining: row.get(2),
        is_static: row.get(3),
        writes: true,
        networks: vec![Network::Internet],
        labels: BTreeMap::new(),
        has_image: row.get(4),
        failed_to_load: false,
        cpu_milli: Capacity::exactly(row.get(5)),
        memory_mb: Capacity::exactly(row.get(6)),
        gpus: Capacity::exactly(0),
        used: Resources { cpu_milli: row.get(7), memory_mb: row.get(8) },
        gpus_used: 0,
        sessions: row.get(9),
        session_limit: row.get(10),
        last_placed: row.get(11),
    };
    Ok(rows.into_iter().map(candidate).collect())
}

/// What a workspace asks for, and its image.
pub async fn wanted(sql: &Client, workspace: &str) -> Result<(Wanted, String)> {
    let row = sql
        .query_one("SELECT cpu_milli, memory_mb, image FROM workspaces WHERE name = $1", &[&workspace])
        .await?;
    let resources = Resources { cpu_milli: row.get(0), memory_mb: row.get(1) };
    let wanted = Wanted {
        resources,
        network: Network::Internet,
        gpus: 0,
        labels: BTreeMap::new(),
        zones: None,
        image_policy: None,
    };
    Ok((wanted, row.get(2)))
}

/// What must hold at any moment, whatever happened. Each line is a query that finds what is wrong.
pub async fn judge_books(sql: &Client) -> Result<()> {
    let wrong = [
        (
            "an agent promised more than it has",
            "SELECT count(*) FROM nodes WHERE role = 'agent' AND (cpu_used > cpu_capacity OR memory_used > memory_capacity)",
        ),
        (
            "an agent's books differ from its sessions",
            "SELECT count(*) FROM nodes n LEFT JOIN LATERAL (SELECT count(*) AS used, coalesce(sum(s.cpu_milli), 0) AS cpu,
                 coalesce(sum(s.memory_mb), 0) AS memory FROM sessions s WHERE s.node_id = n.id AND s.reserved) c ON true
             WHERE (n.sessions_used, n.cpu_used, n.memory_used) <> (c.used, c.cpu, c.memory)",
        ),
        (
            "a user's books differ from the sessions",
            "SELECT count(*) FROM users u WHERE u.sessions_used <>
                 (SELECT count(*) FROM sessions s WHERE s.user_id = u.id AND s.reserved)",
        ),
        (
            "a live session holds no place",
            "SELECT count(*) FROM sessions WHERE NOT reserved AND state NOT IN ('ended', 'failed', 'lost')",
        ),
        (
            "a session that is over is still wanted",
            "SELECT count(*) FROM sessions WHERE desired = 'run' AND state IN ('ending', 'ended', 'failed', 'lost')",
        ),
        (
            // Of a home on storage those do not count that an administrator took it from: they have a file of their own.
            "a home has two writers, or one that it does not know",
            "SELECT count(*) FROM homes h JOIN sessions s ON s.home_id = h.id
             WHERE s.gone_at IS NULL AND s.id IS DISTINCT FROM h.session_id AND (h.storage IS NULL
                 OR (s.spec->'home'->'shared'->'turn'->>'generation')::bigint > coalesce(h.forced_generation, 0))",
        ),
        (
            "two writers of a home have one number",
            "SELECT count(*) FROM sessions s JOIN sessions o ON o.home_id = s.home_id AND o.id < s.id
             WHERE s.spec->'home'->'shared'->'turn' = o.spec->'home'->'shared'->'turn'",
        ),
        (
            "a home is had by what is over, or where it is not",
            "SELECT count(*) FROM homes h LEFT JOIN sessions s ON s.id = h.session_id
             WHERE h.session_id IS NOT NULL AND (s.home_id IS DISTINCT FROM h.id OR s.gone_at IS NOT NULL
                 OR s.node_id <> h.node_id OR s.zone_id <> h.zone_id)",
        ),
        (
            "a person has two homes of one workspace",
            "SELECT count(*) FROM homes h JOIN homes o ON (o.user_id, o.workspace_id) = (h.user_id, h.workspace_id) AND o.id < h.id
             WHERE h.reset_at IS NULL AND o.reset_at IS NULL",
        ),
    ];
    for (what, query) in wrong {
        let count: i64 = sql.query_one(query, &[]).await?.get(0);
        ensure!(count == 0, "{what}: {count}");
    }
    Ok(())
}
