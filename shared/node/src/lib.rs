//! A node's life with the control plane: joining, heartbeats, the watch, renewal, and what it remembers.
//!
//! Every role outside the primary region uses this crate in the same way. [`NodeClient::join`] reads the node's identity or enrols once;
//! [`NodeClient::run`] then says a heartbeat every two seconds, holds one watch open, renews the certificate in good time and
//! hands every [`meridian_wire::Update`] to its role through a bounded queue. What the control plane said last (settings, epoch, when it was
//! heard) rests on the node's own disk, so that a node restarted during an outage goes on.
//!
//! It does not know what an update means for the role: sessions are the agent's business.

mod client;
mod enrolment;
mod heartbeat;
mod link;
mod memory;
mod renewal;
mod upstream;
mod watch;

pub use client::{HeartbeatParts, NodeClient, UpdateRefused};
pub use enrolment::JoinError;
pub use link::LinkError;
pub use upstream::{UpstreamError, upstream_http};
