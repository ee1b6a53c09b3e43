//! Accounts.

use meridian_ids::UserId;
use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::types::Json;

use super::{Store, StoreError, logins::Origin};
use crate::{
    app::caller::Caller,
    views::{Role, UserPolicyView, UserRowView},
};

/// How a change of an account ended.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum UserChange {
    NotFound,
    /// It concerns permissions that the caller lacks.
    Beyond,
    /// Nobody locks, disables or deletes themselves.
    Yourself,
    LastAdministrator,
    /// The home zone that it is to have is none.
    NoZone,
    /// The user's policy allows other zones alone.
    ZoneNotAllowed {
        zone: String,
    },
    Ok {
        user: Box<UserRowView>,
    },
}

/// How the deletion of an account ended.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum UserDeletion {
    NotFound,
    Beyond,
    Yourself,
    LastAdministrator,
    /// Sessions would end, and nobody said that they may.
    HasSessions {
        sessions: i64,
    },
    Ok {
        /// How many end now.
        sessions: i64,
    },
}

impl Store {
    /// Whether anybody has an account yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn has_users(&self) -> Result<bool, StoreError> {
        Ok(!self.rows("SELECT 1 FROM users LIMIT 1", &[]).await?.is_empty())
    }

    /// `by` is none for the first administrator, whom `meridian up` makes.
    ///
    /// # Errors
    /// When the database does not answer; `violates("users_name")` when the name is taken.
    pub async fn create_user(
        &self,
        name: &str,
        password_hash: &str,
        role: Role,
        must_change_password: bool,
        by: Option<(&Caller, &Origin)>,
    ) -> Result<UserChange, StoreError> {
        let id = UserId::generate();
        let (caller, origin) = by.unzip();
        let by = caller.map(|caller| caller.id().0);
        let may = caller.map(Caller::permissions).unwrap_or_default();
        let address = origin.map(|origin| origin.address.as_str()).unwrap_or_default();
        let request_id = origin.map(|origin| origin.request_id.as_str()).unwrap_or_default();
        self.call(
            "SELECT create_user_v1($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[
                &id.0,
                &name,
                &password_hash,
                &role.as_str(),
                &must_change_password,
                &by,
                &may,
                &address,
                &request_id,
            ],
        )
        .await
    }

    /// By id or name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find_user(&self, id_or_name: &str) -> Result<Option<UserRowView>, StoreError> {
        self.call("SELECT get_user_v1($1)", &[&id_or_name]).await
    }

    /// By name, after the account `after`; those whose name has `search` in it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_users(
        &self,
        search: &str,
        after: Option<UserId>,
        limit: i32,
    ) -> Result<Vec<UserRowView>, StoreError> {
        let after = after.map(|after| after.0);
        self.call("SELECT list_users_v1($1, $2, $3)", &[&search, &after, &limit]).await
    }

    /// Changes what `patch` names of an account: see `change_user_v1`.
    ///
    /// # Errors
    /// When the database does not answer; `violates("users_name")` when the new name is taken.
    pub async fn change_user(
        &self,
        user: UserId,
        patch: &Value,
        by: &Caller,
        origin: &Origin,
    ) -> Result<UserChange, StoreError> {
        self.call(
            "SELECT change_user_v1($1, $2, $3, $4, $5, $6)",
            &[&user.0, &Json(patch), &by.id().0, &by.permissions(), &origin.address, &origin.request_id],
        )
        .await
    }

    /// Deletes an account; its sessions end, if `end_sessions` allows it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_user(
        &self,
        user: UserId,
        end_sessions: bool,
        by: &Caller,
        origin: &Origin,
    ) -> Result<UserDeletion, StoreError> {
        self.call(
            "SELECT delete_user_v1($1, $2, $3, $4, $5, $6)",
            &[&user.0, &end_sessions, &by.id().0, &by.permissions(), &origin.address, &origin.request_id],
        )
        .await
    }

    /// The policy that holds for a user, and where each setting comes from.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn user_policy(&self, user: UserId) -> Result<Option<UserPolicyView>, StoreError> {
        self.call("SELECT user_policy_v1($1)", &[&user.0]).await
    }
}
