//! What nodes ask at the public entry: to be enrolled, and whether a connection is allowed.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use meridian_identity::{CallError, CallHeaders, NodeName, verify_call};
use meridian_ids::{GrantId, NodeId};
use meridian_model::{NodeRole, Policy};
use meridian_ticket::{Ticket, TokenError, zone_audience};
use meridian_wire::{AuthorizeRequest, AuthorizeResponse, EnrollRequest, EnrollResponse, public_paths};

use super::{
    error::{ApiError, Hop},
    extract::{Body, From, Raw, hash_token},
};
use crate::{
    app::tickets,
    state::AppState,
    store::{nodes::Enroll, sessions::Authorize, watches::AuthorizeWatch},
};

/// A proxy's question, or that of an agent whose zone has none; signed by its key. Warm, it costs one database round trip; the node's key is remembered.
pub(super) async fn authorize(
    State(state): State<AppState>,
    From(mut origin): From,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Json<AuthorizeResponse>, ApiError> {
    let call = CallHeaders::read(|name| headers.get(name)?.to_str().ok()).map_err(refuse_call)?;
    let now = state.clock.control_now();
    // What costs nothing comes first: rubbish asks the database nothing.
    let request: AuthorizeRequest = serde_json::from_slice(&body)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "malformed", error.to_string()))?;
    let nonce = &request.connection_nonce;
    if nonce.len() != 32 || !nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ApiError::invalid("connection_nonce must be 32 hex digits"));
    }
    let ticket = state.deployment.key_set.check_any_ticket(&request.ticket, now).map_err(refuse_ticket)?;
    let node = state.node_credentials(call.node).await?.ok_or_else(unknown_proxy)?;
    let verify = |point: &[u8]| {
        verify_call(&call, point, "POST", public_paths::AUTHORIZE, &body, now).map_err(refuse_call)
    };
    if let Err(refused) = verify(&node.public_point) {
        let newer = state.newer_node_credentials(call.node).await?.ok_or(refused)?;
        verify(&newer.public_point)?;
    }
    // An agent asks where the zone has no proxies, and for its own sessions.
    let is_own = node.role == NodeRole::Agent && ticket.agent == call.node;
    let may_ask = node.role == NodeRole::Proxy || is_own;
    let zone = node.zone.filter(|_| may_ask).ok_or_else(unknown_proxy)?;
    if ticket.aud != zone_audience(zone) || ticket.iss != state.deployment.id {
        return Err(refuse_ticket(TokenError::WrongAudience));
    }
    origin.address = request.client_address.chars().take(64).collect();
    let answer = match ticket.watch {
        None => state.store.authorize(call.node, zone, &ticket, nonce, &origin).await?,
        // What may be done is nothing, whatever policy says of whoever looks on.
        Some(watch) => {
            match state.store.authorize_watch(call.node, zone, (&ticket, watch), nonce, &origin).await? {
                AuthorizeWatch::Ok { grant_id, granted_at_s } => {
                    return Ok(granted(&state, &ticket, call.node, grant_id, granted_at_s, Policy::ONLOOKER));
                }
                AuthorizeWatch::UnknownProxy => Authorize::UnknownProxy,
                AuthorizeWatch::Reused => Authorize::Reused,
                AuthorizeWatch::NotLive => return Err(not_watching()),
            }
        }
    };
    match answer {
        Authorize::Ok { grant_id, granted_at_s, policy } => {
            Ok(granted(&state, &ticket, call.node, grant_id, granted_at_s, policy.stream()))
        }
        Authorize::UnknownProxy if is_own => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "not_direct",
            "This zone's streams go through its proxies, not to its agents",
        )
        .hop(Hop::Agent)
        .hint("Connect again: the page is given the address that holds now")),
        Authorize::UnknownProxy => Err(unknown_proxy()),
        Authorize::Reused => Err(ApiError::new(
            StatusCode::CONFLICT,
            "ticket_used",
            "This connect ticket was used already; a ticket opens one stream",
        )
        .hop(Hop::Web)
        .hint("Connect again: the page asks for a new ticket by itself")),
        Authorize::NotLive => Err(ApiError::new(
            StatusCode::CONFLICT,
            "session_not_live",
            "The session that this ticket was for has ended or moved",
        )
        .hop(Hop::Web)
        .hint("Reload the page to see how the session stands")),
    }
}

fn granted(
    state: &AppState,
    ticket: &Ticket,
    proxy: NodeId,
    grant: GrantId,
    granted_at_s: i64,
    policy: Policy,
) -> Json<AuthorizeResponse> {
    let grant = tickets::grant(ticket, proxy, grant, granted_at_s, policy);
    let grant = state.deployment.signing_key.sign_grant(&grant);
    Json(AuthorizeResponse { grant, agent_id: ticket.agent })
}

fn not_watching() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "watch_over",
        "What this connect ticket was for is over: looking on is not allowed any more",
    )
    .hop(Hop::Web)
    .hint("Ask again")
}

fn unknown_proxy() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "unknown_proxy", "This proxy is not enrolled here, or was removed")
        .hop(Hop::Proxy)
        .hint("An administrator can enrol it: meridian admin nodes enroll")
}

fn refuse_call(error: CallError) -> ApiError {
    let hint = match error {
        CallError::Time => "Set the proxy's clock",
        CallError::Malformed | CallError::Signature => "Enrol the proxy again: meridian admin nodes enroll",
    };
    ApiError::new(StatusCode::UNAUTHORIZED, "bad_signature", error.to_string()).hop(Hop::Proxy).hint(hint)
}

fn refuse_ticket(error: TokenError) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "bad_ticket", format!("The connect ticket was refused: {error}"))
        .hop(Hop::Web)
        .hint("Connect again: the page asks for a new ticket by itself")
}

/// A new node joins with a single-use token. It gets a certificate whose every name is decided here.
pub(super) async fn enroll(
    State(state): State<AppState>,
    From(origin): From,
    Body(request): Body<EnrollRequest>,
) -> Result<Json<EnrollResponse>, ApiError> {
    let node = NodeId::generate();
    if request.name.is_empty() || request.name.len() > 128 {
        return Err(ApiError::invalid("name must have 1 to 128 characters"));
    }
    // The certificate is only kept when the token holds, and the token's role decides its name; but the request must be
    // readable before the token is used up.
    let probe = NodeName { node, role: NodeRole::Web, zone: None };
    let now = state.clock.control_now();
    let point = state
        .deployment
        .authority
        .issue(&request.csr_pem, &probe, &[], now)
        .map_err(|error| ApiError::invalid("csr_pem is not a certificate request").cause(error))?
        .public_point;
    let token = hash_token(&request.token);
    match state.store.enroll(&token.0, node, &request, &point, &origin.request_id).await? {
        Enroll::Refused => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "enrollment_refused",
            "This enrolment token is unknown, expired or used",
        )
        .hop(Hop::Web)
        .hint("Make a new one: meridian admin nodes enroll")),
        Enroll::Ok { role, zone_id, zone_name } => {
            let name = NodeName { node, role, zone: zone_id };
            let issued =
                state.deployment.authority.issue(&request.csr_pem, &name, &[], now).map_err(|error| {
                    ApiError::invalid("csr_pem is not a certificate request").cause(error)
                })?;
            tracing::info!(peer = %node, peer.role = %role, peer.zone = zone_name, "node enrolled");
            Ok(Json(EnrollResponse {
                node_id: node,
                role,
                zone_id,
                zone_name,
                deployment_id: state.deployment.id,
                certificate_pem: issued.certificate_pem,
                ca_pem: state.deployment.authority.certificate_pem().to_owned(),
                node_listener: state.settings.node_advertise.clone(),
            }))
        }
    }
}
