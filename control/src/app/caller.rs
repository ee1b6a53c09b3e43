//! Who asks, and what they may do.

use meridian_ids::{ApiKeyId, UserId, ZoneId};
use meridian_model::Permission;
use serde::Deserialize;

use crate::views::UserView;

/// The bearer of a token: a person who signed in, or a key of theirs.
#[derive(Clone, Debug, Deserialize)]
pub struct Caller {
    /// With what the bearer may do now; a key may less than its user.
    pub user: UserView,
    /// Whether they may use their own sessions: people may, a key says.
    pub own: bool,
    /// The zones that a key is bound to.
    pub zones: Option<Vec<ZoneId>>,
    pub key_id: Option<ApiKeyId>,
}

impl Caller {
    #[must_use]
    pub fn id(&self) -> UserId {
        self.user.id
    }

    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.user.permissions.iter().any(|held| held == permission.as_str())
    }

    /// What the caller may give away, as the database takes it.
    #[must_use]
    pub fn permissions(&self) -> &[String] {
        &self.user.permissions
    }

    /// Whether the caller may everything, everywhere.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.zones.is_none() && Permission::ALL.into_iter().all(|permission| self.may(permission))
    }
}
