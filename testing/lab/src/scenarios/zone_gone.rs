//! A whole zone is cut off from everyone: its users see nothing, and nobody else may notice anything. When it is back, so are its streams.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{site::LONDON, stage::Stage};

const AWAY: Duration = Duration::from_secs(20);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "zone_gone",
    about: "all lines of a whole zone are cut for 20 s; the other zone's streams must not notice",
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    stage.strike(|site| {
        site.cut_region(LONDON.region, true);
        Ok(())
    })?;
    sleep(AWAY).await;
    let states = stage.states().await?;
    let unreachable = states.get("unreachable").copied().unwrap_or_default();
    stage.note("called_unreachable", unreachable as f64);
    stage.expect(unreachable > 0, format!("the control plane calls the zone's sessions {states:?}"));
    stage.site.cut_region(LONDON.region, false);
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}
