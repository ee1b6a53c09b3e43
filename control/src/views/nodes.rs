//! Nodes, as administrators see and change them.

use std::collections::BTreeMap;

use meridian_ids::NodeId;
use meridian_model::NodeRole;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{clearable, schemas};

/// A node, as administrators see it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    #[schema(value_type = String, format = Uuid)]
    pub id: NodeId,
    pub name: String,
    #[schema(value_type = schemas::NodeRole)]
    pub role: NodeRole,
    pub zone: Option<String>,
    pub address: String,
    /// A Web App node's: where browsers and balancers reach it.
    #[serde(default)]
    pub public_address: Option<String>,
    /// An agent's: where browsers reach it without a proxy, as it says.
    #[serde(default)]
    pub direct_address: Option<String>,
    pub version: String,
    /// `enrolled` (never heard of yet), `ready`, `draining`, `unreachable`.
    pub state: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen_at: Option<String>,
    /// A Web App node's: its round trip to the database in milliseconds, as it measured last.
    #[serde(default)]
    pub database_ms: Option<f64>,
    pub sessions: i64,
    /// Live streams that it carries, as it last said: a proxy that drains is empty at 0.
    #[serde(default)]
    pub streams: i64,
    /// Cores.
    pub cpu_total: f64,
    pub cpu_used: f64,
    pub memory_mb_total: i64,
    pub memory_mb_used: i64,
    /// Graphics cards.
    #[serde(default)]
    pub gpus_total: i64,
    #[serde(default)]
    pub gpus_used: i64,
    /// What is promised at most: the totals, with overrides and overcommit.
    #[serde(default)]
    pub capacity: CapacityView,
    pub images: Vec<ImageView>,
    /// How home volumes are bounded.
    pub home_storage: Option<String>,
    pub network_modes: Vec<String>,
    /// Sessions whose containers the agent found and the control plane does not know.
    pub quarantined: Vec<String>,
    pub problems: Vec<ProblemView>,
}

/// What still keeps a node that is to be removed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeRemovalView {
    /// `draining`: ask again.
    pub state: String,
    pub sessions: i64,
    pub streams: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImageView {
    pub reference: String,
    pub image_id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemView {
    pub code: String,
    pub message: String,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEnrollment {
    #[schema(value_type = schemas::NodeRole)]
    pub role: NodeRole,
    /// A zone's name.
    pub zone: String,
}

/// A single-use token. It is shown once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EnrollmentView {
    pub token: String,
    #[schema(value_type = schemas::NodeRole)]
    pub role: NodeRole,
    pub zone: String,
    /// Seconds.
    pub expires_in_s: u64,
}

/// What an agent may promise, and what an administrator set about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CapacityView {
    /// Cores.
    pub cpu: f64,
    pub memory_mb: i64,
    pub gpus: i64,
    /// Sessions at most; none: as many as the resources bear.
    pub sessions: Option<i64>,
    /// In place of what the agent reports; none: as it reports.
    pub cpu_override: Option<f64>,
    pub memory_mb_override: Option<i64>,
    pub gpus_override: Option<i64>,
    /// How many times over the CPU is promised.
    pub cpu_overcommit: f64,
    pub memory_overcommit: f64,
    /// It stays; where the zone says so, places on static agents are taken first.
    #[serde(rename = "static")]
    pub is_static: bool,
    pub labels: BTreeMap<String, String>,
}

/// Any of what an administrator can set about an agent; what is left out stays, and null takes an override or limit away.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NodePatch {
    /// Replaces all labels.
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "static")]
    pub is_static: Option<bool>,
    /// Cores.
    #[serde(deserialize_with = "clearable")]
    #[schema(value_type = Option<f64>)]
    pub cpu_override: Option<Option<f64>>,
    #[serde(deserialize_with = "clearable")]
    #[schema(value_type = Option<i64>)]
    pub memory_mb_override: Option<Option<i64>>,
    #[serde(deserialize_with = "clearable")]
    #[schema(value_type = Option<i64>)]
    pub gpus_override: Option<Option<i64>>,
    /// Sessions at most.
    #[serde(deserialize_with = "clearable")]
    #[schema(value_type = Option<i64>)]
    pub session_limit: Option<Option<i64>>,
    /// From 0.1 to 100.
    pub cpu_overcommit: Option<f64>,
    pub memory_overcommit: Option<f64>,
}

/// How a zone's nodes stand together. Sums are of its agents.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ZoneHealthView {
    pub zone: String,
    pub agents: ReadyView,
    pub proxies: ReadyView,
    pub sessions: i64,
    pub streams: i64,
    /// Cores that are promised.
    pub cpu_used: f64,
    /// Cores that may be promised.
    pub cpu_total: f64,
    pub memory_mb_used: i64,
    pub memory_mb_total: i64,
    /// Nodes that were heard of once, and are no longer.
    pub unreachable: SomeNodesView,
    /// Nodes that report problems.
    pub troubled: SomeNodesView,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadyView {
    /// Those that can take work now.
    pub ready: i64,
    pub all: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SomeNodesView {
    pub count: i64,
    /// Names of the first three.
    pub first: Vec<String>,
}
