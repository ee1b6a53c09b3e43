//! The catalogue.

use axum::{Json, extract::State, http::StatusCode};

use super::{
    error::ApiError,
    extract::{Admin, Body, Token},
};
use crate::{
    state::AppState,
    views::{ErrorView, NewWorkspace, Page, WorkspaceView},
};

/// What the caller can launch.
#[utoipa::path(get, path = "/api/v1/workspaces", tag = "workspaces",
    responses((status = 200, body = Page<WorkspaceView>), (status = 401, body = ErrorView)))]
pub(super) async fn list_workspaces(
    State(state): State<AppState>,
    Token(token): Token,
) -> Result<Json<Page<WorkspaceView>>, ApiError> {
    let items = state.store.list_workspaces(token).await?.ok_or_else(ApiError::unauthenticated)?;
    Ok(Json(Page::whole(items)))
}

/// Adds an entry to the catalogue.
#[utoipa::path(post, path = "/api/v1/workspaces", tag = "workspaces", request_body = NewWorkspace,
    responses((status = 201, body = WorkspaceView), (status = 403, body = ErrorView), (status = 409, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn create_workspace(
    State(state): State<AppState>,
    Admin(admin): Admin,
    Body(new): Body<NewWorkspace>,
) -> Result<(StatusCode, Json<WorkspaceView>), ApiError> {
    check(&new)?;
    match state.store.create_workspace(&new, Some(admin.id)).await {
        Ok(workspace) => Ok((StatusCode::CREATED, Json(workspace))),
        Err(error) if error.violates("workspaces_name_key") => Err(ApiError::taken("workspace")),
        Err(error) => Err(error.into()),
    }
}

fn check(new: &NewWorkspace) -> Result<(), ApiError> {
    let within = |value: i64, low: i64, high: i64, what: &str| {
        if (low..=high).contains(&value) {
            Ok(())
        } else {
            Err(ApiError::invalid(format!("{what} must be between {low} and {high}")))
        }
    };
    if new.name.trim().is_empty() || new.name.len() > 128 {
        return Err(ApiError::invalid("name must have 1 to 128 characters"));
    }
    if new.image.trim().is_empty() || new.image.len() > 512 {
        return Err(ApiError::invalid("image must be an image reference"));
    }
    if !(0.05..=1024.0).contains(&new.cpu) {
        return Err(ApiError::invalid("cpu must be between 0.05 and 1024 cores"));
    }
    within(new.memory_mb, 64, 16 << 20, "memory_mb")?;
    within(new.gpu.into(), 0, 64, "gpu")?;
    within(new.shm_mb, 1, 1 << 20, "shm_mb")?;
    within(new.home_mb, 16, 1 << 24, "home_mb")?;
    within(new.tmp_mb, 16, 1 << 20, "tmp_mb")?;
    within(new.pids_limit, 32, 1 << 20, "pids_limit")
}
