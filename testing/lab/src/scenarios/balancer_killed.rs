//! The balancer in front of a zone's proxies dies, and with it every path into the zone. There is one of them on one machine, so that its
//! restart is what viewers wait for; across machines they have `alternates`.

use anyhow::Result;

use super::{BACK_LIMIT, Promise, Scenario};
use crate::{report::Goals, site::ZONES, stage::Stage};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "balancer_killed",
    about: "the zone's only entry balancer is killed (SIGKILL) under live streams and started again",
    promise: Promise::Resumed,
    goals: Goals { stall_p99_ms: None, recovered_ms: None },
    play: |stage| Box::pin(play(stage)),
};

async fn play(stage: &mut Stage) -> Result<()> {
    let balancer = format!("balance-{}-2", ZONES[0]);
    let killed = stage.strike(|site| site.kill(&balancer))?;
    stage.all_back(BACK_LIMIT).await;
    stage.site.replaced(&balancer, killed, BACK_LIMIT).await
}
