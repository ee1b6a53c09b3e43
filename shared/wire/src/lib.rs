//! What nodes say to each other: enrolment, heartbeat, desired state, authorisation.
//!
//! JSON over HTTP. A field that a newer release adds has a default, and unknown fields are ignored, so that two neighbouring releases
//! understand each other (DESIGN.md §6, invariant 11). Times are RFC 3339 in UTC; durations carry their unit in the name.

mod call;
mod image;
mod node;
mod stream;

pub use call::{
    CALL_NODE_HEADER, CALL_NONCE_HEADER, CALL_SIGNATURE_HEADER, CALL_TIME_HEADER, MAX_CALL_SKEW_S, call_text,
};
pub use image::{DiskReport, ImageOrders, ImageStanding, ImageState, RegistryLogin, RegistryPassword};
pub use node::{
    AgentReport, Command, CutReason, DesiredSession, EnrollRequest, EnrollResponse, Fleet, FleetNode,
    FrozenCause, FrozenSession, Heartbeat, ImageReport, NodeSettings, Observation, ObservedSession,
    PeerAddress, ProblemReport, RenewRequest, RenewResponse, Revocation, TicketKey, TicketSecret, Update,
    WatchEnd, WatchEndCause,
};
pub use stream::{
    AuthorizeRequest, AuthorizeResponse, GRANT_HEADER, PASS_PROTOCOL_PREFIX, TICKET_PROTOCOL_PREFIX,
    WireError, WireErrorBody, upstream_path,
};

/// SNI and certificate name of the Web App's node listener.
pub const WEB_SERVER_NAME: &str = "web.meridian";

/// Paths of the Web App's node listener (mutual TLS).
pub mod node_paths {
    /// `POST`: [`super::Heartbeat`] in, [`super::Update`] out.
    pub const HEARTBEAT: &str = "/node/v1/heartbeat";
    /// `GET ?since=N`: an endless body of JSON lines, each an [`super::Update`]; an empty line is a sign of life.
    pub const WATCH: &str = "/node/v1/watch";
    /// `POST`: [`super::RenewRequest`] in, [`super::RenewResponse`] out.
    pub const RENEW: &str = "/node/v1/renew";
}

/// Paths of an agent's listener (mutual TLS).
pub mod agent_paths {
    /// `POST` by the Web App: an [`super::Update`]; the answer is 204.
    pub const PUSH: &str = "/agent/v1/push";
    /// `POST` by a proxy, without a body: it stops soon, and the viewers whose streams it carries are told to move first. The answer is 204.
    pub const DRAIN: &str = "/agent/v1/drain";
}

/// Paths of the public entry that nodes use.
pub mod public_paths {
    /// `POST`: [`super::EnrollRequest`] in, [`super::EnrollResponse`] out. The token is the authority.
    pub const ENROLL: &str = "/api/v1/nodes/enroll";
    /// `POST`, signed by the node's key: [`super::AuthorizeRequest`] in, [`super::AuthorizeResponse`] out.
    pub const AUTHORIZE: &str = "/api/v1/connections/authorize";
    /// `GET`: the keys that tickets and grants are checked with.
    pub const JWKS: &str = "/.well-known/jwks.json";
}
