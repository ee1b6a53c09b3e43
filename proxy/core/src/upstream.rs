//! The proxy's own upgrade request to an agent, and the agent's answer.

use http::{Response, StatusCode, header};
use meridian_ids::SessionId;
use meridian_model::Transport;
use meridian_wire::{GRANT_HEADER, upstream_path};

use crate::{
    Refusal,
    upgrade::{accept_key, lists, single},
};

/// The proxy's own `Sec-WebSocket-Key`, made of 16 random bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamKey(String);

impl UpstreamKey {
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        use base64::{Engine, prelude::BASE64_STANDARD};
        Self(BASE64_STANDARD.encode(random))
    }
}

/// These headers and no other: nothing of the browser's request goes on but its choice of transport.
pub(crate) fn request(
    session: SessionId,
    transport: Transport,
    grant: &str,
    server_name: &str,
    key: &UpstreamKey,
) -> Vec<u8> {
    format!(
        "GET {} HTTP/1.1\r\nHost: {server_name}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\nSec-WebSocket-Protocol: {}\r\n\
         {GRANT_HEADER}: {grant}\r\n\r\n",
        upstream_path(session),
        key.0,
        transport.as_str(),
    )
    .into_bytes()
}

/// Judges an answer that claims to upgrade.
pub(crate) fn judge(answer: &Response<()>, transport: Transport, key: &UpstreamKey) -> Result<(), Refusal> {
    let headers = answer.headers();
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Refusal::AgentAnswer("it did not upgrade the connection"));
    }
    if !lists(headers, &header::UPGRADE, "websocket") || !lists(headers, &header::CONNECTION, "upgrade") {
        return Err(Refusal::AgentAnswer("it upgraded to something else"));
    }
    if single(headers, &header::SEC_WEBSOCKET_ACCEPT) != Some(accept_key(&key.0).as_str()) {
        return Err(Refusal::AgentAnswer("its Sec-WebSocket-Accept does not fit"));
    }
    if single(headers, &header::SEC_WEBSOCKET_PROTOCOL) != Some(transport.as_str()) {
        return Err(Refusal::AgentAnswer("it chose another subprotocol"));
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return Err(Refusal::AgentAnswer("it chose an extension that was not offered"));
    }
    Ok(())
}
