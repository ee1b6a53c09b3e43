//! Homes that outlive their sessions: to look at, to reset, and those of nobody to remove.

use axum::{Json, extract::State, http::StatusCode};
use meridian_ids::HomeId;
use meridian_model::{OWN_SESSIONS, Permission};
use serde::Deserialize;

use super::{
    error::{ApiError, Hop},
    extract::{Body, From, Path, Query, Token},
    names::{check_limit, next_of, page, read_cursor},
    permit::{Permit, SessionsDelete, nobody},
};
use crate::{
    state::AppState,
    store::homes::{HomeFilter, ListHomes, ReleaseHome, ResetHome},
    views::{DeletedHomesView, ErrorView, HomeRelease, HomeState, HomeView, Page},
};

/// Homes that one call removes at most; whoever has more calls again.
const MOST_AT_ONCE: i32 = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HomesQuery {
    #[serde(default)]
    all: bool,
    user: Option<String>,
    workspace: Option<String>,
    zone: Option<String>,
    agent: Option<String>,
    state: Option<String>,
    #[serde(default)]
    gone: bool,
    cursor: Option<String>,
    #[serde(default = "page")]
    limit: i32,
}

/// The caller's homes; with `all`, everybody's for whoever may view sessions, or those that the filters let through.
#[utoipa::path(get, path = "/api/v1/homes", tag = "homes",
    params(("all" = Option<bool>, Query), ("user" = Option<String>, Query, description = "Id or name"),
        ("workspace" = Option<String>, Query, description = "Id or name"), ("zone" = Option<String>, Query),
        ("agent" = Option<String>, Query), ("state" = Option<String>, Query),
        ("gone" = Option<bool>, Query, description = "Only those whose user or workspace was deleted"),
        ("cursor" = Option<String>, Query), ("limit" = Option<i32>, Query)),
    responses((status = 200, body = Page<HomeView>), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn list_homes(
    State(state): State<AppState>,
    Token(token): Token,
    Query(query): Query<HomesQuery>,
) -> Result<Json<Page<HomeView>>, ApiError> {
    let (limit, after) = (check_limit(query.limit)?, read_cursor::<HomeId>(query.cursor.as_deref())?);
    let everybody = if query.all { Some(filter(&state, query).await?) } else { own(&query)? };
    match state.store.list_homes(token, everybody.as_ref(), after, limit).await? {
        ListHomes::Ok { items } => {
            let next = next_of(&items, limit, |home| home.id.to_string());
            Ok(Json(Page { items, next }))
        }
        ListHomes::Unauthenticated => Err(nobody(&state, token).await),
        ListHomes::Forbidden => {
            let lacking = if everybody.is_some() { Permission::SessionsView.as_str() } else { OWN_SESSIONS };
            Err(ApiError::lacks(lacking))
        }
    }
}

/// One's own are few: what filters them would be a mistake for those of everybody.
fn own(query: &HomesQuery) -> Result<Option<HomeFilter>, ApiError> {
    let HomesQuery { all: _, user, workspace, zone, agent, state, gone, cursor: _, limit: _ } = query;
    let filters =
        [("user", user), ("workspace", workspace), ("zone", zone), ("agent", agent), ("state", state)];
    let named = filters.iter().find(|(_, value)| value.is_some()).map(|(name, _)| *name);
    match named.or(gone.then_some("gone")) {
        None => Ok(None),
        Some(name) => Err(ApiError::field(name, "filters everybody's homes, and goes with all=true")),
    }
}

async fn filter(state: &AppState, query: HomesQuery) -> Result<HomeFilter, ApiError> {
    let user = match &query.user {
        Some(user) => Some(state.store.find_user_id(user).await?.ok_or_else(|| ApiError::not_found("user"))?),
        None => None,
    };
    let wanted = match query.state.as_deref() {
        None => None,
        Some(text) => Some(HomeState::parse(text).ok_or_else(|| {
            let known: Vec<_> = HomeState::ALL.into_iter().map(HomeState::as_str).collect();
            ApiError::field("state", format!("must be one of {}", known.join(", ")))
        })?),
    };
    let HomesQuery { workspace, zone, agent, gone, .. } = query;
    Ok(HomeFilter { user, workspace, zone, agent, state: wanted, gone })
}

/// Removes a home with everything in it; the next launch begins with an empty one. One of the caller's, or anybody's for whoever may delete
/// sessions.
#[utoipa::path(delete, path = "/api/v1/homes/{id}", tag = "homes", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorView), (status = 404, body = ErrorView), (status = 409, body = ErrorView)))]
pub(super) async fn reset_home(
    State(state): State<AppState>,
    From(origin): From,
    Token(token): Token,
    Path(id): Path,
) -> Result<StatusCode, ApiError> {
    match state.store.reset_home(token, parse(&id)?, &origin).await? {
        ResetHome::Ok => Ok(StatusCode::NO_CONTENT),
        ResetHome::Unauthenticated => Err(nobody(&state, token).await),
        ResetHome::NotFound => Err(ApiError::not_found("home")),
        ResetHome::InUse => Err(ApiError::new(
            StatusCode::CONFLICT,
            "home_in_use",
            "A session has this home: it cannot be reset now",
        )
        .hop(Hop::Web)
        .hint("End the session first, and wait until it has ended")),
    }
}

/// Takes a home on its zone's storage from an agent that has not released it, so that the next launch has it wherever it runs; the session that
/// had it ends. That agent freezes what still runs, as soon as it sees the storage.
#[utoipa::path(post, path = "/api/v1/homes/{id}/release", tag = "homes", params(("id" = String, Path)), request_body = HomeRelease,
    responses((status = 204), (status = 401, body = ErrorView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 409, body = ErrorView)))]
pub(super) async fn release_home(
    State(state): State<AppState>,
    From(origin): From,
    Token(token): Token,
    Path(id): Path,
    Body(release): Body<HomeRelease>,
) -> Result<StatusCode, ApiError> {
    let home = parse(&id)?;
    match state.store.release_home(token, home, release.force, &origin).await? {
        ReleaseHome::Ok => {
            tracing::warn!(%home, "a home was taken from its agent by force");
            Ok(StatusCode::NO_CONTENT)
        }
        ReleaseHome::Free => Ok(StatusCode::NO_CONTENT),
        ReleaseHome::Unauthenticated => Err(nobody(&state, token).await),
        ReleaseHome::Forbidden => Err(ApiError::lacks(Permission::SessionsModify.as_str())),
        ReleaseHome::NotFound => Err(ApiError::not_found("home")),
        ReleaseHome::OnAgent { agent } => Err(ApiError::new(
            StatusCode::CONFLICT,
            "home_on_agent",
            format!("This home is on the disk of {agent} alone: no other agent can have it"),
        )
        .hop(Hop::Agent)
        .hint("Bring that agent back, or reset the home to begin with an empty one")),
        ReleaseHome::Held { agent, answers } => Err(held(&agent, answers)),
    }
}

fn held(agent: &str, answers: bool) -> ApiError {
    let (message, hint) = if answers {
        (
            format!("{agent} has this home and answers"),
            "End the session: its agent releases the home then. With force it is taken from it at once",
        )
    } else {
        (
            format!("{agent} has not released this home and does not answer"),
            "Wait for it; or take the home with force, if what its session wrote last may be missing",
        )
    };
    ApiError::new(StatusCode::CONFLICT, "home_held", message).hop(Hop::Agent).hint(hint)
}

/// Removes the homes whose user or workspace was deleted, a thousand at a time; those that a session still has stay.
#[utoipa::path(delete, path = "/api/v1/homes", tag = "homes",
    responses((status = 200, body = DeletedHomesView), (status = 401, body = ErrorView), (status = 403, body = ErrorView)))]
pub(super) async fn delete_gone_homes(
    State(state): State<AppState>,
    permit: Permit<SessionsDelete>,
    From(origin): From,
) -> Result<Json<DeletedHomesView>, ApiError> {
    let deleted = state.store.delete_gone_homes(permit.caller.id(), MOST_AT_ONCE, &origin).await?;
    Ok(Json(deleted))
}

/// What is no id at all names no home either.
fn parse(id: &str) -> Result<HomeId, ApiError> {
    id.parse().map_err(|_| ApiError::not_found("home"))
}
