//! One of two Web App nodes dies: what was in flight on it fails, the other one serves, and no stream notices.

use anyhow::Result;

use super::{BACK_LIMIT, Promise, Scenario};
use crate::{report::Goals, stage::Stage};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "web_node_killed",
    about: "one of two Web App nodes is killed (SIGKILL) under live streams and started again",
    promise: Promise::Untouched,
    goals: Goals { stall_p99_ms: None, recovered_ms: Some(2000) },
    play: |stage| Box::pin(play(stage)),
};

async fn play(stage: &mut Stage) -> Result<()> {
    let web = "web-primary-1";
    let killed = stage.strike(|site| site.kill(web))?;
    stage.site.replaced(web, killed, BACK_LIMIT).await?;
    stage.answers(BACK_LIMIT).await?;
    stage.all_back(BACK_LIMIT).await;
    Ok(())
}
