//! One of two Web App nodes freezes: its kernel goes on taking connections, and nothing answers. The balancer finds out by asking, and resets
//! what browsers still hold to it.

use anyhow::Result;

use super::{BACK_LIMIT, ORDINARY, Promise, Scenario};
use crate::{report::Goals, site::Part, stage::Stage};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "web_node_frozen",
    about: "one of two Web App nodes freezes (SIGSTOP) under steady requests and live streams, and thaws later",
    promise: Promise::Untouched,
    goals: Goals { stall_p99_ms: None, recovered_ms: None },
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let web = Part::web(stage.any_number());
    stage.strike(|site| site.freeze(&web))?;
    stage.answers(BACK_LIMIT).await?;
    stage.all_back(BACK_LIMIT).await;
    stage.site.thaw(&web)?;
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}
