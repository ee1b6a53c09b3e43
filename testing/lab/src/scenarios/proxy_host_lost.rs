//! A proxy's host vanishes: nothing is closed and nothing answers. Viewers find the silence by their own PINGs, and the zone's balancer
//! must not send them back to it, although the kernel goes on accepting connections for it.

use anyhow::Result;

use super::{BACK_LIMIT, Promise, Scenario};
use crate::{report::Goals, stage::Stage};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "proxy_host_lost",
    about: "one of the zone's two proxies freezes (SIGSTOP) under live streams and closes nothing",
    promise: Promise::Resumed,
    goals: Goals { stall_p99_ms: Some(3000), recovered_ms: None },
    play: |stage| Box::pin(play(stage)),
};

async fn play(stage: &mut Stage) -> Result<()> {
    let proxy = stage.any_proxy();
    let frozen = stage.strike(|site| site.freeze(&proxy))?;
    stage.all_back(BACK_LIMIT).await;
    // Another host takes its place, and nothing of the old one may do harm.
    stage.site.kill(&proxy)?;
    stage.site.replaced(&proxy, frozen, BACK_LIMIT).await?;
    stage.all_back(BACK_LIMIT).await;
    Ok(())
}
