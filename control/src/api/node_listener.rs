//! The node listener: heartbeats, watches and renewals, over mutual TLS. No user comes here.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use meridian_identity::{NodeName, Peer};
use meridian_model::NodeRole;
use meridian_wire::{Heartbeat, RenewRequest, RenewResponse, TicketKey, Update, node_paths};
use serde::Deserialize;
use tokio::sync::broadcast;

use super::{
    error::{ApiError, Hop},
    extract::{Body as JsonBody, Query},
    health, layers,
};
use crate::{
    app::{
        bus::{Changed, next_look},
        images::open_logins,
        ticket_keys::ticket_keys,
    },
    state::AppState,
    store::nodes::HeartbeatOutcome,
};

/// A zone's agents may hold many sessions, each a line of the report.
const MAX_HEARTBEAT_BYTES: usize = 8 << 20;

/// Everything that the node listener serves. [`Peer`] is put on each request by whoever accepted the connection.
pub(crate) fn node_router(state: AppState) -> Router {
    Router::new()
        .route(node_paths::HEARTBEAT, post(heartbeat))
        .route(node_paths::WATCH, get(watch))
        .route(node_paths::RENEW, post(renew))
        .fallback(health::no_such_route)
        .method_not_allowed_fallback(health::method_not_allowed)
        .layer(axum::extract::DefaultBodyLimit::max(MAX_HEARTBEAT_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), layers::frame))
        .with_state(state)
}

async fn heartbeat(
    State(state): State<AppState>,
    Extension(peer): Extension<Arc<Peer>>,
    JsonBody(beat): JsonBody<Heartbeat>,
) -> Result<Response, ApiError> {
    match state.store.heartbeat(peer.node, &beat).await? {
        HeartbeatOutcome::Ok { mut update } => {
            let keys = keys_for(&state, &peer);
            // The database's text goes on as it came, but for secrets: keys that are in no database, and passwords that rest there sealed.
            if let Some(settings) = update.get_mut("settings").filter(|_| !keys.is_empty()) {
                settings["ticket_keys"] = serde_json::to_value(keys).unwrap_or_default();
            }
            if let (Some(orders), Some(zone)) = (update.get_mut("images"), peer.zone) {
                open_logins(&state.deployment.sealer, zone, orders);
            }
            Ok(Json(update).into_response())
        }
        HeartbeatOutcome::UnknownNode => Err(removed()),
    }
}

/// The TLS ticket keys of a proxy's zone; nobody else gets any.
fn keys_for(state: &AppState, peer: &Peer) -> Vec<TicketKey> {
    match (peer.role, peer.zone) {
        (NodeRole::Proxy, Some(zone)) => {
            ticket_keys(&state.deployment.key_root, zone, state.clock.control_now())
        }
        (NodeRole::Proxy, None)
        | (NodeRole::Web | NodeRole::Agent | NodeRole::Connect | NodeRole::Balance, _) => Vec::new(),
    }
}

fn removed() -> ApiError {
    ApiError::new(StatusCode::GONE, "node_removed", "This node was removed from the deployment")
        .hop(Hop::Web)
        .hint("Enrol it again with a new token: meridian admin nodes enroll")
}

#[derive(Deserialize)]
struct WatchQuery {
    #[serde(default)]
    since: i64,
}

/// JSON lines, each an update; an empty line when there was nothing new for a while.
async fn watch(
    State(state): State<AppState>,
    Extension(peer): Extension<Arc<Peer>>,
    Query(query): Query<WatchQuery>,
) -> Response {
    let watch = Watch { news: state.bus.subscribe(), node: *peer, since: query.since, told: None, state };
    Response::new(Body::from_stream(stream::unfold(watch, Watch::next)))
}

struct Watch {
    state: AppState,
    news: broadcast::Receiver<Changed>,
    node: NodeName,
    since: i64,
    /// The settings as the node was told of them last; none: it was told nothing yet.
    told: Option<String>,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.told.is_some() {
            let (node, stopping) = (self.node, self.state.tasks.stopping());
            tokio::select! {
                () = stopping.cancelled() => return None,
                () = next_look(&mut self.news, |changed| concerns(changed, &node)) => {}
            }
        }
        let mut update = match self.state.store.update_for(self.node.node, self.since).await {
            Ok(update) => update,
            // The node's heartbeat and its next watch make up for it.
            Err(error) => {
                tracing::debug!(%error, peer = %self.node.node, "a watch ends: no update could be read");
                return None;
            }
        };
        if let Some(settings) = &mut update.settings {
            settings.ticket_keys = keys_for(&self.state, &self.node);
        }
        let settings = serde_json::to_string(&update.settings).unwrap_or_default();
        let is_news = update.version > self.since || self.told.as_ref() != Some(&settings);
        let line = if is_news { line(&update) } else { Bytes::from_static(b"\n") };
        self.since = update.version;
        self.told = Some(settings);
        Some((Ok(line), self))
    }
}

/// Whether a node's watch looks at once. Relays and balancers are few, and hear of their zone without delay; agents, who may be many, are
/// woken by their own sessions and hear of the rest with the period.
fn concerns(changed: &Changed, watcher: &NodeName) -> bool {
    match changed {
        Changed::Session { node, .. } => *node == watcher.node,
        Changed::Zone(zone) => watcher.role != NodeRole::Agent && watcher.zone == Some(*zone),
    }
}

fn line(update: &Update) -> Bytes {
    let mut line = serde_json::to_vec(update).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

async fn renew(
    State(state): State<AppState>,
    Extension(peer): Extension<Arc<Peer>>,
    JsonBody(request): JsonBody<RenewRequest>,
) -> Result<Json<RenewResponse>, ApiError> {
    let authority = &state.deployment.authority;
    let issued = authority
        .issue(&request.csr_pem, &peer, &[], state.clock.control_now())
        .map_err(|error| ApiError::invalid("csr_pem is not a certificate request").cause(error))?;
    if !state.store.set_public_point(peer.node, &issued.public_point).await? {
        return Err(removed());
    }
    state.forget_node_credentials(peer.node);
    tracing::info!(peer = %peer.node, peer.role = %peer.role, "certificate renewed");
    let ca_pem = authority.certificate_pem().to_owned();
    Ok(Json(RenewResponse { certificate_pem: issued.certificate_pem, ca_pem }))
}

/// How long a node may take over its handshake.
pub(crate) const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
