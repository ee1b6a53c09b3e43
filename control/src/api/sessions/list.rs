//! Sessions page by page: one's own, or everybody's, as filters let them through.

use axum::{Json, extract::State};
use meridian_ids::SessionId;
use meridian_model::{OWN_SESSIONS, Permission, SessionState};
use serde::Deserialize;

use crate::{
    api::{
        error::ApiError,
        extract::{Query, Token},
        names::{check_limit, next_of, page},
        permit::nobody,
    },
    state::AppState,
    store::sessions::{ListSessions, SessionFilter, WhichSessions},
    views::{ErrorView, Page, SessionView},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ListQuery {
    #[serde(default)]
    all: bool,
    #[serde(default)]
    ended: bool,
    user: Option<String>,
    zone: Option<String>,
    node: Option<String>,
    state: Option<String>,
    #[serde(default)]
    cursor: Option<SessionId>,
    #[serde(default = "page")]
    limit: i32,
}

/// The caller's sessions, newest first; with `all`, everybody's for whoever may view sessions, or those that the filters let through.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions",
    params(("all" = Option<bool>, Query), ("ended" = Option<bool>, Query, description = "Those that are over, too"),
        ("user" = Option<String>, Query, description = "Id or name"), ("zone" = Option<String>, Query, description = "Id or name"),
        ("node" = Option<String>, Query, description = "Id or name of an agent"),
        ("state" = Option<String>, Query, description = "One of `starting`, `running`, `paused`, `unreachable`, `ending`, `ended`, `failed`, `lost`"),
        ("cursor" = Option<String>, Query), ("limit" = Option<i32>, Query)),
    responses((status = 200, body = Page<SessionView>), (status = 400, body = ErrorView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 404, body = ErrorView), (status = 422, body = ErrorView)))]
pub(in crate::api) async fn list_sessions(
    State(state): State<AppState>,
    Token(token): Token,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<SessionView>>, ApiError> {
    let limit = check_limit(query.limit)?;
    let (all, ended, after) = (query.all, query.ended, query.cursor);
    let filter = SessionFilter { all, ended, which: which(query)?, after, limit };
    match state.store.list_sessions(token, filter).await? {
        ListSessions::Ok { items } => {
            let next = next_of(&items, limit, |session| session.id.to_string());
            Ok(Json(Page { items, next }))
        }
        ListSessions::Unauthenticated => Err(nobody(&state, token).await),
        ListSessions::Forbidden => {
            Err(ApiError::lacks(if all { Permission::SessionsView.as_str() } else { OWN_SESSIONS }))
        }
        ListSessions::NoUser => Err(ApiError::not_found("user").at("user")),
        ListSessions::NoZone => Err(ApiError::not_found("zone").at("zone")),
        ListSessions::NoNode => Err(ApiError::not_found("node").at("node")),
    }
}

/// What filters everybody's sessions. One's own are few: a filter there would be a mistake for those of everybody.
fn which(query: ListQuery) -> Result<WhichSessions, ApiError> {
    let ListQuery { all, ended: _, user, zone, node, state, cursor: _, limit: _ } = query;
    let filters = [("user", &user), ("zone", &zone), ("node", &node), ("state", &state)];
    if let (false, Some((name, _))) = (all, filters.into_iter().find(|(_, value)| value.is_some())) {
        return Err(ApiError::field(name, "filters everybody's sessions, and goes with all=true"));
    }
    let state = state.map(|text| {
        let known = SessionState::ALL.map(SessionState::as_str);
        let found = known.into_iter().find(|known| *known == text);
        found.ok_or_else(|| ApiError::field("state", format!("must be one of {}", known.join(", "))))
    });
    Ok(WhichSessions { user, zone, node, state: state.transpose()? })
}
