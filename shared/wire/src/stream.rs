//! What a proxy asks before it relays, and what it tells the agent.

use meridian_ids::{NodeId, SessionId};
use serde::{Deserialize, Serialize};

/// A ticket rides in `Sec-WebSocket-Protocol` as this prefix and the JWT, after the subprotocol itself.
pub const TICKET_PROTOCOL_PREFIX: &str = "meridian.ticket.";
/// How a resume pass is carried, in a ticket's place.
pub const PASS_PROTOCOL_PREFIX: &str = "meridian.pass.";
/// Header of the proxy's own upgrade request to an agent: the stream grant.
pub const GRANT_HEADER: &str = "meridian-grant";

/// Path on the agent's listener that a proxy upgrades.
#[must_use]
pub fn upstream_path(session: SessionId) -> String {
    format!("/agent/v1/sessions/{session}/stream")
}

/// Idempotent per ticket, proxy and `connection_nonce`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuthorizeRequest {
    pub ticket: String,
    /// 32 hex digits, made by the proxy for this connection; the same on every retry.
    pub connection_nonce: String,
    /// The viewer's address as the proxy knows it, for the audit log.
    pub client_address: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuthorizeResponse {
    pub grant: String,
    pub agent_id: NodeId,
}

/// The one error envelope of every HTTP answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WireError {
    pub error: WireErrorBody,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WireErrorBody {
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// Which part failed: `web`, `database`, `proxy`, `agent`, `workspace`, `engine`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default)]
    pub request_id: String,
}
