//! Moves of people from zone to zone.

use meridian_ids::{ReassignmentId, SessionId, UserId};
use meridian_model::SessionState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schemas;

/// Whom to move, and where. Exactly one of `user`, `group` and `zone` is named, by name or id.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReassignment {
    #[serde(default)]
    pub user: Option<String>,
    /// What the group says is their home zone becomes `to`.
    #[serde(default)]
    pub group: Option<String>,
    /// Everybody whose home is this zone, and whoever has a session there and no home zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// The zone that they are moved to.
    pub to: String,
    /// Only look.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a move did, or would do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReassignedView {
    /// By which it can be undone; none when nothing was done.
    #[schema(value_type = Option<String>, format = Uuid)]
    pub id: Option<ReassignmentId>,
    /// `user`, `group` or `zone`.
    pub kind: String,
    pub subject: String,
    pub to: String,
    /// Whom it concerns.
    pub people: i64,
    /// Those of them who may not be moved; as long as there is one, nobody is.
    pub refused: i64,
    /// Sessions that are offered to be launched again in the new zone. They run on until then.
    pub sessions: i64,
    /// A hundred at most, those who may not be moved first.
    pub first_people: Vec<MovedPersonView>,
    /// Of those affected a hundred at most, those that are offered first.
    pub first_sessions: Vec<MovedSessionView>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MovedPersonView {
    #[schema(value_type = String, format = Uuid)]
    pub id: UserId,
    pub name: String,
    /// Their home zone before.
    pub from: Option<String>,
    /// The rule against it.
    pub refused_because: Option<String>,
    /// The move does not reach them: another group, or their account, names another zone.
    pub stays_because: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MovedSessionView {
    #[schema(value_type = String, format = Uuid)]
    pub id: SessionId,
    pub workspace: String,
    pub user: String,
    pub zone: Option<String>,
    #[schema(value_type = schemas::SessionState)]
    pub state: SessionState,
    /// It is not offered to be launched again: its workspace is not offered in the new zone, or its home is elsewhere.
    #[serde(default)]
    pub stays_because: Option<String>,
}

/// A move that was made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReassignmentView {
    #[schema(value_type = String, format = Uuid)]
    pub id: ReassignmentId,
    pub kind: String,
    pub subject: String,
    pub to: String,
    pub people: i64,
    pub sessions: i64,
    pub made_by: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub made_at: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub undone_at: Option<String>,
}

/// Where a session's workspace should be launched again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RelaunchView {
    pub zone: String,
    /// For the session's user.
    pub because: String,
}
