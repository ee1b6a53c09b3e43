//! What an idle connection costs in memory, as `relay::idle` does it for streams. The kernel's own memory for its two sockets is the same
//! with every balancer and not in it.

use std::time::Duration;

use super::{Clients, Goal, Goals, Order, Relay, Samples};

const WARM_UP: usize = 5;

pub(super) async fn measure(
    relay: &Relay,
    clients: &Clients,
    streams: usize,
    wanted: Duration,
) -> anyhow::Result<Samples> {
    drop(clients.open(relay.address, WARM_UP.min(streams), Order::Echo).await?);
    let base_kib = relay.settled_pss_kib(wanted).await?;
    let held = clients.open(relay.address, streams, Order::Echo).await?;
    let full_kib = relay.settled_pss_kib(wanted).await?;
    drop(held);
    #[expect(clippy::cast_precision_loss, reason = "KiB of one process and a few thousand connections")]
    let figures = (full_kib.saturating_sub(base_kib) as f64 / streams as f64, base_kib as f64);
    Ok(Samples::from([
        ("pss_kib_per_connection".into(), figures.0),
        ("pss_kib_without_connections".into(), figures.1),
    ]))
}

pub(super) fn goals() -> Goals {
    Goals::from([("pss_kib_per_connection".into(), Goal::AtMost(3.0))])
}
