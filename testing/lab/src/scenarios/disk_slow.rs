//! The disks of an agent and of a proxy become so slow that one write which must be on them takes seconds. No stream waits for a disk, heartbeats go
//! on, and launches that come to the slow agent take longer; what came to the other does not.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::{BACK_LIMIT, ORDINARY, Promise, Scenario};
use crate::{
    site::{LONDON, Part, Site, with_own_disks},
    stage::{Stage, runs},
};

/// What a request to the device takes; some of them make a write that lasts.
const EACH: Duration = Duration::from_millis(250);
/// At once: some come to each agent.
const LAUNCHES: usize = 4;
/// So long it lasts at least: past what silence makes an agent unreachable.
const LASTS: Duration = Duration::from_secs(15);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "disk_slow",
    about: "every request to the disks of one of the zone's agents and of one of its proxies takes a quarter of a second, while sessions are launched",
    promise: Promise::Untouched,
    own_disks: true,
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let slow = Part::agent(LONDON, 1);
    let slowed = |site: &Site| -> Result<u64> { Ok(site.disk(&slow)?.slowed()) };
    stage.strike(|site| set(site, EACH))?;
    let mut on_slow: f64 = 0.0;
    let launched = join_all((0..LAUNCHES).map(|_| launch(stage))).await;
    let launched = launched.into_iter().collect::<Result<Vec<_>>>()?;
    for (agent, took) in &launched {
        let name = if *agent == slow.name { "launch_on_slow_disk_s" } else { "launch_elsewhere_s" };
        stage.note_most(name, took.as_secs_f64());
        on_slow += f64::from(u8::from(*agent == slow.name));
    }
    stage.expect(on_slow > 0.0, "no launch came to the agent with the slow disk, so that nothing was shown");
    sleep(LASTS.saturating_sub(stage.since_strike())).await;
    let states = stage.states().await?;
    let running = states.len() == 1 && states.contains_key("running");
    stage.expect(running, format!("the control plane calls the zone's sessions {states:?}"));
    let requests = slowed(&stage.site)?;
    stage.note("slow_requests", requests as f64);
    stage.expect(requests > 0, "nothing waited for the slow disk, so that nothing was shown");
    set(&stage.site, Duration::ZERO)?;
    stage.launch_another().await?;
    let failed = stage.requests_failed();
    stage.expect(failed == 0, format!("{failed} requests failed: {}", stage.request_troubles()));
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}

fn set(site: &Site, each: Duration) -> Result<()> {
    with_own_disks().iter().try_for_each(|part| {
        site.disk(part)?.slow(each);
        Ok(())
    })
}

/// One session more, from its launch until it runs: its agent, and how long that took.
async fn launch(stage: &Stage) -> Result<(String, Duration)> {
    let from = stage.now();
    let session = stage.launch().await?;
    runs(&stage.api, &session).await?;
    let took = stage.now() - from;
    let agent = stage.api.session(&session).await?.agent;
    stage.api.end(&session).await?;
    Ok((agent, took))
}
