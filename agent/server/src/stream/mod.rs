//! Streams between viewers and workspaces.
//!
//! [`registry`] knows which streams live, so that they can be revoked, ended and drained. [`meridian`] and [`binary`] serve one each:
//! one task, one loop, no lock across a wait. A `binary` stream is its path. A `meridian.v1` stream outlives its paths: [`handshake`] is how each
//! begins, [`path`] what is heard on it, [`desk`] the workspace's side, which stays. [`display`] and [`clipboard`] are the workspace's ends,
//! [`viewer`] the WebSocket's; all hold bytes only while the other side does not take them, within bounds. [`watching`] is what ends the stream of
//! somebody who looks on.

mod activity;
mod binary;
mod clipboard;
mod departed;
mod desk;
mod display;
mod handshake;
mod kept;
mod meridian;
mod path;
mod registry;
mod viewer;
mod watching;

use std::{path::PathBuf, sync::Arc, time::Duration};

use meridian_model::Transport;
use meridian_runtime::Tasks;
use meridian_settings::AgentSettings;
use meridian_ticket::Grant;

use crate::{metrics::Metrics, sessions::Sessions};
pub(crate) use registry::{Stop, Streams, Ticket};
use viewer::Socket;

/// The bounds of streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_streams: usize,
    /// Unacknowledged bytes towards a viewer.
    pub(crate) window_bytes: u32,
    pub(crate) attach_wait: Duration,
    pub(crate) display_wait: Duration,
    /// How long a stream whose path broke waits for its viewer.
    pub(crate) resume_window: Duration,
    /// How long somebody may look on at a desktop that its own user does not see.
    pub(crate) watch_grace: Duration,
}

impl Limits {
    pub(crate) fn of(settings: &AgentSettings) -> Self {
        Self {
            max_streams: settings.max_streams,
            window_bytes: settings.window_bytes,
            attach_wait: Duration::from_secs(settings.attach_wait_s.max(1)),
            display_wait: Duration::from_secs(settings.display_wait_s.max(1)),
            resume_window: Duration::from_secs(settings.resume_window_s).min(LONGEST_RESUME_WINDOW),
            watch_grace: Duration::from_secs(settings.watch_grace_s),
        }
    }
}

/// Everything that one stream is served with.
pub(crate) struct Service {
    /// For farewells that nobody waits for.
    pub(crate) tasks: Tasks,
    pub(crate) grant: Grant,
    pub(crate) sessions: Sessions,
    pub(crate) streams: Streams,
    pub(crate) ticket: Ticket,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) directory: PathBuf,
    pub(crate) workspace_uid: u32,
}

/// A viewer that is silent for this long is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// No display is held open for longer for a viewer that is not there.
const LONGEST_RESUME_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a last message may take.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);

/// Serves an upgraded connection until it ends.
pub(crate) async fn serve(socket: Socket, service: Service) {
    let metrics = Arc::clone(&service.metrics);
    metrics.opened.inc();
    match service.grant.transport {
        Transport::MeridianV1 => meridian::serve(socket, service).await,
        Transport::Binary => binary::serve(socket, service).await,
    }
}
