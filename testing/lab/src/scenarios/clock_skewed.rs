//! A proxy's host has a clock that is five minutes ahead: tickets and passes are good for less than that, so that it must judge them by the control
//! plane's time, which it learns from heartbeats. Then the other proxy stops, and all viewers come to it.

use anyhow::{Context, Result};

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{
    site::{LONDON, Part},
    stage::Stage,
};

const AHEAD: &str = "+300s";
/// Where Debian, Fedora and Arch keep it.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

pub(super) const SCENARIO: Scenario = Scenario {
    name: "clock_skewed",
    about: "one of the zone's proxies is started again with a clock five minutes ahead, and then the other one is told to stop",
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let library = LIBRARIES.into_iter().find(|path| std::path::Path::new(path).exists());
    let library = library.context("the lab needs faketime for a clock that is wrong (package faketime)")?;
    let (wrong, other) = (Part::proxy(LONDON, 1), Part::proxy(LONDON, 2));
    let environment = [("LD_PRELOAD", library), ("FAKETIME", AHEAD), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    stage.site.part(&wrong)?.stop().await?;
    stage.site.part(&wrong)?.set_environment(environment.into());
    stage.site.part(&wrong)?.start_again(None);
    stage.ready(&wrong, BACK_LIMIT).await?;
    stage.all_show_anew(BACK_LIMIT).await;
    stage.strike(|_| Ok(()))?;
    stage.site.part(&other)?.stop().await?;
    stage.all_show_anew(BACK_LIMIT).await;
    let launched = stage.launch_another().await;
    stage.expect(launched.is_ok(), "a new viewer could not come in through the proxy with the wrong clock");
    stage.site.part(&other)?.start_again(None);
    stage.ready(&other, BACK_LIMIT).await?;
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}
