//! The balancer between a zone's proxies and agents dies, and with it every path of the zone: all streams wait for its restart.

use anyhow::Result;

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{
    site::{LONDON, Part},
    stage::Stage,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "private_balancer_killed",
    about: "the zone's only private balancer is killed (SIGKILL) under live streams and started again",
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let balancer = Part::private_balancer(LONDON);
    let killed = stage.strike(|site| site.kill(&balancer))?;
    stage.all_back(BACK_LIMIT).await;
    stage.site.part(&balancer)?.replaced(killed, BACK_LIMIT).await
}
