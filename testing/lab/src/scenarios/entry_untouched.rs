//! A zone's agents never come to the primary's public entry once they are enrolled: their heartbeats and watches go through the private balancers,
//! also when they and the balancer are started again.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{
    site::{EACH, LONDON, Part, public_entry},
    stage::Stage,
};

/// Some heartbeats.
const WATCHED: Duration = Duration::from_secs(10);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "entry_untouched",
    about: "the connections that the zone's agents open to the primary's public entry are counted, while the private balancer is killed",
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let opened = |stage: &Stage| -> u64 {
        let (entry, port) = public_entry();
        let by_host = stage.site.wan.opened(LONDON.region, entry, port);
        let agents = (1..=EACH).filter_map(|number| by_host.get(&Part::agent(LONDON, number).address()));
        agents.sum()
    };
    let enrolling = opened(stage);
    let balancer = Part::private_balancer(LONDON);
    let killed = stage.strike(|site| site.kill(&balancer))?;
    stage.all_back(BACK_LIMIT).await;
    stage.site.part(&balancer)?.replaced(killed, BACK_LIMIT).await?;
    sleep(WATCHED).await;
    let since = opened(stage) - enrolling;
    stage.note("connections_while_enrolling", enrolling as f64);
    stage.note("connections_since", since as f64);
    stage.expect(enrolling > 0, "not even enrolment was counted, so that nothing was shown");
    stage.expect(since == 0, format!("the zone's agents opened {since} connections to the public entry"));
    Ok(())
}
