//! A proxy that stops says so to its zone's agents, and they to the viewers whose streams it carries: those open another path first, and
//! leave this one when they are there. So a stop, an upgrade or a scale-in costs nobody a moment. The relayed bytes themselves stay
//! untouched: a proxy cannot speak in them.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use crate::connection::Shared;

/// Agents spoken with at once.
const AT_ONCE: usize = 16;

/// Waits for the stop; then tells every agent, if there is a stream to move.
pub(crate) async fn at_stop(shared: Arc<Shared>) {
    shared.stopping.cancelled().await;
    let Some(zone) = shared.zone.get().filter(|_| shared.metrics.streams() > 0) else { return };
    let agents: Vec<_> = zone.agents().collect();
    stream::iter(agents)
        .for_each_concurrent(AT_ONCE, |agent| {
            let (zone, shared) = (&zone, &shared);
            async move {
                let Some(address) = zone.agent_address(agent) else { return };
                if let Err(error) = shared.dialler.say_goodbye(address, &zone.agent_name(agent)).await {
                    // Its viewers notice when the path ends, and come back then.
                    tracing::info!(peer = %agent, %error, "an agent could not be told that this proxy stops");
                }
            }
        })
        .await;
}
