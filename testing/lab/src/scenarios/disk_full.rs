//! The disks of an agent and of a proxy are full: what runs goes on, an order that cannot be written down waits and says why, and as soon as the
//! agent has said so, launches go to the other one. With room again, what waited runs.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, sleep};

use super::{BACK_LIMIT, ORDINARY, Promise, Scenario};
use crate::{
    site::{LONDON, Part, with_own_disks},
    stage::{Stage, runs},
};

/// The agents take turns, so that one of these comes to the one whose disk is full.
const UNTIL_ONE_WAITS: usize = 6;
/// Launches after that: none of them may come there.
const ELSEWHERE: usize = 3;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The code of the problem that an agent reports.
const DISK: &str = "disk";

pub(super) const SCENARIO: Scenario = Scenario {
    name: "disk_full",
    about: "the disks of one of the zone's agents and of one of its proxies are filled to the last block, and have room again later",
    promise: Promise::Untouched,
    own_disks: true,
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let full = Part::agent(LONDON, 1);
    stage.strike(|site| with_own_disks().iter().try_for_each(|part| site.disk(part)?.fill()))?;
    let waiting = launch_until_one_waits(stage).await?;
    stage.note("said_after_s", stage.since_strike().as_secs_f64());
    until_problem(stage, &full, true).await?;
    for _ in 0..ELSEWHERE {
        let agent = stage.launch_another().await.context("a launch while one agent's disk is full")?;
        stage.expect(agent != full.name, format!("a launch came to {agent}, whose disk is full"));
    }
    with_own_disks().iter().try_for_each(|part| stage.site.disk(part)?.free())?;
    let freed = stage.now();
    runs(&stage.api, &waiting).await.context("the launch that waited, with room on the disk again")?;
    stage.note("waiting_launch_ran_after_s", (stage.now() - freed).as_secs_f64());
    stage.api.end(&waiting).await?;
    until_problem(stage, &full, false).await?;
    let failed = stage.requests_failed();
    stage.expect(failed == 0, format!("{failed} requests failed: {}", stage.request_troubles()));
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}

/// The session whose order does not fit on the disk; its user must read why it waits.
async fn launch_until_one_waits(stage: &Stage) -> Result<String> {
    for _ in 0..UNTIL_ONE_WAITS {
        let session = stage.launch().await?;
        let until = Instant::now() + BACK_LIMIT;
        loop {
            let seen = stage.api.session(&session).await?;
            if seen.said.contains("data directory") && seen.said.contains("No space left") {
                return Ok(session);
            }
            if seen.state == "running" {
                break;
            }
            ensure!(
                Instant::now() < until,
                "session {session} is {} and says only: {}",
                seen.state,
                seen.said
            );
            sleep(LOOK_EVERY).await;
        }
        stage.api.end(&session).await?;
    }
    bail!("none of {UNTIL_ONE_WAITS} launches waited for the full disk, so that nothing was shown")
}

/// Waits until the control plane knows that an agent's disk refuses, or that it does not.
async fn until_problem(stage: &Stage, agent: &Part, there: bool) -> Result<()> {
    let until = Instant::now() + BACK_LIMIT;
    loop {
        let problem = stage.api.problem(&agent.name, DISK).await?;
        if problem.is_some() == there {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "the control plane's word of the disk of {}: {problem:?}",
            agent.name
        );
        sleep(LOOK_EVERY).await;
    }
}
