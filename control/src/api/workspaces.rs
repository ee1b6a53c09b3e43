//! The catalogue.

use axum::{Json, extract::State, http::StatusCode};
use meridian_model::{OWN_SESSIONS, Permission};
use serde::Deserialize;

use super::{
    error::ApiError,
    extract::{Body, Path, Query, Token},
    permit::{Permit, WorkspacesCreate, WorkspacesDelete, WorkspacesModify, nobody},
};
use crate::{
    app::rules::{check_workspace, shown},
    state::AppState,
    store::{
        StoreError,
        workspaces::{ListWorkspaces, SavedWorkspace},
    },
    views::{ErrorView, NewWorkspace, Page, WorkspacePatch, WorkspaceView},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    zone: Option<String>,
    #[serde(default)]
    all: bool,
}

/// What the caller can launch, in the zone that is named or in any; everything there is for administrators who ask for all.
#[utoipa::path(get, path = "/api/v1/workspaces", tag = "workspaces",
    params(("zone" = Option<String>, Query), ("all" = Option<bool>, Query)),
    responses((status = 200, body = Page<WorkspaceView>), (status = 400, body = ErrorView), (status = 401, body = ErrorView),
        (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn list_workspaces(
    State(state): State<AppState>,
    Token(token): Token,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<WorkspaceView>>, ApiError> {
    match state.store.list_workspaces(token, query.zone.as_deref(), query.all).await? {
        ListWorkspaces::Ok { items } => Ok(Json(Page::whole(items))),
        ListWorkspaces::Unauthenticated => Err(nobody(&state, token).await),
        ListWorkspaces::Forbidden => {
            Err(ApiError::lacks(if query.all { Permission::WorkspacesView.as_str() } else { OWN_SESSIONS }))
        }
        ListWorkspaces::NoZone => Err(ApiError::not_found("zone")),
    }
}

/// Adds an entry to the catalogue.
#[utoipa::path(post, path = "/api/v1/workspaces", tag = "workspaces", request_body = NewWorkspace,
    responses((status = 201, body = WorkspaceView), (status = 403, body = ErrorView), (status = 409, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn create_workspace(
    State(state): State<AppState>,
    permit: Permit<WorkspacesCreate>,
    Body(new): Body<NewWorkspace>,
) -> Result<(StatusCode, Json<WorkspaceView>), ApiError> {
    ApiError::refuse(check_workspace(&new))?;
    let saved = state.store.create_workspace(&new, Some(permit.caller.id())).await.map_err(taken)?;
    saved_view(saved).map(|view| (StatusCode::CREATED, Json(view)))
}

/// Changes any of an entry's fields; `id` is its id or its name. Sessions that run stay as they are.
#[utoipa::path(patch, path = "/api/v1/workspaces/{id}", tag = "workspaces", request_body = WorkspacePatch, params(("id" = String, Path)),
    responses((status = 200, body = WorkspaceView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 409, body = ErrorView), (status = 422, body = ErrorView)))]
pub(super) async fn update_workspace(
    State(state): State<AppState>,
    permit: Permit<WorkspacesModify>,
    Path(id): Path,
    Body(patch): Body<WorkspacePatch>,
) -> Result<Json<WorkspaceView>, ApiError> {
    let row = state.store.find_workspace(&id).await?.ok_or_else(|| ApiError::not_found("workspace"))?;
    let entry = patch.apply(row.entry.clone());
    ApiError::refuse(check_workspace(&entry))?;
    let saved = state.store.replace_workspace(&row, &entry, permit.caller.id()).await.map_err(taken)?;
    saved_view(saved).map(Json)
}

/// Takes an entry out of the catalogue; its sessions go on.
#[utoipa::path(delete, path = "/api/v1/workspaces/{id}", tag = "workspaces", params(("id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn delete_workspace(
    State(state): State<AppState>,
    permit: Permit<WorkspacesDelete>,
    Path(id): Path,
) -> Result<StatusCode, ApiError> {
    let row = state.store.find_workspace(&id).await?.ok_or_else(|| ApiError::not_found("workspace"))?;
    if state.store.delete_workspace(row.entry.id, permit.caller.id()).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("workspace"))
    }
}

fn taken(error: StoreError) -> ApiError {
    if error.violates("workspaces_name_key") { ApiError::taken("workspace") } else { error.into() }
}

fn saved_view(saved: SavedWorkspace) -> Result<WorkspaceView, ApiError> {
    match saved {
        SavedWorkspace::Ok { workspace } => Ok(*workspace),
        SavedWorkspace::Changed => Err(ApiError::changed_meanwhile("workspace")),
        SavedWorkspace::NoGroup { group } => {
            Err(ApiError::field("groups", format!("{} is not a group", shown(&group))))
        }
        SavedWorkspace::NoZone { zone } => {
            Err(ApiError::field("zones", format!("{} is not a zone", shown(&zone)))
                .hint("It was deleted or renamed, perhaps: GET /api/v1/zones lists what there is"))
        }
    }
}
