//! A page with a stream, as the agent's own tests have it.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;

#[expect(dead_code, reason = "the agent's tests use the rest")]
#[path = "../../../../agent/server/tests/bench/viewer.rs"]
mod viewer;

pub(crate) use viewer::{PageKey, Viewer};

/// Longer than anything takes that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;
