//! Every node of a role is stopped softly and started again, one at a time, under live streams and steady requests: from the build that
//! `--previous` names to this one, else from this build to itself.

use anyhow::Result;

use super::{BACK_LIMIT, ORDINARY, Promise, Scenario};
use crate::{
    report::Goals,
    site::{EACH, LONDON, Part},
    stage::Stage,
};

pub(super) const WEB: Scenario = Scenario {
    name: "rolling_upgrade_web",
    about: "both Web App nodes are stopped (SIGTERM) and started again from the new build, one at a time",
    promise: Promise::Untouched,
    play: |stage| Box::pin(upgrade(stage, (1..=EACH).map(Part::web).collect(), true)),
    ..ORDINARY
};

pub(super) const BALANCE: Scenario = Scenario {
    name: "rolling_upgrade_balance",
    about: "all balancers of the zone are stopped and started again from the new build, one at a time",
    play: |stage| {
        let entries = (1..=EACH).map(|number| Part::entry(LONDON, number));
        let parts = entries.chain([Part::private_balancer(LONDON)]).collect();
        Box::pin(upgrade(stage, parts, false))
    },
    ..ORDINARY
};

pub(super) const PROXY: Scenario = Scenario {
    name: "rolling_upgrade_proxy",
    about: "both proxies of the zone are stopped and started again from the new build, one at a time",
    sizes: &[20, 1000],
    goals: Goals { stall_p99_ms: Some(250), recovered_ms: None },
    play: |stage| {
        Box::pin(upgrade(stage, (1..=EACH).map(|number| Part::proxy(LONDON, number)).collect(), true))
    },
    ..ORDINARY
};

pub(super) const AGENT: Scenario = Scenario {
    name: "rolling_upgrade_agent",
    about: "both agents of the zone are stopped and started again from the new build, one at a time; the workspaces are containers",
    sizes: &[12],
    promise: Promise::Back,
    engine: "docker",
    play: |stage| {
        Box::pin(upgrade(stage, (1..=EACH).map(|number| Part::agent(LONDON, number)).collect(), true))
    },
    ..ORDINARY
};

async fn upgrade(stage: &mut Stage, parts: Vec<Part>, no_request_fails: bool) -> Result<()> {
    stage.strike(|_| Ok(()))?;
    let executable = stage.options.executable.clone();
    for part in parts {
        stage.site.part(&part)?.stop().await?;
        stage.site.part(&part)?.start_again(Some(&executable));
        stage.ready(&part, BACK_LIMIT).await?;
        stage.all_show_anew(BACK_LIMIT).await;
    }
    let failed = stage.requests_failed();
    let why = stage.request_troubles();
    // How a node of an earlier build stops is that build's affair; the figure shows it.
    let no_request_fails = no_request_fails && stage.options.previous.is_none();
    stage.expect(!no_request_fails || failed == 0, format!("{failed} requests failed: {why}"));
    Ok(())
}
