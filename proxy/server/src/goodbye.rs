//! A proxy that goes says so to its zone's agents, and they to the viewers whose streams it carries: those open another path first, and
//! leave this one when they are there. So a stop, an upgrade or a scale-in costs nobody a moment. The relayed bytes themselves stay
//! untouched: a proxy cannot speak in them.
//!
//! It goes when its process stops, and when an administrator drains it:
//!
//! ```text
//!   drain ──▶ `/readyz` says so ──▶ viewers are told, again and again while there are any
//!               └─ after CLOSE_AFTER new streams are refused      undrain ──▶ all as before
//! ```

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use meridian_node::NodeClient;
use meridian_runtime::Backoff;
use meridian_wire::NodeSettings;
use tokio::time::sleep;

use crate::connection::Shared;

/// Agents spoken with at once.
const AT_ONCE: usize = 16;
/// A balancer in front that checks twice a second sends nobody here any more by then: nobody who came through one is refused.
const CLOSE_AFTER: Duration = Duration::from_secs(3);
/// Those who found no other path at first are told again. Streams that cannot move (plain RFB) are waited for.
const TELL_AGAIN_FIRST: Duration = Duration::from_secs(2);
const TELL_AGAIN_LATER: Duration = Duration::from_secs(30);

/// Waits for the stop; then tells every agent, if there is a stream to move.
pub(crate) async fn at_stop(shared: Arc<Shared>) {
    shared.stopping.cancelled().await;
    tell_agents(&shared).await;
}

/// Follows what administrators want, for as long as the proxy runs.
pub(crate) async fn when_drained(node: NodeClient, shared: Arc<Shared>) {
    let mut heard = node.settings();
    loop {
        // Nothing is heard any more when the node's client goes, and with it the proxy.
        if heard.wait_for(|settings| drains(settings.as_deref())).await.is_err() {
            return;
        }
        tracing::info!(streams = shared.metrics.streams(), "an administrator drains this proxy");
        let gone = tokio::select! {
            gone = async { heard.wait_for(|settings| !drains(settings.as_deref())).await.is_err() } => gone,
            never = empty(&node, &shared) => match never {},
        };
        if gone {
            return;
        }
        shared.closed.store(false, Ordering::Relaxed);
        tracing::info!("this proxy takes streams again");
    }
}

fn drains(settings: Option<&NodeSettings>) -> bool {
    settings.and_then(|settings| settings.draining).unwrap_or(false)
}

async fn empty(node: &NodeClient, shared: &Shared) -> Infallible {
    let refusing = async {
        sleep(CLOSE_AFTER).await;
        shared.closed.store(true, Ordering::Relaxed);
    };
    let (never, ()) = tokio::join!(keep_telling(node, shared), refusing);
    never
}

async fn keep_telling(node: &NodeClient, shared: &Shared) -> Infallible {
    let mut backoff = Backoff::new(TELL_AGAIN_FIRST, TELL_AGAIN_LATER);
    let mut was_empty = false;
    loop {
        tell_agents(shared).await;
        sleep(TELL_AGAIN_FIRST + backoff.next_wait()).await;
        let is_empty = shared.metrics.streams() == 0;
        if is_empty && !was_empty {
            tracing::info!("this proxy is empty, and may be stopped");
            node.wake();
        }
        was_empty = is_empty;
    }
}

async fn tell_agents(shared: &Shared) {
    let Some(zone) = shared.zone.get().filter(|_| shared.metrics.streams() > 0) else { return };
    let agents: Vec<_> = zone.agents().collect();
    stream::iter(agents)
        .for_each_concurrent(AT_ONCE, |agent| {
            let zone = &zone;
            async move {
                if let Err(error) = shared.dialler.say_goodbye(zone, agent).await {
                    // Its viewers notice when the path ends, and come back then.
                    tracing::info!(peer = %agent, %error, "an agent could not be told that its viewers shall move");
                }
            }
        })
        .await;
}
