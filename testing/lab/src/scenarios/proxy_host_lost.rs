//! A proxy's host vanishes from the network: nothing is closed and nothing answers. Viewers find the silence by their own PINGs, and the
//! zone's balancers must not send them back to it.

use anyhow::Result;

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{report::Goals, stage::Stage};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "proxy_host_lost",
    about: "the host of one of the zone's two proxies loses its network under live streams and closes nothing",
    sizes: &[20, 200],
    goals: Goals { stall_p99_ms: Some(3000), recovered_ms: None },
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let proxy = stage.any_proxy().await;
    stage.strike(|site| site.connect(&proxy, false))?;
    stage.all_back(BACK_LIMIT).await;
    // It comes back with everything that it held, and nothing of that may do harm.
    stage.site.connect(&proxy, true)?;
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}
