//! Accounts.

use meridian_ids::UserId;

use super::{Store, StoreError};
use crate::views::{Role, UserRowView};

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
        by: Option<UserId>,
    ) -> Result<UserRowView, StoreError> {
        let (id, by) = (UserId::generate(), by.map(|by| by.0));
        self.call(
            "WITH made AS (INSERT INTO users (id, name, password_hash, role) VALUES ($1, $2, $3, $4) RETURNING *),
             noted AS (INSERT INTO audit (user_id, action, target, outcome) SELECT $5, 'create_user', name, 'ok' FROM made)
             SELECT jsonb_build_object('id', id, 'name', name, 'role', role, 'disabled', false, 'session_limit', session_limit,
                 'sessions', 0) FROM made",
            &[&id.0, &name, &password_hash, &role.as_str(), &by],
        )
        .await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn list_users(&self) -> Result<Vec<UserRowView>, StoreError> {
        self.call(
            "SELECT coalesce(jsonb_agg(jsonb_build_object('id', id, 'name', name, 'role', role,
                 'disabled', disabled_at IS NOT NULL, 'session_limit', session_limit, 'sessions', sessions_used)
                 ORDER BY lower(name)), '[]') FROM users",
            &[],
        )
        .await
    }

    /// Changes whether a user may sign in, and how many sessions they may hold. Disabling takes every login away and cuts the user's
    /// streams; the sessions themselves stay, with what is in them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn update_user(
        &self,
        user: UserId,
        disabled: Option<bool>,
        session_limit: Option<i32>,
        by: UserId,
    ) -> Result<Option<UserRowView>, StoreError> {
        let found: Option<UserRowView> = self
            .call(
                "WITH changed AS (UPDATE users SET
                     disabled_at = CASE WHEN $2::boolean THEN coalesce(disabled_at, now()) WHEN NOT $2 THEN NULL ELSE disabled_at END,
                     session_limit = coalesce($3, session_limit) WHERE id = $1 RETURNING *),
                 gone AS (DELETE FROM logins WHERE user_id = $1 AND $2),
                 cut AS (UPDATE sessions SET cut_before = now() WHERE user_id = $1 AND $2
                     AND state NOT IN ('ended', 'failed', 'lost') RETURNING announce_v1(node_id, id)),
                 noted AS (INSERT INTO audit (user_id, action, target, outcome, detail)
                     SELECT $4, 'update_user', name, 'ok', jsonb_build_object('disabled', $2::boolean, 'session_limit', $3::integer)
                     FROM changed)
                 SELECT coalesce((SELECT jsonb_build_object('id', id, 'name', name, 'role', role, 'disabled', disabled_at IS NOT NULL,
                     'session_limit', session_limit, 'sessions', sessions_used) FROM changed), 'null')",
                &[&user.0, &disabled, &session_limit, &by.0],
            )
            .await?;
        Ok(found)
    }
}
