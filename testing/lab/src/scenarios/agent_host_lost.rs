//! An agent's host vanishes: the control plane must say so within ten seconds, keep what its sessions reserve, and launch elsewhere. When the
//! host is back, so are its streams.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{
    site::{LONDON, Part},
    stage::Stage,
};

const NOTICED_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "agent_host_lost",
    about: "the host of one of the zone's two agents loses its network under live streams, and gets it back",
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let agent = Part::agent(LONDON, stage.any_number());
    stage.strike(|site| site.connect(&agent, false))?;
    let until = Instant::now() + BACK_LIMIT;
    let mut unreachable = 0;
    while unreachable == 0 && Instant::now() < until {
        sleep(LOOK_EVERY).await;
        unreachable = stage.states().await?.get("unreachable").copied().unwrap_or_default();
    }
    let noticed = stage.since_strike();
    stage.note("called_unreachable_after_s", noticed.as_secs_f64());
    stage.note("called_unreachable", unreachable as f64);
    stage.expect(unreachable > 0, "no session was called unreachable");
    stage.expect(noticed <= NOTICED_LIMIT, format!("noticed only after {noticed:?}"));
    let launched = stage.launch_another().await;
    stage.expect(
        launched.is_ok(),
        format!("a launch meanwhile: {:#}", launched.err().unwrap_or_else(|| anyhow::anyhow!("well"))),
    );
    stage.site.connect(&agent, true)?;
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}
