//! One of a zone's two entry balancers dies, and with it the paths of its viewers: the zone's name has a second address.

use anyhow::Result;

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{
    site::{LONDON, Part},
    stage::Stage,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "balancer_killed",
    about: "the zone's first entry balancer is killed (SIGKILL) under live streams; the zone's name has a second address",
    sizes: &[20, 200],
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let balancer = Part::entry(LONDON, 1);
    let killed = stage.strike(|site| site.kill(&balancer))?;
    stage.all_back(BACK_LIMIT).await;
    stage.site.part(&balancer)?.replaced(killed, BACK_LIMIT).await
}
