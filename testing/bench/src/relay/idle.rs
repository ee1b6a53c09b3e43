//! What an idle stream costs in memory: the difference of the process's settled PSS with and without streams, divided by their number.
//! Before the first figure a few streams have come and gone, so that what a process makes once is not counted.

use std::time::Duration;

use super::{Goals, Relay, Samples, Viewers};
use crate::{order::Order, report::Goal, viewers::Road};

/// Few, because the memory that they leave serves the first streams that are counted.
const WARM_UP: usize = 5;

pub(super) async fn measure(
    relay: &Relay,
    viewers: &Viewers,
    streams: usize,
    wanted: Duration,
) -> anyhow::Result<Samples> {
    viewers.wait_until_ready(relay.address).await?;
    let road = Road::Relay(relay.address);
    drop(viewers.open(road, WARM_UP.min(streams), Order::Echo).await?);
    let base_kib = relay.settled_pss_kib(wanted).await?;
    let held = viewers.open(road, streams, Order::Echo).await?;
    let full_kib = relay.settled_pss_kib(wanted).await?;
    drop(held);
    #[expect(clippy::cast_precision_loss, reason = "KiB of one process and a few thousand streams")]
    let figures = (full_kib.saturating_sub(base_kib) as f64 / streams as f64, base_kib as f64);
    Ok(Samples::from([
        ("pss_kib_per_stream".into(), figures.0),
        ("pss_kib_without_streams".into(), figures.1),
    ]))
}

pub(super) fn goals() -> Goals {
    Goals::from([("pss_kib_per_stream".into(), Goal::AtMost(18.0))])
}
