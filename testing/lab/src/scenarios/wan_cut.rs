//! A zone loses the control plane, and then one of its proxies: viewers come back by their passes alone, also through the proxy that is
//! started again meanwhile. When the line is back, the control plane must find every session running.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{
    report::Goals,
    site::{LONDON, PRIMARY},
    stage::Stage,
};

/// How long the line is cut before the proxy dies: past the agents' heartbeats.
const ALONE: Duration = Duration::from_secs(5);
/// And after the streams are back: long enough that silence is noticed.
const STILL_CUT: Duration = Duration::from_secs(15);
const STILL_CUT_LONG: Duration = Duration::from_secs(590);
/// The control plane's word is right again within this time of the line's return.
const STATES_LIMIT: Duration = Duration::from_secs(30);
const STATES_GOAL: Duration = Duration::from_secs(5);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "wan_cut",
    about: "the line between the zone and the primary region is cut for some 25 s, during which one of the zone's two proxies is killed",
    goals: Goals { stall_p99_ms: Some(1000), recovered_ms: None },
    play: |stage| Box::pin(play(stage, STILL_CUT)),
    ..ORDINARY
};

pub(super) const LONG: Scenario = Scenario {
    name: "wan_cut_long",
    about: "the same for ten minutes",
    long: true,
    limit: Duration::from_secs(900),
    play: |stage| Box::pin(play(stage, STILL_CUT_LONG)),
    ..SCENARIO
};

async fn play(stage: &mut Stage, still_cut: Duration) -> Result<()> {
    stage.site.wan.cut(LONDON.region, PRIMARY, true);
    sleep(ALONE).await;
    let proxy = stage.any_proxy().await;
    let killed = stage.strike(|site| site.kill(&proxy))?;
    stage.all_back(BACK_LIMIT).await;
    stage.site.part(&proxy)?.replaced(killed, BACK_LIMIT).await?;
    sleep(still_cut).await;
    stage.site.wan.cut(LONDON.region, PRIMARY, false);
    let mended = stage.now();
    let right = stage.all_called_running(STATES_LIMIT).await;
    let took = stage.now() - mended;
    stage.note("states_right_after_s", took.as_secs_f64());
    stage.expect(
        right && took <= STATES_GOAL,
        format!("states were not right within {STATES_GOAL:?}: {took:?}"),
    );
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}
