//! The heartbeat: every two seconds, and at once when the role says that something changed. It makes everything else certain.

use std::{sync::atomic::Ordering, time::Duration};

use meridian_runtime::{Backoff, VERSION};
use meridian_wire::{Heartbeat, Update, node_paths};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    client::{NodeClient, Source},
    link::{Link, LinkError},
    renewal::Renewal,
};

const PERIOD: Duration = Duration::from_secs(2);
/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(10);
const FIRST_WAIT: Duration = Duration::from_millis(250);

pub(crate) async fn run(client: NodeClient, source: Source, updates: mpsc::Sender<Update>) {
    let mut link = client.link();
    let mut backoff = Backoff::new(FIRST_WAIT, PERIOD);
    let mut renewal = Renewal::default();
    let mut failed = false;
    loop {
        let started = Instant::now();
        match beat(&client, &mut link, &source).await {
            Ok(update) => {
                client.inner.answered.fetch_add(1, Ordering::Relaxed);
                if failed {
                    tracing::info!("the control plane is reached again");
                }
                failed = false;
                backoff.reset();
                client.deliver(update, &updates).await;
                renewal.renew_if_due(&client, &mut link).await;
                tokio::select! {
                    () = sleep_until(started + PERIOD) => {}
                    () = client.inner.wake.notified() => sleep(GATHER).await,
                }
            }
            Err(error) => {
                // Said once per outage: an outage may last for days.
                if !failed {
                    tracing::warn!(hop = "web", error = %Causes(&error), "the control plane is not reached");
                }
                failed = true;
                sleep(backoff.next_wait()).await;
            }
        }
    }
}

async fn beat(client: &NodeClient, link: &mut Link, source: &Source) -> Result<Update, LinkError> {
    let parts = source();
    let heartbeat = Heartbeat {
        since: parts.since,
        epoch: client.epoch(),
        version: VERSION.to_owned(),
        address: client.inner.section.advertise.clone().unwrap_or_default(),
        agent: parts.agent,
        problems: parts.problems,
        streams: parts.streams,
    };
    link.post(node_paths::HEARTBEAT, &heartbeat).await
}

/// An error with all its causes on one line.
pub(crate) struct Causes<'a>(pub(crate) &'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
