//! Homes that outlive their sessions.

use meridian_ids::{HomeId, SessionId, WorkspaceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A user's home of one workspace.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HomeView {
    #[schema(value_type = String, format = Uuid)]
    pub id: HomeId,
    /// The workspace's name.
    pub name: String,
    #[schema(value_type = String, format = Uuid)]
    pub workspace_id: WorkspaceId,
    /// Where it lies.
    pub agent: String,
    /// None: the zone was deleted.
    pub zone: Option<String>,
    pub size_mb: i64,
    /// The session that has it now.
    #[schema(value_type = Option<String>, format = Uuid)]
    pub session_id: Option<SessionId>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: String,
    #[schema(value_type = String, format = DateTime)]
    pub used_at: String,
}
