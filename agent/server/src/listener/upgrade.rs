//! A proxy's upgrade request: grant, session, then 101 and the stream.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use meridian_identity::Peer;
use meridian_ids::SessionId;
use meridian_model::Transport;
use meridian_runtime::Tasks;
use meridian_ticket::Grant;
use meridian_wire::{GRANT_HEADER, upstream_path};
use tokio::time::timeout;
use tracing::Instrument;

use super::Front;
use crate::{
    grants::is_revoked,
    refusal::Refusal,
    sessions::{Phase, Standing},
    stream::{self, Service},
};

/// A viewer may be faster than the order that its grant is for; the proxy waits about as long for an answer.
const ORDER_LIMIT: Duration = Duration::from_secs(5);
/// RFC 6455, section 1.3.
const ACCEPT_SALT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

pub(super) async fn open(
    mut request: Request<Incoming>,
    peer: &Peer,
    front: Arc<Front>,
    tasks: &Tasks,
) -> Result<Response<Full<Bytes>>, Refusal> {
    let session = session_of(&request)?;
    let asked = Asked::read(request.headers())?;
    let token =
        header_text(request.headers(), GRANT_HEADER).ok_or_else(|| Refusal::Grant("there is none".into()))?;
    let grant = front.grants.redeem(token, &front.client, peer, session)?;
    if grant.transport != asked.transport {
        return Err(Refusal::Grant("it is for another subprotocol".into()));
    }
    check_standing(&front, &grant).await?;
    if tasks.stopping().is_cancelled() {
        return Err(Refusal::Stopping);
    }
    let ticket = front.streams.admit(&grant, front.limits.max_streams)?;
    // A cut that came while the order was awaited found no stream on the list.
    if is_revoked(&front.client, &grant) {
        return Err(Refusal::Revoked);
    }
    let response = switching(&asked)?;
    let service = Service {
        tasks: tasks.clone(),
        sessions: front.sessions.clone(),
        streams: front.streams.clone(),
        ticket,
        limits: front.limits,
        metrics: Arc::clone(&front.metrics),
        directory: front.engine.display_directory(session),
        workspace_uid: front.engine.workspace_uid(),
        grant,
    };
    let span = tracing::info_span!("stream", session.id = %session, stream = %service.grant.stream);
    let upgraded = hyper::upgrade::on(&mut request);
    // Not until stop: it says goodbye first, within its own limits.
    tasks.spawn(
        "stream",
        async move {
            // A proxy that leaves between request and answer leaves nothing behind.
            let Ok(socket) = upgraded.await else { return };
            tracing::info!("a stream opens");
            stream::serve(TokioIo::new(socket), service).await;
            tracing::info!("a stream ended");
        }
        .instrument(span),
    );
    Ok(response)
}

fn session_of(request: &Request<Incoming>) -> Result<SessionId, Refusal> {
    let path = request.uri().path();
    let session = path.split('/').nth(4).and_then(|text| text.parse().ok()).ok_or(Refusal::NotFound)?;
    if request.method() == Method::GET && path == upstream_path(session) {
        Ok(session)
    } else {
        Err(Refusal::NotFound)
    }
}

/// What the proxy asked for.
struct Asked {
    key: String,
    transport: Transport,
}

impl Asked {
    fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let has = |name: &str, token: &str| {
            header_text(headers, name)
                .is_some_and(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
        };
        if !has("upgrade", "websocket") || !has("connection", "upgrade") {
            return Err(Refusal::Malformed("it is no WebSocket upgrade"));
        }
        if header_text(headers, "sec-websocket-version") != Some("13") {
            return Err(Refusal::Malformed("only version 13 of the WebSocket protocol is spoken"));
        }
        let key = header_text(headers, "sec-websocket-key")
            .filter(|key| BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16))
            .ok_or(Refusal::Malformed("Sec-WebSocket-Key is missing or wrong"))?;
        let transport = header_text(headers, "sec-websocket-protocol")
            .and_then(Transport::parse)
            .ok_or(Refusal::Malformed("the subprotocol is neither meridian.v1 nor binary"))?;
        Ok(Self { key: key.to_owned(), transport })
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether the session may have viewers under the grant's numbers. The order that the grant was made for may still be on its way.
async fn check_standing(front: &Front, grant: &Grant) -> Result<(), Refusal> {
    let (wanted, session) = ((grant.epoch, grant.generation), grant.sub);
    let mut view = front.sessions.watch();
    let known = view.wait_for(|view| {
        view.standings.get(&session).is_some_and(|standing| (standing.epoch, standing.generation) >= wanted)
    });
    let standing = match timeout(ORDER_LIMIT, known).await {
        Ok(Ok(view)) => view.standings.get(&session).cloned(),
        Ok(Err(_)) => return Err(Refusal::Stopping),
        Err(_) => None,
    };
    let Some(Standing { epoch, generation, phase }) = standing else { return Err(Refusal::UnknownSession) };
    match phase {
        Phase::Ended(reason) => Err(Refusal::Ended(reason)),
        Phase::Failed(reason) => Err(Refusal::Failed(reason)),
        Phase::Starting | Phase::Up if (epoch, generation) > wanted => Err(Refusal::Stale),
        Phase::Starting | Phase::Up => Ok(()),
    }
}

fn switching(asked: &Asked) -> Result<Response<Full<Bytes>>, Refusal> {
    let digest =
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{}{ACCEPT_SALT}", asked.key).as_bytes());
    let accept = HeaderValue::from_str(&BASE64_STANDARD.encode(digest))
        .map_err(|_| Refusal::Malformed("Sec-WebSocket-Key is wrong"))?;
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(asked.transport.as_str()));
    Ok(response)
}
