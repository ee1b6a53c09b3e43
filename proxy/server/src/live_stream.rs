//! One stream that lives: bytes both ways until a side ends it, access is taken away, or the proxy has stopped for long enough.

use std::{pin::pin, sync::Arc};

use meridian_proxy_core::Connected;
use meridian_runtime::{RelayEnd, Way, relay};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
    time::timeout,
};

use crate::{agent::AgentStream, connection::Shared, metrics::Cut, streams::Entry};

pub(crate) struct LiveStream {
    pub(crate) connected: Connected,
    pub(crate) entry: Entry,
    /// One of the proxy's places for streams.
    pub(crate) place: OwnedSemaphorePermit,
    pub(crate) shared: Arc<Shared>,
}

/// Bytes of one stream.
#[derive(Default)]
struct Moved {
    to_agent: u64,
    to_browser: u64,
}

impl LiveStream {
    /// Both sides are boxed, the agent's within itself: this future lives as long as the stream, and holds them once.
    pub(crate) async fn carry<B: AsyncRead + AsyncWrite + Unpin>(self, browser: Box<B>, agent: AgentStream) {
        let Self { connected, entry, place, shared } = self;
        let session = connected.session();
        let mut moved = Moved::default();
        let (to_agent, to_browser) =
            (shared.metrics.relayed(Way::FirstToSecond), shared.metrics.relayed(Way::SecondToFirst));
        let on_moved = |way, count: usize| match way {
            Way::FirstToSecond => {
                to_agent.inc_by(count as u64);
                moved.to_agent += count as u64;
            }
            Way::SecondToFirst => {
                to_browser.inc_by(count as u64);
                moved.to_browser += count as u64;
            }
        };
        let end = {
            let mut relaying = pin!(relay(browser, agent, shared.limits, on_moved));
            tokio::select! {
                end = &mut relaying => Some(end),
                () = entry.cut.cancelled() => None,
                () = shared.stopping.cancelled() => {
                    let draining = connected.drain();
                    tracing::debug!(session.id = %draining.session, "stream drains");
                    tokio::select! {
                        ended = Box::pin(timeout(shared.drain_wait, &mut relaying)) => {
                            if ended.is_err() {
                                shared.metrics.count_cut(Cut::Stopping);
                            }
                            ended.ok()
                        }
                        () = entry.cut.cancelled() => None,
                    }
                }
            }
        };
        drop((entry, place));
        let how = match &end {
            None => "cut",
            Some(RelayEnd::Closed) => "closed",
            Some(RelayEnd::Disconnected) => "disconnected",
            Some(RelayEnd::HalfCloseExpired) => "half-closed for too long",
            Some(RelayEnd::Failed(error)) => {
                tracing::warn!(session.id = %session, %error, "a stream broke");
                "broken"
            }
        };
        let Moved { to_agent, to_browser } = moved;
        tracing::info!(session.id = %session, how, to_agent, to_browser, "stream ended");
    }
}
