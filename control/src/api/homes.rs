//! A person's homes that outlive their sessions: to look at, and to reset.

use axum::{Json, extract::State, http::StatusCode};
use meridian_model::OWN_SESSIONS;

use super::{
    error::{ApiError, Hop},
    extract::{From, Path, Token},
    permit::nobody,
};
use crate::{
    state::AppState,
    store::homes::{ListHomes, ResetHome},
    views::{ErrorView, HomeView, Page},
};

/// The caller's homes.
#[utoipa::path(get, path = "/api/v1/homes", tag = "sessions",
    responses((status = 200, body = Page<HomeView>), (status = 401, body = ErrorView), (status = 403, body = ErrorView)))]
pub(super) async fn list_homes(
    State(state): State<AppState>,
    Token(token): Token,
) -> Result<Json<Page<HomeView>>, ApiError> {
    match state.store.list_homes(token).await? {
        ListHomes::Ok { items } => Ok(Json(Page::whole(items))),
        ListHomes::Unauthenticated => Err(nobody(&state, token).await),
        ListHomes::Forbidden => Err(ApiError::lacks(OWN_SESSIONS)),
    }
}

/// Removes one of the caller's homes with everything in it; the next launch begins with an empty one.
#[utoipa::path(delete, path = "/api/v1/homes/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorView), (status = 404, body = ErrorView), (status = 409, body = ErrorView)))]
pub(super) async fn reset_home(
    State(state): State<AppState>,
    From(origin): From,
    Token(token): Token,
    Path(id): Path,
) -> Result<StatusCode, ApiError> {
    let home = id.parse().map_err(|_| ApiError::not_found("home"))?;
    match state.store.reset_home(token, home, &origin).await? {
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
