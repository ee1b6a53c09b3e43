//! What balancers and verifiers ask without a login.

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use meridian_ticket::KeySet;
use serde_json::{Value, json};

use super::error::ApiError;
use crate::state::AppState;

/// 200 when this node serves and reaches the database.
pub(super) async fn healthcheck(State(state): State<AppState>) -> (StatusCode, Json<Value>) {
    if state.is_leaving() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"ok": false, "error": "this node is stopping"})),
        );
    }
    match state.store.ping().await {
        Ok(()) => (StatusCode::OK, Json(json!({"ok": true}))),
        // A fixed text: a check may look for the word that a healthy answer has.
        Err(_) => {
            let body = json!({"ok": false, "error": "the database does not answer"});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}

/// The keys that tickets and grants are checked with.
pub(super) async fn jwks(State(state): State<AppState>) -> Json<KeySet> {
    Json(state.deployment.key_set.clone())
}

pub(super) async fn no_such_route(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no_such_route", format!("There is nothing at {}", uri.path()))
        .hint("See /api/v1/openapi.json for what there is")
}

/// Which methods there are, the `Allow` header says.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{method} does not work at {}", uri.path()),
    )
    .hint("The Allow header names the methods that do; see /api/v1/openapi.json")
}

/// The process answers.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({"ok": true}))
}

/// Whether the node can do its work, and if not, why: stable codes with a text each.
pub(super) async fn readyz(State(state): State<AppState>) -> (StatusCode, Json<Value>) {
    let reasons = state.health.reasons();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": reasons.is_empty(), "reasons": reasons})))
}
