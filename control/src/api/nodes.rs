//! Nodes, for administrators.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use meridian_ids::{NodeId, ZoneId};
use meridian_model::NodeRole;
use meridian_runtime::random_token;
use serde::Deserialize;

use super::{
    error::{ApiError, Hop},
    extract::{Body, From, Path, Query, hash_token},
    names::{check_limit, find_zone_id, next_of, page, read_cursor},
    permit::{Needs, NodesCreate, NodesDelete, NodesModify, NodesView, ZonePermit},
};
use crate::{
    app::{rules::check_node, words::counted},
    state::AppState,
    store::nodes::{NodeRemoval, WhichNodes},
    views::{
        EnrollmentView, ErrorView, NewEnrollment, NodePatch, NodeRemovalView, NodeView, Page, ZoneHealthView,
    },
};

/// How long an enrolment token is good.
const ENROLLMENT_S: u64 = 60 * 60;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    role: Option<NodeRole>,
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default = "page")]
    limit: i32,
}

/// Nodes with what they report, by zone, role and name: all of them, those of a zone or a role, or the one with a name or id.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes",
    params(("zone" = Option<String>, Query), ("role" = Option<String>, Query), ("node" = Option<String>, Query),
        ("cursor" = Option<String>, Query), ("limit" = Option<i32>, Query)),
    responses((status = 200, body = Page<NodeView>), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn list_nodes(
    State(state): State<AppState>,
    permit: ZonePermit<NodesView>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<NodeView>>, ApiError> {
    let limit = check_limit(query.limit)?;
    let after = read_cursor(query.cursor.as_deref())?;
    let zone = match &query.zone {
        Some(zone) => Some(find_zone_id(&state, zone).await?),
        None => None,
    };
    let which = WhichNodes { zone, role: query.role, node: query.node };
    let items = state.store.list_nodes(permit.zones(), &which, after, limit).await?;
    let next = next_of(&items, limit, |node| node.id.to_string());
    Ok(Json(Page { items, next }))
}

/// How the nodes of each zone stand together.
#[utoipa::path(get, path = "/api/v1/nodes/health", tag = "nodes",
    responses((status = 200, body = Page<ZoneHealthView>), (status = 403, body = ErrorView)))]
pub(super) async fn zone_health(
    State(state): State<AppState>,
    permit: ZonePermit<NodesView>,
) -> Result<Json<Page<ZoneHealthView>>, ApiError> {
    Ok(Json(Page::whole(state.store.zone_health(permit.zones()).await?)))
}

/// Sets an agent's labels, overrides, overcommit and limits. What is promised already stays promised, also beyond a lower limit.
#[utoipa::path(patch, path = "/api/v1/nodes/{id}", tag = "nodes", request_body = NodePatch, params(("id" = String, Path)),
    responses((status = 200, body = NodeView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn update_node(
    State(state): State<AppState>,
    permit: ZonePermit<NodesModify>,
    Path(id): Path,
    Body(patch): Body<NodePatch>,
) -> Result<Json<NodeView>, ApiError> {
    let id: NodeId = id.parse().map_err(|_| ApiError::not_found("node"))?;
    let zone = zone_of(&state, &permit, id).await?;
    let caller = permit.within(zone)?;
    ApiError::refuse(check_node(&patch))?;
    let changed = state.store.update_node(id, &patch, caller.id()).await?;
    changed.map(Json).ok_or_else(|| ApiError::not_found("agent"))
}

/// Nothing new comes to the node; what runs goes on. A proxy's viewers are asked to move to another proxy, and its `streams` fall to 0.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/drain", tag = "nodes", params(("id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn drain_node(
    state: State<AppState>,
    permit: ZonePermit<NodesModify>,
    id: Path,
) -> Result<StatusCode, ApiError> {
    set_draining(state, permit, id, true).await
}

/// The node takes new work again.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/undrain", tag = "nodes", params(("id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn undrain_node(
    state: State<AppState>,
    permit: ZonePermit<NodesModify>,
    id: Path,
) -> Result<StatusCode, ApiError> {
    set_draining(state, permit, id, false).await
}

async fn set_draining(
    State(state): State<AppState>,
    permit: ZonePermit<NodesModify>,
    Path(id): Path,
    draining: bool,
) -> Result<StatusCode, ApiError> {
    let id: NodeId = id.parse().map_err(|_| ApiError::not_found("node"))?;
    let zone = zone_of(&state, &permit, id).await?;
    let caller = permit.within(zone)?;
    if state.store.set_draining(id, draining, caller.id()).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("node"))
    }
}

/// The node's zone, asked only of whom it concerns: a key that is bound to zones.
async fn zone_of<P: Needs>(
    state: &AppState,
    permit: &ZonePermit<P>,
    node: NodeId,
) -> Result<Option<ZoneId>, ApiError> {
    match permit.zones() {
        None => Ok(None),
        Some(_) => Ok(state.node_credentials(node).await?.and_then(|node| node.zone)),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveQuery {
    #[serde(default)]
    drain: bool,
}

/// Removes a node that does nothing any more. One that does not answer goes at once: its sessions are lost, and give their places back. With
/// `drain`, one that works is drained and its sessions told to end: 202, until it can be removed.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/remove", tag = "nodes",
    params(("id" = String, Path), ("drain" = Option<bool>, Query)),
    responses((status = 204), (status = 202, body = NodeRemovalView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 409, body = ErrorView)))]
pub(super) async fn remove_node(
    State(state): State<AppState>,
    permit: ZonePermit<NodesDelete>,
    From(origin): From,
    Path(id): Path,
    Query(query): Query<RemoveQuery>,
) -> Result<Response, ApiError> {
    let id: NodeId = id.parse().map_err(|_| ApiError::not_found("node"))?;
    let zone = zone_of(&state, &permit, id).await?;
    let caller = permit.within(zone)?;
    match state.store.remove_node(id, query.drain, caller.id(), &origin).await? {
        NodeRemoval::Ok => {
            state.forget_node_credentials(id);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        NodeRemoval::Draining { sessions, streams } => {
            let view = NodeRemovalView { state: "draining".into(), sessions, streams };
            Ok((StatusCode::ACCEPTED, Json(view)).into_response())
        }
        NodeRemoval::NotFound => Err(ApiError::not_found("node")),
        NodeRemoval::Answers { name } => Err(ApiError::new(
            StatusCode::CONFLICT,
            "node_answers",
            format!("The Web App node {name} answers, and serves whoever comes to it"),
        )
        .hop(Hop::Web)
        .hint("Stop it on its machine; some seconds later it can be removed")),
        NodeRemoval::InUse { sessions, streams } => Err(ApiError::new(
            StatusCode::CONFLICT,
            "node_in_use",
            format!(
                "This node answers, with {} on it and {} through it",
                counted(sessions, "session", "sessions"),
                counted(streams, "stream", "streams")
            ),
        )
        .hint("Drain it first, and end what runs there: meridian admin nodes remove NODE --drain")),
    }
}

/// A single-use token with which a new node joins.
#[utoipa::path(post, path = "/api/v1/nodes/enrollments", tag = "nodes", request_body = NewEnrollment,
    responses((status = 201, body = EnrollmentView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn create_enrollment(
    State(state): State<AppState>,
    permit: ZonePermit<NodesCreate>,
    Body(new): Body<NewEnrollment>,
) -> Result<(StatusCode, Json<EnrollmentView>), ApiError> {
    if new.role == NodeRole::Web {
        return Err(ApiError::invalid(
            "a Web App node needs no enrolment: it has the database and the master key",
        ));
    }
    let zone = state.store.find_zone(&new.zone).await?.ok_or_else(|| ApiError::not_found("zone"))?;
    let caller = permit.within(Some(zone.id))?;
    let token = random_token();
    #[expect(clippy::cast_precision_loss, reason = "a small constant")]
    let lifetime = ENROLLMENT_S as f64;
    let hash = hash_token(&token);
    state.store.create_enrollment(&hash.0, new.role, Some(zone.id), Some(caller.id()), lifetime).await?;
    let view = EnrollmentView { token, role: new.role, zone: zone.name, expires_in_s: ENROLLMENT_S };
    Ok((StatusCode::CREATED, Json(view)))
}
