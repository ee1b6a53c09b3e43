//! What every request passes: its id and span, its limits, the defence against forged cross-site requests, and the headers of the answer.

use std::{net::SocketAddr, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{
            ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, COOKIE, HOST, ORIGIN,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
        },
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use meridian_ids::Uuid;
use tracing::Instrument;

use super::{
    configuration::APPLY_PATH,
    error::{ApiError, Hop, Unframed},
    extract::{RequestId, key_of, origin_of, too_large},
};
use crate::{
    state::AppState,
    store::acting::{acting_from, acting_with},
};

const MAX_DISCARDED_BYTES: usize = 16 << 20;
const DISCARD_WAIT: Duration = Duration::from_secs(5);
/// Streams, and the entries of zones whose distance a page measures, are on hosts of their own.
const POLICY: &str = "default-src 'self'; connect-src 'self' http: https: ws: wss:; img-src 'self' data: blob:; \
    style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// Outermost: gives the request an id, limits its time, and writes the body of errors.
pub(super) async fn frame(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let request_id = Uuid::now_v7().to_string();
    request.extensions_mut().insert(RequestId(request_id.clone()));
    let span =
        tracing::info_span!("request", request_id, method = %request.method(), path = request.uri().path());
    let api = request.uri().path().starts_with("/api/");
    let limit = Duration::from_secs(state.settings.request_wait_s);
    async move {
        let mut response = tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "Meridian took too long over this")
                .hop(Hop::Web)
                .hint("Try again; what was begun is not begun twice")
                .into_response()
        });
        if let Some(unframed) = response.extensions_mut().remove::<Unframed>() {
            let allow = response.headers_mut().remove(ALLOW);
            response = unframed.frame(&request_id);
            if let Some(allow) = allow {
                response.headers_mut().insert(ALLOW, allow);
            }
        }
        state.metrics.count_request(response.status());
        let leaving = state.is_leaving();
        let headers = response.headers_mut();
        if leaving {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        if api {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
        response
    }
    .instrument(span)
    .await
}

/// Refuses a body that says it is too large, after having read it: a client that still writes sees a broken connection in place of
/// an answer. What is larger by far is not worth reading.
pub(super) async fn bound_body(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok()).unwrap_or(0);
    // This one bounds its body itself.
    if length <= state.settings.max_body_bytes || request.uri().path() == APPLY_PATH {
        return next.run(request).await;
    }
    if length <= MAX_DISCARDED_BYTES {
        let mut body = request.into_body();
        let discard = async { while let Some(Ok(_)) = body.frame().await {} };
        // Whoever sends too slowly has no right to the answer.
        let _ = tokio::time::timeout(DISCARD_WAIT, discard).await;
    }
    too_large().into_response()
}

/// What a program does with an API key is written down with that key.
pub(super) async fn note_key(request: Request, next: Next) -> Response {
    match key_of(request.headers()) {
        Some(key) => acting_with(key, next.run(request)).await,
        None => next.run(request).await,
    }
}

/// Below these everything that is written down is told where it came from: the hot interactions pay for nothing besides.
const TOLD: [&str; 4] =
    ["/api/v1/sessions", "/api/v1/auth", "/api/v1/connections", "/api/v1/zones/measurements"];

/// Whatever is changed is written down with where that came from.
pub(super) async fn note_origin(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if is_safe(request.method())
        || !path.starts_with("/api/")
        || TOLD.iter().any(|told| path.starts_with(told))
    {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let origin = origin_of(&parts, &state);
    acting_from(origin, next.run(Request::from_parts(parts, body))).await
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Refuses what another site's page sends with our cookie. Browsers state where a request comes from; programs do not, and carry no
/// cookie that somebody else could make them send.
pub(super) async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !is_safe(request.method()) && headers.contains_key(COOKIE) && !same_site(&state, &request) {
        return ApiError::new(
            StatusCode::FORBIDDEN,
            "cross_site",
            "This request came from another site's page",
        )
        .hint("Use Meridian's own console")
        .into_response();
    }
    next.run(request).await
}

fn same_site(state: &AppState, request: &Request) -> bool {
    let headers = request.headers();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let trusted = peer.is_some_and(|peer| state.trusts(peer));
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let origin_host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let hosts = [headers.get("x-forwarded-host").filter(|_| trusted), headers.get(HOST)];
    hosts.into_iter().flatten().any(|host| host.to_str().ok() == origin_host)
}
