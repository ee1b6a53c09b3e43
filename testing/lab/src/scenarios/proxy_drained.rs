//! A proxy is stopped as for an upgrade: it tells its viewers to move before it ends, and they move while it still carries them.

use anyhow::Result;

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{report::Goals, stage::Stage};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "proxy_drained",
    about: "one of the zone's two proxies is told to stop (SIGTERM) under live streams, and started again",
    sizes: &[20, 200],
    goals: Goals { stall_p99_ms: Some(250), recovered_ms: None },
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let proxy = stage.any_proxy().await;
    stage.strike(|_| Ok(()))?;
    stage.site.part(&proxy)?.stop().await?;
    let stopped_in = stage.since_strike();
    stage.note("stopped_in_s", stopped_in.as_secs_f64());
    stage.all_show_anew(BACK_LIMIT).await;
    stage.site.part(&proxy)?.start_again(None);
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}
