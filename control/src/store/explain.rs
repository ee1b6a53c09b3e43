//! What would become of a launch, and what became of those that were refused.

use std::collections::BTreeMap;

use meridian_ids::UserId;
use serde::Deserialize;
use tokio_postgres::types::Json;

use super::{Store, StoreError, sessions::LaunchContext};
use crate::views::{CandidateView, HomeView, RefusalView, TriedZoneView, ZoneChoiceView};

pub const PREVIEW: &str = "SELECT explain_v1($1, $2, $3, $4, $5, $6)";

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Preview {
    NoUser,
    NoWorkspace,
    NoZone,
    Ok(Box<PreviewOk>),
}

#[derive(Debug, Deserialize)]
pub struct PreviewOk {
    pub user: String,
    pub workspace: String,
    pub hidden_because: Option<String>,
    pub refusal: Option<PolicyRefusal>,
    pub choice: ZoneChoiceView,
    pub keeps_home: bool,
    pub home: Option<HomeView>,
    pub zones: Vec<TriedZoneView>,
    pub counts: BTreeMap<String, i64>,
    pub candidates: Vec<CandidateView>,
    pub more: bool,
}

/// What is against a launch, wherever it would run.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PolicyRefusal {
    Limit {
        limit: i64,
    },
    Policy {
        setting: String,
        allowed: String,
    },
    /// The user's home cannot be had.
    Home {
        words: String,
    },
}

impl Store {
    /// What would become of a launch now. `workspace` is an id or a name; candidates begin after `after`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn preview_launch(
        &self,
        user: UserId,
        workspace: &str,
        zone: Option<&str>,
        context: &LaunchContext<'_>,
        after: i64,
        limit: i32,
    ) -> Result<Preview, StoreError> {
        self.call(PREVIEW, &[&user.0, &workspace, &zone, &Json(context), &after, &limit]).await
    }

    /// Refused launches, newest first: everybody's or one user's, or the one that was answered with a request id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_refusals(
        &self,
        user: Option<UserId>,
        request_id: Option<&str>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<RefusalView>, StoreError> {
        let user = user.map(|user| user.0);
        self.call(
            "SELECT coalesce(jsonb_agg(jsonb_build_object('id', a.id::text, 'at', a.at, 'user', u.name, 'workspace', a.target,
                 'outcome', a.outcome, 'zone', a.detail->'zone', 'request_id', a.request_id, 'setting', a.detail->'setting',
                 'counts', coalesce(a.detail->'counts', '{}'), 'candidates', coalesce(a.detail->'candidates', '[]'),
                 'zones', coalesce(a.detail->'zones', '[]')) ORDER BY a.id DESC), '[]')
             FROM (SELECT * FROM audit x WHERE x.action = 'launch' AND x.outcome <> 'ok' AND ($1::uuid IS NULL OR x.user_id = $1)
                   AND ($2::text IS NULL OR x.request_id = $2) AND ($3::bigint IS NULL OR x.id < $3) ORDER BY x.id DESC LIMIT $4) a
             LEFT JOIN users u ON u.id = a.user_id",
            &[&user, &request_id, &before, &limit],
        )
        .await
    }

    /// By id or name; not those that were deleted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find_user_id(&self, id_or_name: &str) -> Result<Option<UserId>, StoreError> {
        self.call(
            "SELECT coalesce((SELECT to_jsonb(id) FROM users WHERE (lower(name) = lower($1) OR id::text = $1) AND deleted_at IS NULL LIMIT 1), 'null')",
            &[&id_or_name],
        )
        .await
    }
}
