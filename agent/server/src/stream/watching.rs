//! Somebody looks on: what ends their stream besides what ends any.
//!
//! Looking on was allowed by the person at the desktop, who sees as long as it lasts that it does. Where no page of theirs shows that any more,
//! it ends after a short time, within which a page is loaded anew and a broken path replaced; and it ends when its time is over. The agent
//! judges both itself, so both hold while the control plane is away.

use std::time::Duration;

use meridian_stream::Code;
use meridian_ticket::{Grant, Watch};
use meridian_wire::WatchEndCause;
use tokio::time::{Instant, sleep_until};

use super::{Service, meridian::End};

const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Watching {
    watch: Option<Watch>,
    look_at: Instant,
    /// Since when no page of the session's user is there.
    alone_since: Option<Instant>,
}

impl Watching {
    pub(super) fn of(grant: &Grant) -> Self {
        Self { watch: grant.watch, look_at: Instant::now(), alone_since: None }
    }

    /// Waits until it is time to judge; for ever where nobody looks on. Safe to drop.
    pub(super) async fn turn(&self) {
        match self.watch {
            Some(_) => sleep_until(self.look_at).await,
            None => std::future::pending().await,
        }
    }

    /// Why it is over now, if it is.
    pub(super) fn judge(&mut self, service: &Service) -> Option<End> {
        let watch = self.watch?;
        let (streams, session, now) = (&service.streams, service.grant.sub, Instant::now());
        self.look_at = now + LOOK_EVERY;
        if streams.now().as_second() >= watch.until {
            return Some(End::told(Code::Revoked, "the time to look on is over"));
        }
        if streams.is_attended(session) {
            self.alone_since = None;
            return None;
        }
        let since = *self.alone_since.get_or_insert(now);
        if now.duration_since(since) < service.limits.watch_grace {
            return None;
        }
        tracing::info!(watch = %watch.id, "nobody is at the desktop any more; looking on ends");
        streams.end_watch(session, watch.id, WatchEndCause::Unattended);
        Some(End::told(Code::Revoked, "nobody is at the desktop any more"))
    }
}
