//! A zone loses the control plane, and then one of its proxies: viewers come back by their passes alone, also through the proxy that is
//! started again meanwhile. When the control plane is back, it must find every session running.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::{BACK_LIMIT, Promise, Scenario};
use crate::{report::Goals, stage::Stage};

/// How long the control plane is away before the proxy dies: past the agents' heartbeats.
const ALONE: Duration = Duration::from_secs(5);
/// And after the streams are back: long enough that silence is noticed.
const STILL_AWAY: Duration = Duration::from_secs(15);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "wan_cut",
    about: "both Web App nodes are away (SIGSTOP) for some 25 s, during which one of the zone's two proxies is killed",
    promise: Promise::Resumed,
    goals: Goals { stall_p99_ms: Some(1000), recovered_ms: None },
    play: |stage| Box::pin(play(stage)),
};

async fn play(stage: &mut Stage) -> Result<()> {
    let (web_nodes, proxy) = (["web-primary-1", "web-primary-2"], stage.any_proxy());
    for web in web_nodes {
        stage.site.freeze(web)?;
    }
    sleep(ALONE).await;
    let killed = stage.strike(|site| site.kill(&proxy))?;
    stage.all_back(BACK_LIMIT).await;
    stage.site.replaced(&proxy, killed, BACK_LIMIT).await?;
    sleep(STILL_AWAY).await;
    for web in web_nodes {
        stage.site.thaw(web)?;
    }
    stage.answers(BACK_LIMIT).await?;
    stage.all_back(BACK_LIMIT).await;
    Ok(())
}
