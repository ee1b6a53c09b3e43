//! What the front itself says: that something behind it is away.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use meridian_ids::Uuid;
use meridian_wire::{WireError, WireErrorBody};

/// A backend's body as it comes, or our own words.
pub(crate) type Body = Either<Incoming, Full<Bytes>>;

/// Why the front answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    WebAway,
    WebSilent,
    ProxyAway,
    ProxySilent,
    /// The backend's connection broke before its answer.
    Broken,
    /// A request that cannot be handed on.
    Malformed,
}

impl Missing {
    fn facts(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        const LOG: &str = "It may be starting: try again in a moment, then see the log of `meridian up`.";
        match self {
            Self::WebAway => (StatusCode::BAD_GATEWAY, "web_away", "The Web App does not answer.", LOG),
            Self::WebSilent => {
                (StatusCode::GATEWAY_TIMEOUT, "web_silent", "The Web App did not answer in time.", LOG)
            }
            Self::ProxyAway => {
                (StatusCode::BAD_GATEWAY, "proxy_away", "The zone's proxy does not answer.", LOG)
            }
            Self::ProxySilent => {
                (StatusCode::GATEWAY_TIMEOUT, "proxy_silent", "The zone's proxy did not answer in time.", LOG)
            }
            Self::Broken => (
                StatusCode::BAD_GATEWAY,
                "connection_broken",
                "The connection broke before there was an answer.",
                "Look whether it was carried out, then try again.",
            ),
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                "malformed",
                "The request cannot be handed on.",
                "Send HTTP/1.1 with a path.",
            ),
        }
    }

    /// The whole answer.
    pub(crate) fn answer(self) -> Response<Body> {
        let (status, code, message, hint) = self.facts();
        let request_id = Uuid::now_v7().to_string();
        tracing::warn!(request_id, code, hop = "front", "answered in place of a backend");
        let envelope = WireError {
            error: WireErrorBody {
                code: code.to_owned(),
                message: message.to_owned(),
                hop: Some("front".to_owned()),
                hint: Some(hint.to_owned()),
                request_id,
            },
        };
        let body = serde_json::to_vec(&envelope).unwrap_or_default();
        let mut response = Response::new(Either::Right(Full::new(Bytes::from(body))));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
