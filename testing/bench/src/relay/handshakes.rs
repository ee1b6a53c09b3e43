//! Opening streams: handshake, upgrade and a first answer from the agent, for each second of the relay's processor time.
//!
//! Meridian's proxy does more than its peers here: it checks the ticket's signature, signs a question to the Web App, and checks the
//! answer. A viewer that comes back does so with a pass, about which nobody is asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::bail;
use futures_util::future::try_join_all;

use super::{Cores, Goals, Relay, Samples, Viewers};
use crate::{
    arena::Meter,
    order::Order,
    report::Goal,
    viewers::{AT_ONCE, Coming, Road},
};

const MAX_FIRST_VISITS: usize = 100;

pub(super) async fn measure(
    relay: &Relay,
    cores: &Cores,
    viewers: &Viewers,
    streams: usize,
) -> anyhow::Result<Samples> {
    viewers.wait_until_ready(relay.address).await?;
    make_known(relay, viewers).await?;
    let mut samples = Samples::new();
    for (name, coming) in
        [("full", Coming::New), ("resumed_with_ticket", Coming::Again), ("resumed", Coming::Back)]
    {
        // What is done once is not measured.
        visit(relay, viewers, coming, AT_ONCE).await?;
        let meter = Meter::start(relay, cores)?;
        let resumed = visit(relay, viewers, coming, streams).await?;
        let spent = meter.stop()?;
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let (all, resumed) = (streams as f64, resumed as f64);
        samples.insert(format!("{name}_per_cpu_s"), all / spent.relay_s);
        samples.insert(format!("{name}_tls_resumed_percent"), 100.0 * resumed / all);
        spent.note(&mut samples, name);
    }
    Ok(samples)
}

/// Lets as many viewers as come at once have been there before: each whole handshake leaves one TLS session to come again with, and
/// viewers whose visits happen to overlap little share those that are there.
async fn make_known(relay: &Relay, viewers: &Viewers) -> anyhow::Result<()> {
    let mut known = 0;
    for _ in 0..MAX_FIRST_VISITS {
        known += AT_ONCE - visit(relay, viewers, Coming::Again, AT_ONCE).await?;
        if known >= AT_ONCE {
            return Ok(());
        }
    }
    bail!("after {MAX_FIRST_VISITS} visits {known} TLS sessions are there for {AT_ONCE} viewers")
}

/// Opens and closes so many streams, a few at a time; how many resumed their TLS session.
async fn visit(relay: &Relay, viewers: &Viewers, coming: Coming, streams: usize) -> anyhow::Result<usize> {
    let (begun, resumed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let one_by_one = async || {
        while begun.fetch_add(1, Ordering::Relaxed) < streams {
            let opened = viewers.open_one(Road::Relay(relay.address), coming, Order::Echo).await?;
            resumed.fetch_add(usize::from(opened.resumed), Ordering::Relaxed);
        }
        anyhow::Ok(())
    };
    try_join_all((0..AT_ONCE).map(|_| one_by_one())).await?;
    Ok(resumed.into_inner())
}

pub(super) fn goals() -> Goals {
    Goals::from([
        ("full_per_cpu_s".into(), Goal::AtLeast(1300.0)),
        ("resumed_per_cpu_s".into(), Goal::AtLeast(3000.0)),
    ])
}
