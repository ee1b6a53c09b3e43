//! All streams of a zone break at once: both its proxies are killed, and everyone comes back to processes that have just begun.

use anyhow::Result;

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{
    report::Goals,
    site::{EACH, LONDON, Part},
    stage::Stage,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "resume_storm",
    about: "both of the zone's proxies are killed (SIGKILL) at once under live streams and started again",
    sizes: &[5000],
    goals: Goals { stall_p99_ms: None, recovered_ms: Some(10_000) },
    // The regions share this machine's processors, and a storm fills them.
    bystanders: false,
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let proxies: Vec<_> = (1..=EACH).map(|number| Part::proxy(LONDON, number)).collect();
    stage.strike(|site| proxies.iter().try_for_each(|proxy| site.kill(proxy).map(drop)))?;
    let before = stage.site.cpu();
    stage.all_back(BACK_LIMIT).await;
    let used = stage.site.cpu().saturating_sub(before);
    let resumed = stage.resumed().max(1);
    stage.note("cpu_ms_per_resume", used.as_secs_f64() * 1000.0 / resumed as f64);
    Ok(())
}
