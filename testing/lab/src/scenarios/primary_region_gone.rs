//! The primary region is cut off from everyone: no sign-in and no launch, but the other zone's streams go on, and come back through both its proxies
//! one after the other, by passes that nobody has to be asked about.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{
    report::Goals,
    site::{EACH, LONDON, PRIMARY, Part},
    stage::Stage,
};

const ALONE: Duration = Duration::from_secs(15);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "primary_region_gone",
    about: "the primary region is cut off for some 40 s, during which both of another zone's proxies are killed in turn",
    goals: Goals { stall_p99_ms: Some(1000), recovered_ms: None },
    bystanders: false,
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    stage.site.cut_region(PRIMARY, true);
    sleep(ALONE).await;
    let touched = stage.touched();
    stage.expect(touched == 0, format!("{touched} streams noticed that the primary region was gone"));
    stage.strike(|_| Ok(()))?;
    for number in 1..=EACH {
        let proxy = Part::proxy(LONDON, number);
        let killed = stage.site.kill(&proxy)?;
        stage.all_show_anew(BACK_LIMIT).await;
        stage.site.part(&proxy)?.replaced(killed, BACK_LIMIT).await?;
    }
    stage.site.cut_region(PRIMARY, false);
    stage.answers(BACK_LIMIT).await?;
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}
