//! What a Dedicated Zone Proxy decides, without sockets, clocks or tasks.
//!
//! A connection goes through phases that are types; each consumes the one before, and nothing but the phase before makes one:
//!
//! ```text
//! request head ──judge──> Accepted ──authorize / resume──> Authorized ──connect──> Connected ──drain──> Draining
//!       └────────────────────┴────────────┴────────────┴──> Refusal (what the browser reads)
//! ```
//!
//! Invariants: a ticket is verified before anything is asked or dialled; the upstream request is of the proxy's own making and
//! carries the grant, never the ticket, a cookie or an Authorization; the answer to the browser never echoes the ticket.

mod head;
mod origin;
mod phase;
mod refusal;
mod upgrade;
mod upstream;

pub use head::{Head, MAX_HEADERS, parse_request, parse_response};
pub use origin::{AllowedOrigin, RequestHost};
pub use phase::{Accepted, Authorized, Connected, Draining, Next, Zone, revoked};
pub use refusal::{Fault, Hop, Passed, Refusal};
pub use upgrade::{Credential, Upgrade, accept_key};
pub use upstream::UpstreamKey;
