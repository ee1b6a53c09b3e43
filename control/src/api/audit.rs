//! What happened, for whoever may see it.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    error::ApiError,
    extract::Query,
    names::{check_limit, find_user_id, next_of, page, read_cursor},
    permit::{AuditView as AuditViewPermission, Permit},
};
use crate::{
    state::AppState,
    store::audit::AuditFilter,
    views::{AuditView, ErrorView, Page},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    outcome: Option<String>,
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    until: Option<String>,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default = "page")]
    limit: i32,
}

/// What happened, newest first. `user` is who did it, by id or name, and `key` the API key that it was done with, alike; `since` and `until` are times (RFC 3339), the latter left out.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit",
    params(("user" = Option<String>, Query), ("key" = Option<String>, Query), ("action" = Option<String>, Query), ("target" = Option<String>, Query),
        ("outcome" = Option<String>, Query), ("since" = Option<String>, Query), ("until" = Option<String>, Query),
        ("cursor" = Option<String>, Query), ("limit" = Option<i32>, Query)),
    responses((status = 200, body = Page<AuditView>), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 404, body = ErrorView), (status = 422, body = ErrorView)))]
pub(super) async fn list_audit(
    State(state): State<AppState>,
    _: Permit<AuditViewPermission>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<AuditView>>, ApiError> {
    let limit = check_limit(query.limit)?;
    let user = match &query.user {
        Some(user) => Some(find_user_id(&state, user).await?),
        None => None,
    };
    let filter = AuditFilter {
        user,
        key: query.key,
        action: query.action,
        target: query.target,
        outcome: query.outcome,
        since: time("since", query.since.as_deref())?,
        until: time("until", query.until.as_deref())?,
        after: read_cursor(query.cursor.as_deref())?,
        limit,
    };
    let items = state.store.list_audit(&filter).await?;
    let next = next_of(&items, limit, |entry| entry.id.to_string());
    Ok(Json(Page { items, next }))
}

fn time(field: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    text.map(|text| {
        text.parse().map_err(|_| {
            ApiError::invalid(format!("{field} must be a time such as 2026-11-23T08:00:00Z")).at(field)
        })
    })
    .transpose()
}
