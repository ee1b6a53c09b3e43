//! An agent's process dies and takes every stream's ring with it; the workspaces are containers and go on. When it is back, viewers begin anew
//! on the same desktops.

use anyhow::Result;

use super::{BACK_LIMIT, ORDINARY, Promise, Scenario};
use crate::{
    site::{LONDON, Part},
    stage::Stage,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "agent_process_killed",
    about: "one of the zone's two agents is killed (SIGKILL) under live streams and started again; the workspaces are containers",
    sizes: &[12],
    promise: Promise::Back,
    engine: "docker",
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let agent = Part::agent(LONDON, stage.any_number());
    let before = stage.site.containers()?;
    let killed = stage.strike(|site| site.kill(&agent))?;
    stage.all_back(BACK_LIMIT).await;
    stage.site.part(&agent)?.replaced(killed, BACK_LIMIT).await?;
    let after = stage.site.containers()?;
    stage.note("containers", after as f64);
    stage.expect(after == before, format!("{before} containers ran before, {after} after"));
    Ok(())
}
