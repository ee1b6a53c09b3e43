//! Nodes, for administrators.

use axum::{Json, extract::State, http::StatusCode};
use meridian_ids::NodeId;
use meridian_model::NodeRole;
use meridian_runtime::random_token;

use super::{
    error::ApiError,
    extract::{Admin, Body, Path, hash_token},
};
use crate::{
    app::rules::check_node,
    state::AppState,
    store::nodes::NodeRemoval,
    views::{EnrollmentView, ErrorView, NewEnrollment, NodePatch, NodeView, Page},
};

/// How long an enrolment token is good.
const ENROLLMENT_S: u64 = 60 * 60;

/// Every node, with what it reports.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes",
    responses((status = 200, body = Page<NodeView>), (status = 403, body = ErrorView)))]
pub(super) async fn list_nodes(
    State(state): State<AppState>,
    _: Admin,
) -> Result<Json<Page<NodeView>>, ApiError> {
    Ok(Json(Page::whole(state.store.list_nodes().await?)))
}

/// Sets an agent's labels, overrides, overcommit and limits. What is promised already stays promised, also beyond a lower limit.
#[utoipa::path(patch, path = "/api/v1/nodes/{id}", tag = "nodes", request_body = NodePatch, params(("id" = String, Path)),
    responses((status = 200, body = NodeView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn update_node(
    State(state): State<AppState>,
    Admin(admin): Admin,
    Path(id): Path,
    Body(patch): Body<NodePatch>,
) -> Result<Json<NodeView>, ApiError> {
    let id: NodeId = id.parse().map_err(|_| ApiError::not_found("node"))?;
    ApiError::refuse(check_node(&patch))?;
    let changed = state.store.update_node(id, &patch, admin.id).await?;
    changed.map(Json).ok_or_else(|| ApiError::not_found("agent"))
}

/// Nothing new comes to the node; what runs goes on. A proxy's viewers are asked to move to another proxy, and its `streams` fall to 0.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/drain", tag = "nodes", params(("id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn drain_node(
    state: State<AppState>,
    admin: Admin,
    id: Path,
) -> Result<StatusCode, ApiError> {
    set_draining(state, admin, id, true).await
}

/// The node takes new work again.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/undrain", tag = "nodes", params(("id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn undrain_node(
    state: State<AppState>,
    admin: Admin,
    id: Path,
) -> Result<StatusCode, ApiError> {
    set_draining(state, admin, id, false).await
}

async fn set_draining(
    State(state): State<AppState>,
    Admin(admin): Admin,
    Path(id): Path,
    draining: bool,
) -> Result<StatusCode, ApiError> {
    let id: NodeId = id.parse().map_err(|_| ApiError::not_found("node"))?;
    if state.store.set_draining(id, draining, admin.id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("node"))
    }
}

/// Removes a node that is gone for good: its sessions are lost and give their places back. A node that answers must have none.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/remove", tag = "nodes", params(("id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorView), (status = 404, body = ErrorView), (status = 409, body = ErrorView)))]
pub(super) async fn remove_node(
    State(state): State<AppState>,
    Admin(admin): Admin,
    Path(id): Path,
) -> Result<StatusCode, ApiError> {
    let id: NodeId = id.parse().map_err(|_| ApiError::not_found("node"))?;
    match state.store.remove_node(id, admin.id).await? {
        NodeRemoval::Done => {
            state.forget_node_credentials(id);
            Ok(StatusCode::NO_CONTENT)
        }
        NodeRemoval::NotFound => Err(ApiError::not_found("node")),
        NodeRemoval::InUse => Err(ApiError::new(
            StatusCode::CONFLICT,
            "node_in_use",
            "This node answers, and sessions live on it",
        )
        .hint("Drain it and end its sessions first")),
    }
}

/// A single-use token with which a new node joins.
#[utoipa::path(post, path = "/api/v1/nodes/enrollments", tag = "nodes", request_body = NewEnrollment,
    responses((status = 201, body = EnrollmentView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn create_enrollment(
    State(state): State<AppState>,
    Admin(admin): Admin,
    Body(new): Body<NewEnrollment>,
) -> Result<(StatusCode, Json<EnrollmentView>), ApiError> {
    if new.role == NodeRole::Web {
        return Err(ApiError::invalid(
            "a Web App node needs no enrolment: it has the database and the master key",
        ));
    }
    let zone = state.store.find_zone(&new.zone).await?.ok_or_else(|| ApiError::not_found("zone"))?;
    let token = random_token();
    #[expect(clippy::cast_precision_loss, reason = "a small constant")]
    let lifetime = ENROLLMENT_S as f64;
    let hash = hash_token(&token);
    state.store.create_enrollment(&hash.0, new.role, Some(zone.id), Some(admin.id), lifetime).await?;
    let view = EnrollmentView { token, role: new.role, zone: zone.name, expires_in_s: ENROLLMENT_S };
    Ok((StatusCode::CREATED, Json(view)))
}
