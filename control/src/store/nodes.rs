//! Nodes: enrolment, heartbeats, and what reconcilers do about silence.

use meridian_ids::{NodeId, UserId, Uuid, ZoneId};
use meridian_model::NodeRole;
use meridian_settings::RetentionSettings;
use meridian_wire::{EnrollRequest, Heartbeat, Update};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::types::Json;

use super::{Store, StoreError, logins::Origin};
use crate::views::{NodePatch, NodeView, ZoneHealthView};

pub const HEARTBEAT: &str = "SELECT heartbeat_v2($1, $2, $3, $4, $5, $6, $7)";
const UPDATE: &str = "SELECT update_view_v1($1, $2)";
const LIST: &str = "SELECT list_nodes_v1($1, $2, $3, $4, $5, $6)";
const ENROLL: &str = "SELECT enroll_v1($1, $2, $3, $4, $5, $6, $7)";
pub(super) const HOT: &[&str] = &[HEARTBEAT, UPDATE];

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum HeartbeatOutcome {
    UnknownNode,
    Ok { update: Value },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Enroll {
    Refused,
    Ok { role: NodeRole, zone_id: Option<ZoneId>, zone_name: Option<String> },
}

/// Of which nodes a list is.
#[derive(Clone, Debug, Default)]
pub struct WhichNodes {
    pub zone: Option<ZoneId>,
    pub role: Option<NodeRole>,
    /// The one with this name or id.
    pub node: Option<String>,
}

/// How the removal of a node ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum NodeRemoval {
    Ok,
    NotFound,
    /// It is a Web App node that serves.
    Answers {
        name: String,
    },
    /// It answers, and sessions live on it, or streams go through it.
    InUse {
        sessions: i64,
        streams: i64,
    },
    /// It answers, and was told to stop what it does.
    Draining {
        sessions: i64,
        streams: i64,
    },
}

/// What the Web App must know of a node to believe a signed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCredentials {
    pub role: NodeRole,
    pub zone: Option<ZoneId>,
    pub public_point: Vec<u8>,
}

/// What a Web App node writes down of itself.
#[derive(Clone, Copy, Debug)]
pub struct WebNode<'a> {
    pub id: NodeId,
    /// Made unique where another node has it.
    pub name: &'a str,
    /// `host:port` of its node listener.
    pub address: &'a str,
    /// `host:port` of its public listener; empty: nobody is told.
    pub public_address: &'a str,
    pub version: &'a str,
    pub public_point: &'a [u8],
}

/// A report as JSON without U+0000, which the database refuses: its words may come from a hostile workspace, and one session's must not
/// silence its agent.
fn storable(report: &impl Serialize) -> Result<Json<Value>, StoreError> {
    let mut value = serde_json::to_value(report).map_err(StoreError::Shape)?;
    replace_nul(&mut value);
    Ok(Json(value))
}

/// The columns that a patch sets, in the database's units; null clears one.
fn columns(patch: &NodePatch) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be small before it is used")]
    let scaled = |value: f64, scale: f64| (value * scale).round() as i64;
    let mut columns = serde_json::Map::new();
    let mut set = |column: &str, value: Option<Value>| {
        if let Some(value) = value {
            columns.insert(column.to_owned(), value);
        }
    };
    set("labels", patch.labels.as_ref().map(|labels| json!(labels)));
    set("is_static", patch.is_static.map(Value::from));
    set("cpu_override", patch.cpu_override.map(|cores| json!(cores.map(|cores| scaled(cores, 1000.0)))));
    set("memory_override", patch.memory_mb_override.map(|mb| json!(mb)));
    set("gpu_override", patch.gpus_override.map(|gpus| json!(gpus)));
    set("session_limit", patch.session_limit.map(|limit| json!(limit)));
    set("cpu_overcommit", patch.cpu_overcommit.map(|factor| json!(scaled(factor, 100.0))));
    set("memory_overcommit", patch.memory_overcommit.map(|factor| json!(scaled(factor, 100.0))));
    Value::Object(columns)
}

fn ids(zones: Option<&[ZoneId]>) -> Option<Vec<Uuid>> {
    zones.map(|zones| zones.iter().map(|zone| zone.0).collect())
}

fn replace_nul(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(items) => items.iter_mut().for_each(replace_nul),
        Value::Object(fields) => fields.values_mut().for_each(replace_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn heartbeat(&self, node: NodeId, beat: &Heartbeat) -> Result<HeartbeatOutcome, StoreError> {
        let agent = beat.agent.as_ref().map(storable).transpose()?;
        let problems = storable(&beat.problems)?;
        let streams = beat.streams.map(i64::from);
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&node.0, &beat.since, &beat.version, &beat.address, &agent, &problems, &streams];
        self.call(HEARTBEAT, &parameters).await
    }

    /// What a node shall do and know, newer than `since`.
    ///
    /// # Errors
    /// When the database does not answer or the node is unknown.
    pub async fn update_for(&self, node: NodeId, since: i64) -> Result<Update, StoreError> {
        // The key set inside is a RawValue, which only reads from text.
        let value: Value = self.call(UPDATE, &[&node.0, &since]).await?;
        serde_json::from_str(&value.to_string()).map_err(StoreError::Shape)
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn enroll(
        &self,
        token_hash: &[u8],
        node: NodeId,
        request: &EnrollRequest,
        public_point: &[u8],
        request_id: &str,
    ) -> Result<Enroll, StoreError> {
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
            &token_hash,
            &node.0,
            &request.name,
            &request.address,
            &request.version,
            &public_point,
            &request_id,
        ];
        self.call(ENROLL, &parameters).await
    }

    /// Stores an enrolment token's hash. `by` is none for those that `meridian up` makes for itself.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn create_enrollment(
        &self,
        token_hash: &[u8],
        role: NodeRole,
        zone: Option<ZoneId>,
        by: Option<UserId>,
        lifetime_s: f64,
    ) -> Result<(), StoreError> {
        let (zone, by) = (zone.map(|zone| zone.0), by.map(|by| by.0));
        self.execute(
            "INSERT INTO enrollments (token_hash, role, zone_id, created_by, expires_at)
             VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))",
            &[&token_hash, &role.as_str(), &zone, &by, &lifetime_s],
        )
        .await
        .map(drop)
    }

    /// A Web App node writes itself down at each start.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn register_web_node(&self, node: &WebNode<'_>) -> Result<(), StoreError> {
        match self.try_to_register(node).await {
            // Another one of the same name was written down between the look and the writing: the next look sees it.
            Err(error) if error.violates("nodes_name_key") => self.try_to_register(node).await,
            outcome => outcome,
        }
    }

    async fn try_to_register(&self, node: &WebNode<'_>) -> Result<(), StoreError> {
        let WebNode { id, name, address, public_address, version, public_point } = node;
        self.execute(
            "INSERT INTO nodes (id, name, role, address, version, public_point, public_address, last_seen_at)
             VALUES ($1, CASE WHEN EXISTS (SELECT 1 FROM nodes WHERE name = $2 AND id <> $1)
                         THEN $2 || '-' || right($1::uuid::text, 6) ELSE $2 END, 'web', $3, $4, $5, $6, now())
             ON CONFLICT (id) DO UPDATE SET address = excluded.address, version = excluded.version,
                 public_point = excluded.public_point, public_address = excluded.public_address, last_seen_at = now(), removed_at = NULL",
            &[&id.0, name, address, version, public_point, public_address],
        )
        .await
        .map(drop)
    }

    /// A Web App node is there. Whether it had been removed meanwhile, while it was away: it serves all the same, so it is listed again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn touch_web_node(&self, node: NodeId) -> Result<bool, StoreError> {
        let rows = self
            .rows(
                "WITH was AS (SELECT id, removed_at FROM nodes WHERE id = $1),
                 touched AS (UPDATE nodes n SET last_seen_at = now(), removed_at = NULL FROM was WHERE n.id = was.id
                     RETURNING n.id, n.name, was.removed_at IS NOT NULL AS returned),
                 noted AS (INSERT INTO audit (node_id, action, target, outcome) SELECT id, 'node_returned', name, 'ok' FROM touched WHERE returned)
                 SELECT returned FROM touched",
                &[&node.0],
            )
            .await?;
        rows.first().map_or(Ok(false), |row| Ok(row.try_get(0)?))
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn node_credentials(&self, node: NodeId) -> Result<Option<NodeCredentials>, StoreError> {
        let rows = self
            .rows(
                "SELECT role, zone_id, public_point FROM nodes WHERE id = $1 AND removed_at IS NULL",
                &[&node.0],
            )
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let role: &str = row.try_get(0)?;
        let role =
            NodeRole::parse(role).ok_or_else(|| StoreError::Corrupt(format!("a node's role is {role}")))?;
        let zone: Option<meridian_ids::Uuid> = row.try_get(1)?;
        Ok(Some(NodeCredentials { role, zone: zone.map(ZoneId), public_point: row.try_get(2)? }))
    }

    /// After a renewal the node signs with its new key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_public_point(&self, node: NodeId, point: &[u8]) -> Result<bool, StoreError> {
        let changed = self
            .execute(
                "UPDATE nodes SET public_point = $2 WHERE id = $1 AND removed_at IS NULL",
                &[&node.0, &point],
            )
            .await?;
        Ok(changed == 1)
    }

    /// A page of the nodes that are asked for, by zone, role and name; those without a zone come first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_nodes(
        &self,
        zones: Option<&[ZoneId]>,
        which: &WhichNodes,
        after: Option<NodeId>,
        limit: i32,
    ) -> Result<Vec<NodeView>, StoreError> {
        let (zone, role) = (which.zone.map(|zone| zone.0), which.role.map(NodeRole::as_str));
        let after = after.map(|after| after.0);
        self.call(LIST, &[&ids(zones), &zone, &role, &which.node, &after, &limit]).await
    }

    /// How the nodes of each zone stand together.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn zone_health(&self, zones: Option<&[ZoneId]>) -> Result<Vec<ZoneHealthView>, StoreError> {
        self.call("SELECT zone_health_v1($1)", &[&ids(zones)]).await
    }

    /// Changes what an administrator sets about an agent; none when it is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn update_node(
        &self,
        node: NodeId,
        patch: &NodePatch,
        by: UserId,
    ) -> Result<Option<NodeView>, StoreError> {
        self.call("SELECT update_node_v1($1, $2, $3)", &[&node.0, &Json(columns(patch)), &by.0]).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn set_draining(&self, node: NodeId, draining: bool, by: UserId) -> Result<bool, StoreError> {
        let changed = self
            .execute(
                "WITH changed AS (UPDATE nodes SET draining = $2 WHERE id = $1 AND removed_at IS NULL RETURNING id)
                 INSERT INTO audit (user_id, node_id, action, outcome)
                 SELECT $3, id, CASE WHEN $2 THEN 'drain' ELSE 'undrain' END, 'ok' FROM changed",
                &[&node.0, &draining, &by.0],
            )
            .await?;
        Ok(changed == 1)
    }

    /// Removes a node that does nothing any more, or does not answer; what ran on it is lost then. With `drain`, what it does is brought to
    /// an end first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn remove_node(
        &self,
        node: NodeId,
        drain: bool,
        by: UserId,
        origin: &Origin,
    ) -> Result<NodeRemoval, StoreError> {
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&node.0, &drain, &by.0, &origin.address, &origin.request_id];
        self.call("SELECT remove_node_v2($1, $2, $3, $4, $5)", &parameters).await
    }

    /// Keeps how far a Web App node is from the database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep_distance(&self, node: NodeId, round_trip_ms: f64) -> Result<(), StoreError> {
        self.execute(
            "UPDATE nodes SET report = report || jsonb_build_object('database_ms', $2::float8) WHERE id = $1",
            &[&node.0, &round_trip_ms],
        )
        .await
        .map(drop)
    }

    /// How many sessions were marked unreachable.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn mark_unreachable(&self) -> Result<i32, StoreError> {
        self.count("SELECT mark_unreachable_v1()").await
    }

    /// How many counters were wrong and are right now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit_counters(&self) -> Result<i32, StoreError> {
        self.count("SELECT audit_counters_v1() + audit_gpus_v1()").await
    }

    /// Removes what nobody needs any more, at most `batch` rows of a kind, and says whether there may be more; not while another node
    /// does it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn clean_up(&self, retention: RetentionSettings, batch: i32) -> Result<bool, StoreError> {
        let (sessions, audit) = (i32::from(retention.ended_sessions_days), i32::from(retention.audit_days));
        let rows = self.rows("SELECT clean_up_v1($1, $2, $3)", &[&sessions, &audit, &batch]).await?;
        let row = rows.first().ok_or_else(|| StoreError::Corrupt("a function answered no row".into()))?;
        Ok(row.try_get::<_, Option<i32>>(0)?.is_some_and(|touched| touched >= batch))
    }

    async fn count(&self, statement: &str) -> Result<i32, StoreError> {
        let rows = self.rows(statement, &[]).await?;
        let row = rows.first().ok_or_else(|| StoreError::Corrupt("a function answered no row".into()))?;
        Ok(row.try_get(0)?)
    }
}
