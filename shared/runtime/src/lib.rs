//! What every role does in the same way: time, tasks, stopping, logging, retrying, health.

mod backoff;
mod clock;
mod log;
mod ops;
mod relay;
mod secret;
mod tasks;

pub use backoff::Backoff;
pub use clock::Clock;
pub use log::{LogFormat, init_logging, name_node, role_span};
pub use ops::{Health, OpsError, serve_ops};
pub use relay::{Copied, Copying, RelayEnd, RelayLimits, Way, is_disconnect, relay, relay_ways, tune};
pub use secret::{Secret, random_bytes, random_token};
pub use tasks::Tasks;

/// The version that nodes report.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
