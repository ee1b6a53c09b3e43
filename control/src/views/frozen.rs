//! A session that stands still, as its user and administrators read it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The session stands still, because it may not write to its home now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FrozenView {
    pub because: FrozenBecause,
    /// Why, for people.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FrozenBecause {
    /// Its agent does not reach the storage of its home. It goes on when the storage is back.
    StorageAway,
    /// Another session has its home now. It does not go on.
    Overtaken,
    /// What only an agent of a later release knows.
    Unknown,
}
