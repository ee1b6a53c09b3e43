//! Accounts, for administrators.

use axum::{Json, extract::State, http::StatusCode};
use meridian_ids::UserId;
use meridian_runtime::Secret;

use super::{
    error::ApiError,
    extract::{Admin, Body, Path},
};
use crate::{
    app::passwords::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS},
    state::AppState,
    views::{ErrorView, NewUser, Page, UserPatch, UserRowView},
};

/// Every account.
#[utoipa::path(get, path = "/api/v1/users", tag = "users",
    responses((status = 200, body = Page<UserRowView>), (status = 403, body = ErrorView)))]
pub(super) async fn list_users(
    State(state): State<AppState>,
    _: Admin,
) -> Result<Json<Page<UserRowView>>, ApiError> {
    Ok(Json(Page::whole(state.store.list_users().await?)))
}

/// Makes an account.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = NewUser,
    responses((status = 201, body = UserRowView), (status = 403, body = ErrorView), (status = 409, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn create_user(
    State(state): State<AppState>,
    Admin(admin): Admin,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<UserRowView>), ApiError> {
    let name = new.username.trim();
    if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
        return Err(ApiError::invalid("username must have 1 to 128 characters"));
    }
    if new.password.chars().count() < MIN_PASSWORD_CHARS || new.password.len() > MAX_PASSWORD_BYTES {
        return Err(ApiError::invalid(format!(
            "password must have {MIN_PASSWORD_CHARS} characters or more, and at most {MAX_PASSWORD_BYTES} bytes"
        )));
    }
    let hash = state.passwords.hash(Secret::new(new.password)).await?;
    match state.store.create_user(name, &hash, new.role, Some(admin.id)).await {
        Ok(user) => Ok((StatusCode::CREATED, Json(user))),
        Err(error) if error.violates("users_name") => Err(ApiError::taken("user")),
        Err(error) => Err(error.into()),
    }
}

/// Disables an account (its logins end and its streams are cut at once; its sessions stay), enables it, or changes its limit.
#[utoipa::path(patch, path = "/api/v1/users/{id}", tag = "users", request_body = UserPatch, params(("id" = String, Path)),
    responses((status = 200, body = UserRowView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn update_user(
    State(state): State<AppState>,
    Admin(admin): Admin,
    Path(id): Path,
    Body(patch): Body<UserPatch>,
) -> Result<Json<UserRowView>, ApiError> {
    let id: UserId = id.parse().map_err(|_| ApiError::not_found("user"))?;
    if id == admin.id && patch.disabled == Some(true) {
        return Err(ApiError::invalid("you cannot disable yourself")
            .hint("Let another administrator do it, so that nobody locks everybody out"));
    }
    if patch.session_limit.is_some_and(|limit| !(0..=10_000).contains(&limit)) {
        return Err(ApiError::invalid("session_limit must be between 0 and 10000"));
    }
    let changed = state.store.update_user(id, patch.disabled, patch.session_limit, admin.id).await?;
    changed.map(Json).ok_or_else(|| ApiError::not_found("user"))
}
