//! What handlers take from a request. These only parse; who may do what, [`super::permit`] asks.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::digest;
use axum::{
    extract::{ConnectInfo, FromRequest, FromRequestParts, Request, rejection::JsonRejection},
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST},
        request::Parts,
    },
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{error::ApiError, shape};
use crate::{
    app::tickets::RequestPage,
    state::AppState,
    store::logins::{Origin, TokenHash},
};

/// The cookie's name. Host-only, HttpOnly, `Path=/api`.
pub(crate) const COOKIE_NAME: &str = "meridian_session";

/// No token of ours is as long.
const MAX_TOKEN_BYTES: usize = 128;

/// How the token of an API key begins: people and scanners of leaked secrets know it by that.
pub(crate) const KEY_PREFIX: &str = "mk_";

/// The request's id, for people to quote.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub String);

/// Whoever the bearer of this token is; the database says who.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token(pub TokenHash);

/// Where the request came from.
pub(crate) struct From(pub Origin);

/// The page that the browser is on.
pub(crate) struct Page(pub RequestPage);

/// A JSON body: bounded, of a known shape, without unknown fields. An empty body is `Default` for [`OptionalBody`] alone.
pub(crate) struct Body<T>(pub T);

/// The query of the address: known parameters of a known shape.
pub(crate) struct Query<T>(pub T);

/// The one variable part of the path.
pub(crate) struct Path(pub String);

/// The two variable parts of the path.
pub(crate) struct PathOfTwo(pub String, pub String);

/// A body as it came, bounded.
pub(crate) struct Raw(pub axum::body::Bytes);

/// Like [`Body`], or the default when there is no body.
pub(crate) struct OptionalBody<T>(pub T);

/// The hash under which a token is stored.
#[must_use]
pub(crate) fn hash_token(token: &str) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    TokenHash(hash)
}

fn token_of(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        return value.to_str().ok()?.strip_prefix("Bearer ").map(str::trim);
    }
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == COOKIE_NAME).then_some(value)
        })
}

/// The API key of a request, if it has one: what looks like one, whoever's it is.
pub(super) fn key_of(headers: &HeaderMap) -> Option<TokenHash> {
    token_of(headers)
        .filter(|token| token.len() <= MAX_TOKEN_BYTES && token.starts_with(KEY_PREFIX))
        .map(hash_token)
}

impl FromRequestParts<AppState> for Token {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let token = token_of(&parts.headers).filter(|token| token.len() <= MAX_TOKEN_BYTES);
        let token = token.ok_or_else(ApiError::unauthenticated)?;
        let hash = hash_token(token);
        if token.starts_with(KEY_PREFIX) {
            state.key_uses.note(hash, client_address_of(parts, state));
        }
        Ok(Self(hash))
    }
}

impl FromRequestParts<AppState> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Self::Rejection> {
        Ok(Self(origin_of(parts, state)))
    }
}

/// Where a request came from.
pub(super) fn origin_of(parts: &Parts, state: &AppState) -> Origin {
    let address = client_address_of(parts, state);
    let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    Origin { address, request_id }
}

fn client_address_of(parts: &Parts, state: &AppState) -> String {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let address = peer.map(|peer| client_address(peer, &parts.headers, |address| state.trusts(address)));
    address.map(|address| address.to_string()).unwrap_or_default()
}

/// The last address on the way that is not trusted. A proxy adds itself at the end of a line, or a line of its own at the end; whatever is
/// before that, anybody may have written.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusts: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut nearest = peer.to_canonical();
    if !trusts(nearest) {
        return nearest;
    }
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    for text in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Ok(address) = text.trim().parse::<IpAddr>() else { return nearest };
        nearest = address.to_canonical();
        if !trusts(nearest) {
            return nearest;
        }
    }
    nearest
}

impl FromRequestParts<AppState> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let trusted = peer.is_some_and(|peer| state.trusts(peer));
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let forwarded = |name| if trusted { header(name) } else { None };
        let host = forwarded("x-forwarded-host")
            .or_else(|| header(HOST.as_str()))
            .and_then(|host| host.parse::<axum::http::uri::Authority>().ok())
            .ok_or_else(|| ApiError::new(StatusCode::BAD_REQUEST, "bad_host", "The request names no host"))?;
        let secure = match forwarded("x-forwarded-proto") {
            Some(proto) => proto == "https",
            None => state.settings.tls_certificate_file.is_some(),
        };
        Ok(Self(RequestPage { secure, host: host.host().to_owned(), port: host.port_u16() }))
    }
}

impl<T: DeserializeOwned> FromRequest<AppState> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let text = axum::Json::<Box<RawValue>>::from_request(request, state).await;
        shape::read(text.map_err(refuse)?.get().as_bytes()).map(Self)
    }
}

impl<T: DeserializeOwned + Default> FromRequest<AppState> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let kind = request.headers().get(CONTENT_TYPE).cloned();
        let Raw(bytes) = Raw::from_request(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        // The same judgement of type and shape as for a body that must be there.
        let mut request = Request::new(bytes.into());
        if let Some(kind) = kind {
            request.headers_mut().insert(CONTENT_TYPE, kind);
        }
        Body::from_request(request, state).await.map(|Body(body)| Self(body))
    }
}

impl FromRequest<AppState> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        match axum::body::Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large()),
            Err(rejection) => Err(ApiError::new(rejection.status(), "malformed", rejection.body_text())),
        }
    }
}

impl<T: DeserializeOwned> FromRequestParts<AppState> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query.map(|axum::extract::Query(query)| Self(query)).map_err(|rejection| {
            ApiError::new(StatusCode::BAD_REQUEST, "bad_query", rejection.body_text()).hint(
                "See /api/v1/openapi.json for the parameters; a cursor is the `next` of the page before",
            )
        })
    }
}

impl FromRequestParts<AppState> for Path {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(part)| Self(part)).map_err(|rejection| {
            ApiError::new(StatusCode::BAD_REQUEST, "bad_path", rejection.body_text())
                .hint("A path is UTF-8, percent-encoded where need be")
        })
    }
}

impl FromRequestParts<AppState> for PathOfTwo {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let path = axum::extract::Path::<(String, String)>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path((first, second))| Self(first, second)).map_err(|rejection| {
            ApiError::new(StatusCode::BAD_REQUEST, "bad_path", rejection.body_text())
                .hint("A path is UTF-8, percent-encoded where need be")
        })
    }
}

pub(super) fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The request's body is too large")
}

fn refuse(rejection: JsonRejection) -> ApiError {
    let status = rejection.status();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large();
    }
    let code = match status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "not_json",
        _ => "malformed",
    };
    // The text names the place.
    ApiError::new(status, code, rejection.body_text())
        .hint("See /api/v1/openapi.json for the shape of the body")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::TrustedRange;

    #[test]
    fn only_what_a_trusted_proxy_wrote_says_where_a_request_comes_from() {
        let address = |peer: &str, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            let trusted = TrustedRange::parse("10.0.0.0/8").unwrap();
            client_address(peer.parse().unwrap(), &headers, |address| trusted.contains(address)).to_string()
        };
        assert_eq!(address("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(address("::ffff:192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &["6.6.6.6, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(address("10.0.0.1", &["6.6.6.6", "203.0.113.9"]), "203.0.113.9", "a line of its own");
        assert_eq!(address("10.0.0.1", &["6.6.6.6, 203.0.113.9, 10.9.9.9"]), "203.0.113.9");
        assert_eq!(address("10.0.0.1", &["6.6.6.6, rubbish"]), "10.0.0.1");
    }
}
