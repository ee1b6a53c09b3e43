//! Homes that outlive their sessions.

use meridian_ids::{HomeId, SessionId, WorkspaceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SessionUserView;

/// A user's home of one workspace.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HomeView {
    #[schema(value_type = String, format = Uuid)]
    pub id: HomeId,
    /// The workspace's name.
    pub name: String,
    #[schema(value_type = String, format = Uuid)]
    pub workspace_id: WorkspaceId,
    pub user: SessionUserView,
    /// Where it lies, or who had it last.
    pub agent: String,
    /// Path of its zone's storage, where it is on that; none: on the agent's own disk.
    pub storage: Option<String>,
    /// None: the zone was deleted.
    pub zone: Option<String>,
    pub state: HomeState,
    /// What it belonged to and was deleted: `user` or `workspace`.
    pub gone: Option<String>,
    pub size_mb: i64,
    /// The session that has it now.
    #[schema(value_type = Option<String>, format = Uuid)]
    pub session_id: Option<SessionId>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: String,
    #[schema(value_type = String, format = DateTime)]
    pub used_at: String,
}

/// How a home stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HomeState {
    /// The next launch has it.
    Free,
    /// A session has it.
    InUse,
    /// The session that had it is over, and its agent has not put everything away yet.
    PutAway,
    /// Its agent does not answer, or nobody reaches the storage that it is on.
    Away,
    /// It is on storage, and whoever had it last does not answer and has not released it.
    Held,
    /// Its agent was removed, and it with that.
    Lost,
    /// Nobody wants it any more, and its agent has not removed it yet.
    Removing,
}

impl HomeState {
    pub const ALL: [Self; 7] =
        [Self::Free, Self::InUse, Self::PutAway, Self::Away, Self::Held, Self::Lost, Self::Removing];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::InUse => "in_use",
            Self::PutAway => "put_away",
            Self::Away => "away",
            Self::Held => "held",
            Self::Lost => "lost",
            Self::Removing => "removing",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// How a home is to be released.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HomeRelease {
    /// Take it from an agent that has not released it, whether that agent answers or not.
    pub force: bool,
}

/// What became of homes whose user or workspace was deleted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeletedHomesView {
    /// How many are being removed now.
    pub deleted: i64,
    /// How many stay, because a session still has them.
    pub in_use: i64,
}
