//! All streams of a zone break at once: both its proxies are killed, and everyone comes back to processes that have just begun.

use std::time::Duration;

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
    // With 5,000 the streams alone, each with its PING every second through all hops and the lab's own network, fill two processors.
    sizes: &[3000],
    goals: Goals { stall_p99_ms: None, recovered_ms: Some(10_000) },
    // The regions share this machine's processors, and a storm fills them.
    bystanders: false,
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let proxies: Vec<_> = (1..=EACH).map(|number| Part::proxy(LONDON, number)).collect();
    stage.strike(|site| proxies.iter().try_for_each(|proxy| site.kill(proxy).map(drop)))?;
    let roles = [("proxy", "proxy_cpu_ms"), ("agent", "agent_cpu_ms"), ("balance", "balance_cpu_ms")];
    let used = |stage: &Stage| roles.map(|(role, _)| stage.site.cpu_of(role));
    // The killed proxies' successors begin with nothing.
    let (before, mut together) = (used(stage), 0.0);
    stage.all_back(BACK_LIMIT).await;
    let resumed = stage.resumed().max(1) as f64;
    for (((role, name), before), after) in roles.into_iter().zip(before).zip(used(stage)) {
        let before = if role == "proxy" { Duration::ZERO } else { before };
        let each = after.saturating_sub(before).as_secs_f64() * 1000.0 / resumed;
        together += each;
        stage.note(name, each);
    }
    stage.note("cpu_ms_per_resume", together);
    Ok(())
}
