//! Why something is refused or hidden, for administrators: asked beforehand, or looked up afterwards.

use axum::{Json, extract::State};
use serde::Deserialize;

use super::{
    error::ApiError,
    extract::{Page as PageOf, Query},
    permit::{Permit, SessionsView},
    sessions::policy_words,
};
use crate::{
    state::AppState,
    store::{
        explain::{PolicyRefusal, Preview, PreviewOk},
        sessions::LaunchContext,
    },
    views::{ErrorView, HomeKind, Page, PreviewView, RefusalView},
};

const PAGE: i32 = 20;
const REFUSALS: i64 = 50;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewQuery {
    workspace: String,
    user: Option<String>,
    zone: Option<String>,
    cursor: Option<i64>,
}

/// What would become of a launch now: whether the workspace is hidden from the user and why, what policy says, which zones would be asked,
/// and every candidate with its verdict. Nothing is reserved.
#[utoipa::path(get, path = "/api/v1/explain", tag = "sessions",
    params(("workspace" = String, Query, description = "Id or name"),
        ("user" = Option<String>, Query, description = "Id or name; left out: the caller"),
        ("zone" = Option<String>, Query, description = "As if this zone was asked for"), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = PreviewView), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn explain_launch(
    State(state): State<AppState>,
    permit: Permit<SessionsView>,
    PageOf(page): PageOf,
    Query(query): Query<PreviewQuery>,
) -> Result<Json<PreviewView>, ApiError> {
    let user = match &query.user {
        Some(user) => state.store.find_user_id(user).await?.ok_or_else(|| ApiError::not_found("user"))?,
        None => permit.caller.id(),
    };
    let host = page.host.to_ascii_lowercase();
    let home = HomeKind::Persistent;
    let context = LaunchContext { host: &host, node_zone: state.settings.zone.as_deref(), home };
    let after = query.cursor.unwrap_or(0).max(0);
    let zone = query.zone.as_deref();
    match state.store.preview_launch(user, &query.workspace, zone, &context, after, PAGE).await? {
        Preview::Ok(preview) => Ok(Json(view(*preview, after))),
        Preview::NoUser => Err(ApiError::not_found("user")),
        Preview::NoWorkspace => Err(ApiError::not_found("workspace")),
        Preview::NoZone => Err(ApiError::not_found("zone")),
    }
}

fn view(preview: PreviewOk, after: i64) -> PreviewView {
    PreviewView {
        user: preview.user,
        workspace: preview.workspace,
        hidden_because: preview.hidden_because,
        refusal: preview.refusal.map(|refusal| match refusal {
            PolicyRefusal::Limit { limit } => format!("You have as many sessions as you may have: {limit}"),
            PolicyRefusal::Policy { setting, allowed } => policy_words(&setting, &allowed),
            PolicyRefusal::Home { words } => words,
        }),
        choice: preview.choice,
        keeps_home: preview.keeps_home,
        home: preview.home,
        zones: preview.zones,
        counts: preview.counts,
        candidates: preview.candidates,
        next: preview.more.then(|| (after + i64::from(PAGE)).to_string()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefusalsQuery {
    user: Option<String>,
    request_id: Option<String>,
    cursor: Option<i64>,
}

/// Launches that were refused, newest first, each with its explanation.
#[utoipa::path(get, path = "/api/v1/refusals", tag = "sessions",
    params(("user" = Option<String>, Query, description = "Id or name"),
        ("request_id" = Option<String>, Query, description = "The one whose error named this request id"), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<RefusalView>), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn list_refusals(
    State(state): State<AppState>,
    _: Permit<SessionsView>,
    Query(query): Query<RefusalsQuery>,
) -> Result<Json<Page<RefusalView>>, ApiError> {
    let user = match &query.user {
        Some(user) => Some(state.store.find_user_id(user).await?.ok_or_else(|| ApiError::not_found("user"))?),
        None => None,
    };
    let items = state.store.list_refusals(user, query.request_id.as_deref(), query.cursor, REFUSALS).await?;
    let full = i64::try_from(items.len()).is_ok_and(|length| length == REFUSALS);
    let next = items.last().filter(|_| full).map(|last| last.id.clone());
    Ok(Json(Page { items, next }))
}
