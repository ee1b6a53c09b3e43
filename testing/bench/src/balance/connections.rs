//! Opening a connection through a balancer, a word each way, and its end: so many for each second of the balancer's processor time.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::try_join_all;

use super::{AT_ONCE, Clients, Cores, Goal, Goals, Order, Relay, Samples};
use crate::arena::Meter;

pub(super) async fn measure(
    relay: &Relay,
    cores: &Cores,
    clients: &Clients,
    streams: usize,
) -> anyhow::Result<Samples> {
    visit(relay, clients, AT_ONCE).await?;
    let meter = Meter::start(relay, cores)?;
    visit(relay, clients, streams).await?;
    let spent = meter.stop()?;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let all = streams as f64;
    let mut samples = Samples::from([("connections_per_cpu_s".into(), all / spent.relay_s)]);
    spent.note(&mut samples, "connections");
    Ok(samples)
}

async fn visit(relay: &Relay, clients: &Clients, streams: usize) -> anyhow::Result<()> {
    let begun = AtomicUsize::new(0);
    let one_by_one = async || {
        while begun.fetch_add(1, Ordering::Relaxed) < streams {
            clients.open_one(relay.address, Order::Echo).await?;
        }
        anyhow::Ok(())
    };
    try_join_all((0..AT_ONCE).map(|_| one_by_one())).await.map(drop)
}

pub(super) fn goals() -> Goals {
    Goals::from([("connections_per_cpu_s".into(), Goal::TimesTheBetterPeer(1.0))])
}
